from __future__ import annotations

import pytest
import torch

from densepose.modeling.person_crops import (
    crop_images,
    cut_boxes,
    half_a_cell_later,
    jittered,
    square_windows,
)

from .scenes import random_output


def ramp(height: int, width: int) -> torch.Tensor:
    """(2, H, W): x and y of each pixel's centre."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y])


def test_windows_are_squares_around_the_boxes():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 5.0, 1.0]])
    windows = square_windows(boxes, 0.25)
    assert windows.tolist() == [[-10.0, 10.0, 50.0, 70.0], [-1.25, -3.25, 6.25, 4.25]]


def test_a_box_without_area_still_has_a_window():
    window = square_windows(torch.tensor([[3.0, 3.0, 3.0, 3.0]]), 0.0)
    assert (window[:, 2:] > window[:, :2]).all()


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
    cut = cut_boxes(wide, torch.tensor([1, 0]), boxes, 16)
    assert (len(cut), cut.upscale) == (2, 1)
    centres = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(cut.part_logits[0, 3, :, 5], 3 + 6 * centres)  # y of map 1
    torch.testing.assert_close(cut.u[1, 24, 0], 1 + 8 * centres)  # x of map 0
    torch.testing.assert_close(cut.v, 2 * cut.u)
    assert len(cut_boxes(wide, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 8)) == 0
