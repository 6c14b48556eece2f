from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densepose.modeling.figure_ground import (
    EXTRA_CHANNELS,
    inside_boxes,
    person_masks,
    region_maps,
    told,
)

from .scenes import random_people


def test_regions_are_read_at_the_centres_of_pixels():
    people = random_people(1)
    people.coarse[:] = 0
    people.coarse[:, :128, :128] = 5  # the upper left quarter of the box
    box = people.boxes_xyxy_px
    regions = region_maps(box, people, (8, 8))
    assert regions[0, :4, :4].unique().tolist() == [5]
    assert regions.sum() == 16 * 5
    wide = torch.cat([box[:, :2] * 2 - box[:, 2:], box[:, 2:]], dim=1)
    assert region_maps(wide, people, (8, 8))[0, 4:6, 4:6].unique().tolist() == [5]


def test_boxes_by_hand():
    windows = torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    inside = inside_boxes(windows, torch.tensor([[1.0, 0.0, 3.0, 1.0]]), (2, 4))
    assert inside.int().tolist() == [[[0, 1, 1, 0], [0, 0, 0, 0]]]


def test_a_person_is_its_part_masks_or_else_its_box():
    people = random_people(2)
    people = replace(people, has_masks=torch.tensor([True, False]))
    windows = torch.tensor([[0.0, 0.0, 128.0, 96.0]] * 2)
    regions = region_maps(windows, people, (96, 128))
    figure = person_masks(windows, regions, people)
    assert torch.equal(figure[0], regions[0] > 0)
    x0, y0, x1, y1 = (people.boxes_xyxy_px[1] + 0.5).floor().long().tolist()
    assert figure[1, y0:y1, x0:x1].all()
    assert figure[1].sum() == (x1 - x0) * (y1 - y0)
    assert person_masks(windows[:0], regions[:0], people[:0]).shape == (0, 96, 128)


@pytest.mark.parametrize("mode", EXTRA_CHANNELS)
def test_every_mode_has_its_channels(mode: str):
    g = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 4, 6, generator=g)
    regions = torch.randint(0, 15, (2, 4, 6), generator=g)
    got = told(images, mode, regions > 0, regions)
    assert got.shape[1] == 3 + EXTRA_CHANNELS[mode]
    removed = mode.startswith("multiply")
    body = (regions > 0)[:, None].expand_as(images)
    assert torch.equal(got[:, :3][body], images[body])
    assert torch.equal(
        got[:, :3][~body], torch.zeros_like(images[~body]) if removed else images[~body]
    )
    if mode == "channel":
        assert torch.equal(got[:, 3], (regions > 0).float())
    if mode == "multiply+regions":
        assert torch.equal(got[:, 3:].sum(dim=1), (regions > 0).float())
        assert torch.equal(got[:, 3 + 4], (regions == 5).float())
