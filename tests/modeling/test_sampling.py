from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from densepose.modeling.sampling import (
    MapPositions,
    compose_taps,
    positions_in_boxes,
    resize_taps,
    sample_all_channels,
    sample_channel,
)
from tests.support.naive_sampling import read_full_map
from tests.support.random_people import generator, jittered, random_people


def upsample(maps: torch.Tensor, upscale: int) -> torch.Tensor:
    return F.interpolate(maps, scale_factor=upscale, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_equals_upsampling_first_and_reading_point_by_point(upscale: int):
    people = random_people(4, points=40)
    boxes = jittered(people.boxes_xyxy_px, 6.0).double()
    extent = torch.tensor([128.0, 96.0], dtype=torch.float64)
    points = torch.rand(160, 2, dtype=torch.float64, generator=generator(5)) * extent
    maps = torch.randn(4, 7, 5, 5, dtype=torch.float64, generator=generator(6))
    at, inside = positions_in_boxes(points, people.owner, boxes, (5, 5), upscale)

    full = upsample(maps, upscale)
    wanted = [
        read_full_map(full[n], points[p].tolist(), boxes[n].tolist())
        for p, n in enumerate(people.owner.tolist())
    ]
    assert inside.tolist() == [value is not None for value in wanted]
    assert 10 < inside.sum() < 150
    wanted = torch.stack([value for value in wanted if value is not None])
    torch.testing.assert_close(sample_all_channels(maps, at)[inside], wanted)
    channel = torch.randint(0, 7, (len(inside),), generator=generator(7))
    wanted_channel = wanted[torch.arange(len(wanted)), channel[inside]]
    torch.testing.assert_close(sample_channel(maps, channel, at)[inside], wanted_channel)


def test_points_on_the_borders_of_the_box():
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    points = torch.tensor([[10.0, 20.0], [30.0, 40.0], [20.0, 60.0], [29.999, 59.99], [9.99, 30.0]])
    owner = torch.zeros(5, dtype=torch.long)
    at, inside = positions_in_boxes(points, owner, box, (4, 4), upscale=2)
    assert inside.tolist() == [True, False, False, True, False]
    corner = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert sample_all_channels(corner, at)[inside, 0].tolist() == [0.0, 15.0]


def test_taps_by_hand():
    # Rows 3 and 4 of the doubled map are 0.75 a + 0.25 b of rows (1, 2) and 0.25 a + 0.75 b of (1,
    # 2).
    rows, weights = compose_taps(torch.tensor([3]), torch.tensor([0.5]), side=4, upscale=2)
    assert rows.tolist() == [[1, 2, 3]]
    assert weights.tolist() == [[0.5, 0.5, 0.0]]
    # Rows 4 and 5 straddle a cell: (1, 2) with 0.25, 0.75 and (2, 3) with 0.75, 0.25.
    rows, weights = compose_taps(torch.tensor([4]), torch.tensor([0.5]), side=4, upscale=2)
    assert rows.tolist() == [[1, 2, 3]]
    assert weights.tolist() == [[0.125, 0.75, 0.125]]


def resize_matrix(size_px: int, side: int, upscale: int) -> torch.Tensor:
    rows, weights = resize_taps(size_px, side, upscale)
    return weights.new_zeros(size_px, side).scatter_add_(1, rows, weights)


@pytest.mark.parametrize("size_px", [(1, 1), (5, 3), (24, 24), (31, 57)])
def test_resizing_equals_two_interpolations_in_a_row(size_px: tuple[int, int]):
    maps = torch.randn(1, 3, 6, 6, generator=generator(3))
    wanted = F.interpolate(upsample(maps, 4), size_px, mode="bilinear", align_corners=False)[0]
    row, column = (resize_matrix(size, 6, 4) for size in size_px)
    torch.testing.assert_close(row @ maps[0] @ column.T, wanted, rtol=1e-4, atol=1e-5)


def random_positions(people: int, count: int, side: int) -> MapPositions:
    g = generator(8)
    return MapPositions(
        torch.randint(0, people, (count,), generator=g),
        torch.randint(0, side * side, (count, 9), generator=g),
        torch.rand(count, 9, dtype=torch.float64, generator=g),
    )


def test_gradients_in_double_precision():
    at = random_positions(people=2, count=7, side=4)
    maps = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=generator(9)).requires_grad_()
    channel = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda m: sample_all_channels(m, at), (maps,))
    assert torch.autograd.gradcheck(lambda m: sample_channel(m, channel, at), (maps,))


def test_bfloat16_maps_are_summed_in_float32():
    at = random_positions(people=2, count=7, side=4)
    at = MapPositions(at.map_index, at.cell, at.weight.float())
    maps = torch.randn(2, 3, 4, 4, generator=generator(9)).bfloat16().requires_grad_()
    got = sample_all_channels(maps, at)
    got.sum().backward()
    assert got.dtype == torch.float32
    assert maps.grad.dtype == torch.bfloat16
    torch.testing.assert_close(got, sample_all_channels(maps.detach().float(), at))


@pytest.mark.parametrize("people", [0, 2])
def test_no_points_give_zero_gradients(people: int):
    maps = torch.randn(people, 3, 4, 4, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.int64)
    at, _ = positions_in_boxes(torch.zeros(0, 2), empty, torch.zeros(people, 4), (4, 4), 2)
    total = sample_all_channels(maps, at).sum() + sample_channel(maps, empty, at).sum()
    total.backward()
    assert total.item() == 0
    assert maps.grad.abs().sum().item() == 0
