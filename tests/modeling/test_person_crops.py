from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densepose.modeling.person_crops import (
    EXTRA_CHANNELS,
    connected_foreground,
    crop_images,
    cut_boxes,
    half_a_cell_later,
    inside_boxes,
    jittered,
    masked_input,
    person_masks,
    region_maps,
    square_windows,
)
from tests.support.random_people import random_output, random_people


def ramp(height: int, width: int) -> torch.Tensor:
    """(2, H, W): x and y of each pixel's centre."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y])


def test_windows_are_squares_around_the_boxes():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 5.0, 1.0]])
    windows = square_windows(boxes, 0.25)
    assert windows.tolist() == [[-10.0, 10.0, 50.0, 70.0], [-1.25, -3.25, 6.25, 4.25]]


def test_jitter_stays_in_its_range_and_squares_stay_squares():
    torch.manual_seed(0)
    windows = torch.tensor([[0.0, 0.0, 100.0, 100.0]]).repeat(500, 1)
    moved = jittered(windows, 0.2)
    side = moved[:, 2:] - moved[:, :2]
    torch.testing.assert_close(side[:, 0], side[:, 1])
    assert 100 / 1.2 <= side.min() < 86
    assert 117 < side.max() <= 120
    shift = ((moved[:, :2] + moved[:, 2:]) / 2 - 50).abs()
    assert 9 < shift.max() <= 10
    assert jittered(windows, 0.0) is windows


def test_a_crop_reads_the_place_it_stands_for():
    windows = [torch.tensor([[8.0, 4.0, 40.0, 36.0]]), torch.tensor([[10.0, 10.0, 14.0, 14.0]])]
    crops = crop_images([ramp(48, 64), ramp(48, 64)], windows, 16)
    # Shrunk to a half, and enlarged four times.
    centres = torch.arange(16) + 0.5
    torch.testing.assert_close(crops[0, 0, 0], 8 + 2 * centres)
    torch.testing.assert_close(crops[0, 1, :, 0], 4 + 2 * centres)
    torch.testing.assert_close(crops[1, 0, 3], 10 + centres / 4)


def test_nobody_gives_no_crops_and_outside_of_the_image_is_zero():
    images = [torch.ones(3, 20, 20)] * 2
    crops = crop_images(images, [torch.zeros(0, 4), torch.tensor([[10.0, 0.0, 40.0, 30.0]])], 8)
    assert crops.shape == (1, 3, 8, 8)
    assert crops[0, :, 0, 0].tolist() == [1, 1, 1]
    assert crops[0, :, 0, -1].tolist() == [0, 0, 0]
    assert crop_images(images[:1], [torch.zeros(0, 4)], 8).shape == (0, 3, 8, 8)


def test_windows_move_by_half_a_cell():
    window = torch.tensor([[0.0, 0.0, 80.0, 40.0]])
    assert half_a_cell_later(window, (10, 40)).tolist() == [[1.0, 2.0, 81.0, 42.0]]


@pytest.mark.parametrize("size", [(12, 20), (16, 16)])
def test_maps_of_a_box_are_the_places_in_it(size: tuple[int, int]):
    output = random_output(2, side=4)
    x, y = ramp(*size)
    both = torch.stack([x, y])[:, None].expand(2, 25, *size)
    wide = type(output)(coarse_logits=both[:, :2], part_logits=both, u=both, v=2 * both, upscale=2)
    boxes = torch.tensor([[2.0, 3.0, 10.0, 9.0], [1.0, 1.0, 9.0, 9.0]])
    windows = torch.tensor([[0.0, 0.0, size[1], size[0]]] * 2)
    cut = cut_boxes(wide, torch.tensor([1, 0]), windows, boxes, 16)
    # The same place in px of windows that are moved and have two px a cell.
    moved = cut_boxes(wide, torch.tensor([1, 0]), 2 * windows + 5, 2 * boxes + 5, 16)
    torch.testing.assert_close(moved.u, cut.u)
    assert (len(cut), cut.upscale) == (2, 1)
    centres = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(cut.part_logits[0, 3, :, 5], 3 + 6 * centres)  # y of map 1
    torch.testing.assert_close(cut.u[1, 24, 0], 1 + 8 * centres)  # x of map 0
    torch.testing.assert_close(cut.v, 2 * cut.u)
    assert len(cut_boxes(wide, torch.zeros(0, dtype=torch.int64), windows, boxes[:0], 8)) == 0


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
    got = masked_input(images, mode, regions > 0, regions)
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


def test_two_people_by_hand():
    probability = torch.full((6, 8), 0.1)
    probability[0:2, 0:3] = 0.8
    probability[2, 3] = 0.8  # touches by a corner
    probability[4:6, 6:8] = 0.9
    boxes, scores = connected_foreground(probability, (2.0, 4.0), 16.0)
    assert boxes.tolist() == [[24.0, 8.0, 32.0, 12.0], [0.0, 0.0, 16.0, 6.0]]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.8]))


def test_specks_are_nobody():
    probability = torch.zeros(5, 5)
    probability[2, 2] = 1.0
    assert len(connected_foreground(probability, (1.0, 1.0), 2.0)[0]) == 0
    assert len(connected_foreground(probability, (2.0, 1.0), 2.0)[0]) == 1
