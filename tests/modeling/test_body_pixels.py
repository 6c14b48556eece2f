"""Pixels on bodies against up-sampling and resizing whole maps, as they are defined."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from densepose.modeling.body_pixels import CERTAINTY_FIELDS, body_pixels
from densepose.structures.chart_output import ChartOutput
from tests.support.random_people import generator, random_output, random_people


def output_of(count: int, upscale: int = 2) -> ChartOutput:
    output = random_output(count, upscale=upscale, log_variance=True)
    one = {
        name: torch.rand(count, 1, 6, 6, generator=generator(seed))
        for seed, name in ((5, "part_confidence"), (6, "coarse_confidence"))
    }
    return replace(output, **one)


def resized(maps: Tensor, upscale: int, size: tuple[int, int]) -> Tensor:
    if upscale > 1:
        maps = F.interpolate(maps, scale_factor=upscale, mode="bilinear", align_corners=False)
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("certainty", [None, *CERTAINTY_FIELDS])
@pytest.mark.parametrize("upscale", [1, 2])
def test_the_same_pixels_as_of_whole_maps(upscale: int, certainty: str | None):
    output, boxes = output_of(3, upscale), random_people(3).boxes_xyxy_px
    pixels = body_pixels(output, boxes, certainty)
    for person, box in enumerate(boxes):
        width, height = (box[2:] - box[:2]).long().tolist()
        assert pixels.sizes_px[person].tolist() == [height, width]
        maps = {
            name: resized(getattr(output, name)[person : person + 1], upscale, (height, width))
            for name in ("coarse_logits", "part_logits", "u", "v", *CERTAINTY_FIELDS.values())
        }
        label = maps["part_logits"].argmax(0) * (maps["coarse_logits"].argmax(0) > 0)
        row, column = label.nonzero(as_tuple=True)
        own = pixels.owner == person
        assert own.sum() == len(row) > 50
        assert torch.equal(pixels.row[own], row) and torch.equal(pixels.column[own], column)
        part = label[row, column]
        assert torch.equal(pixels.part[own], part)
        uv = torch.stack([maps["u"][part, row, column], maps["v"][part, row, column]], dim=1)
        torch.testing.assert_close(pixels.uv[own], uv, atol=1e-5, rtol=0)
        grid = resized(output.part_logits[person : person + 1], upscale, (256, 256)).argmax(0)
        grid *= resized(output.coarse_logits[person : person + 1], upscale, (256, 256)).argmax(0)
        assert (pixels.part_grid[person] != grid).float().mean() < 1e-4  # ties of rounding
        if certainty is not None:
            values = maps[CERTAINTY_FIELDS[certainty]]
            want = values[part if len(values) > 1 else 0, row, column]
            torch.testing.assert_close(pixels.certainty[own], want, atol=1e-5, rtol=0)
    assert (pixels.certainty is None) == (certainty is None)


def test_nobody():
    pixels = body_pixels(output_of(0), torch.zeros(0, 4), "sigma_2")
    assert len(pixels) == len(pixels.part) == len(pixels.certainty) == 0
    assert pixels.sizes_px.shape == (0, 2) and pixels.part_grid.shape == (0, 256, 256)


def test_a_model_without_the_certainty_is_refused():
    with pytest.raises(ValueError, match="predicts no sigma_2; switch the confidence on"):
        body_pixels(random_output(1), torch.tensor([[0.0, 0, 9, 9]]), "sigma_2")
