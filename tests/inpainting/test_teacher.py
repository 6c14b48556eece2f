from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from densepose.inpainting.teacher import Teacher, read_candidates, scaled_sizes
from densepose.modeling.person_crops import CropSettings
from densepose.structures.chart_output import ChartOutput
from densepose.surface.symmetry import template_symmetry
from tests.support.inpainting_scenes import scene
from tests.support.painted_model import painted_model

SYMMETRY = template_symmetry()
HEIGHT, WIDTH = 100, 140


class PaintedHands(nn.Module):
    """Red: logit of the left hand (4) against the right (3). Green: U, blue: V, of every part."""

    def forward(self, maps):
        red, green, blue = (maps[:, i : i + 1] for i in range(3))
        part = torch.zeros(len(maps), 25, *maps.shape[2:])
        part[:, 4:5], part[:, 3:4] = red, -red
        return ChartOutput(
            part[:, :2], part, green.expand_as(part), blue.expand_as(part), upscale=2
        )


def painted_teacher() -> nn.Module:
    model = painted_model(CropSettings(128, 0.1))
    model.predictor = PaintedHands()
    return model


def ramps() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([torch.ones(HEIGHT, WIDTH), x / WIDTH, y / HEIGHT])


@pytest.mark.parametrize("sizes", [(128,), (96, 160)])
def test_the_image_is_read_where_the_places_are(sizes):
    someone, cells, _ = scene()
    teacher, region = Teacher(painted_teacher(), sizes, None), np.full(len(cells.person), 3)
    scores = teacher.ask(ramps(), someone, cells.person, cells.place_px, region)
    want = cells.place_px / [WIDTH, HEIGHT]
    assert np.abs(scores.uv[:, 0] - want).max() < 0.01
    assert (scores.log_ratio < -10).all()  # the left hand is its region's only part
    assert scores.spread.max() < 0.01


def test_a_mirror_image_answers_in_the_charts_of_the_other_side():
    """A network that paints what it sees is not symmetric, so the two answers can be told apart."""
    someone, cells, _ = scene()
    teacher, region = Teacher(painted_teacher(), (128,), SYMMETRY), np.full(len(cells.person), 3)
    both = teacher.ask(ramps(), someone, cells.person, cells.place_px, region)
    direct = cells.place_px / [WIDTH, HEIGHT]
    # The mirror image shows the same colours at the mirrored place, said of the right hand (3).
    there = SYMMETRY.flip_uv(np.full(len(direct), 3), direct)
    np.testing.assert_allclose(both.uv[:, 0], (direct + there) / 2, atol=0.01)
    # Its red says left hand there, which is the right hand here: the answers cancel.
    want = np.abs(direct - there) / 2
    np.testing.assert_allclose(both.spread[:, 0], np.linalg.norm(want, axis=1), atol=0.01)


def test_candidates_equal_a_reading_of_the_full_maps():
    g = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(
        torch.rand(2, 75, 4, 4, generator=g), size=(16, 16), mode="bilinear"
    )
    part, u, v = smooth.split(25, dim=1)
    output = ChartOutput(part[:, :2], part * 4, u, v, upscale=2)
    windows = torch.tensor([[0.0, 0.0, 32.0, 32.0], [10.0, 10.0, 74.0, 74.0]])
    person = torch.tensor([0, 1, 1, 0])
    place = torch.tensor([[0.5, 0.5], [11.0, 73.0], [40.0, 21.0], [31.9, 16.5]])
    candidates = torch.tensor([[1, 2], [4, 0], [23, 24], [3, 0]])
    probability, uv = read_candidates(output, windows, person, place, candidates)
    full = output.upsampled()
    for k in range(4):
        low, size = windows[person[k], :2], windows[person[k], 2:] - windows[person[k], :2]
        at = ((place[k] - low) / size * 2 - 1)[None, None, None]
        read = {
            name: nn.functional.grid_sample(
                getattr(full, name)[person[k]][None],
                at,
                padding_mode="border",
                align_corners=False,
            )[0, :, 0, 0]
            for name in ("part_logits", "u", "v")
        }
        for c in (0, 1):
            number = int(candidates[k, c])
            want = read["part_logits"].softmax(0)[number] if number else torch.tensor(0.0)
            torch.testing.assert_close(probability[k, c], want)
            torch.testing.assert_close(uv[k, c, 0], read["u"][number], atol=1e-3, rtol=0)
            torch.testing.assert_close(uv[k, c, 1], read["v"][number], atol=1e-3, rtol=0)


def test_crop_sizes_are_multiples_of_the_coarsest_stride():
    assert scaled_sizes(192, (0.85, 1.0, 1.2)) == (160, 192, 224)
    assert scaled_sizes(64, (0.1,)) == (32,)
