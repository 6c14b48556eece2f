from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from densepose.structures.annotations import (
    DensePoseAnnotations,
    grid_to_image,
    image_to_grid,
    quantize_uv,
)
from densepose.structures.body_parts import ANNOTATION_GRID, METRIC_GRID
from densepose.structures.dense_labels import DenseLabels


def people() -> DensePoseAnnotations:
    """Three people with 2, 0 and 3 points; the point's number is its x."""
    return DensePoseAnnotations(
        boxes_xyxy_px=torch.arange(12.0).reshape(3, 4),
        coarse=torch.arange(3, dtype=torch.uint8)[:, None, None].expand(3, 4, 4),
        has_masks=torch.tensor([True, False, True]),
        points_grid=torch.stack([torch.arange(5.0), torch.zeros(5)], dim=1),
        part=torch.tensor([1, 2, 3, 4, 5]),
        uv=torch.rand(5, 2),
        owner=torch.tensor([0, 0, 2, 2, 2]),
    )


def slow_select(annotations: DensePoseAnnotations, chosen: list[int]):
    points, owners = [], []
    for place, person in enumerate(chosen):
        for number in range(len(annotations.owner)):
            if annotations.owner[number] == person:
                points.append(number)
                owners.append(place)
    return points, owners


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([2, 0, 2, 1]),
        torch.tensor([True, False, True]),
        torch.tensor([], dtype=torch.int64),
        slice(1, None),
        slice(0, 0),
    ],
    ids=["repeats", "mask", "nobody", "slice", "empty slice"],
)
def test_indexing_takes_points_along(index: slice | torch.Tensor):
    every = people()
    got = every[index]
    chosen = torch.arange(3)[index].tolist()
    points, owners = slow_select(every, chosen)
    assert len(got) == len(chosen)
    assert got.points_grid[:, 0].tolist() == points
    assert got.owner.tolist() == owners
    torch.testing.assert_close(got.part, every.part[points])
    torch.testing.assert_close(got.uv, every.uv[points])
    torch.testing.assert_close(got.boxes_xyxy_px, every.boxes_xyxy_px[chosen])
    assert got.coarse[:, 0, 0].tolist() == chosen
    assert got.has_masks.tolist() == [every.has_masks[person].item() for person in chosen]


def test_a_single_index_is_refused():
    with pytest.raises(IndexError, match="a slice, a mask or a vector of indices"):
        people()[torch.tensor(1)]


def test_cat_renumbers_owners():
    both = DensePoseAnnotations.cat([people(), DensePoseAnnotations.empty(1, grid=4), people()])
    assert len(both) == 7
    assert both.owner.tolist() == [0, 0, 2, 2, 2, 4, 4, 6, 6, 6]
    assert both.has_masks.tolist() == [True, False, True, False, True, False, True]


def test_moving_keeps_everything():
    moved = replace(people(), dense=DenseLabels.empty(3, 4)).to("meta")
    assert len(moved) == 3
    tensors = {**vars(moved), **vars(moved.dense)}
    del tensors["dense"]
    assert {value.device.type for value in tensors.values()} == {"meta"}


def test_training_divides_by_256_and_the_metric_by_255():
    box = torch.tensor([[10.0, 20.0, 266.0, 275.0]])  # 256 x 255 px
    corner = torch.tensor([[256.0, 255.0]])
    assert ANNOTATION_GRID == 256 and METRIC_GRID == 255
    torch.testing.assert_close(grid_to_image(corner, box)[0, 0], box[0, 2])
    torch.testing.assert_close(grid_to_image(corner, box, METRIC_GRID)[0, 1], box[0, 3])


def test_there_and_back():
    boxes = torch.tensor([[10.0, 20.0, 60.0, 45.0], [-5.0, 0.0, 3.0, 300.0]])
    points = torch.tensor([[0.0, 256.0], [100.5, 13.25]])
    for grid in (ANNOTATION_GRID, METRIC_GRID):
        back = image_to_grid(grid_to_image(points, boxes, grid), boxes, grid)
        torch.testing.assert_close(back, points, rtol=1e-4, atol=1e-4)


def test_empty_box_gives_finite_positions():
    box = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    assert torch.isfinite(image_to_grid(torch.tensor([[5.0, 5.0]]), box)).all()


def test_uv_steps_are_truncated_and_clamped():
    uv = torch.tensor([-0.2, 0.0, 0.5, 0.9999, 1.0, 1.7])
    assert quantize_uv(uv).tolist() == [0, 0, 127, 254, 255, 255]
    assert quantize_uv(uv).dtype == torch.uint8
