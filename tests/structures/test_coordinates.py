from __future__ import annotations

import torch

from densepose.structures.coordinates import (
    ANNOTATION_GRID,
    METRIC_GRID,
    grid_to_image,
    image_to_grid,
    quantize_uv,
)


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
