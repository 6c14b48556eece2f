"""Maps of a mirrored image, against a loop written from the definition, and mirrored twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from densepose.modeling.test_time_augmentation import mirrored
from densepose.structures.chart_output import ChartOutput
from densepose.surface.symmetry import template_symmetry
from tests.support.random_people import random_output, table_symmetry


def detached(coarse: int = 2, upscale: int = 2, **extra: bool) -> ChartOutput:
    return random_output(2, side=5, upscale=upscale, coarse=coarse, **extra).detach()


@pytest.mark.parametrize("coarse", [2, 15])
def test_equals_the_definition_written_as_a_loop(coarse: int):
    symmetry, output = template_symmetry(), detached(coarse)
    got = mirrored(output, symmetry)
    for channel in range(25):
        there = int(symmetry.part[channel])
        for column in range(5):
            place = (slice(None), channel, slice(None), column)
            source = (slice(None), there, slice(None), 4 - column)
            torch.testing.assert_close(got.part_logits[place], output.part_logits[source])
            for axis, name in enumerate(("u", "v")):
                value = getattr(output, name)[source]
                wanted = 1 - value if symmetry.uv_sign[there, axis] < 0 else value
                torch.testing.assert_close(getattr(got, name)[place], wanted)
    for region in range(coarse):
        there = int(symmetry.coarse[region]) if coarse > 2 else region
        wanted = output.coarse_logits[:, there].flip(2)
        torch.testing.assert_close(got.coarse_logits[:, region], wanted)


def test_twice_is_nothing():
    output = detached(15, log_variance=True)
    back = mirrored(mirrored(output, template_symmetry()), template_symmetry())
    for name in ("coarse_logits", "part_logits", "u", "v", "log_variance"):
        torch.testing.assert_close(getattr(back, name), getattr(output, name))


def test_a_table_is_read_as_annotations_are():
    """Points of the mirrored side get what ``flip_uv`` gives them one by one."""
    symmetry, output = table_symmetry(), detached(upscale=1)
    got = mirrored(output, symmetry)
    person, channel, row, column = 1, 7, 3, 0
    there = int(symmetry.part[channel])
    uv = [getattr(output, n)[person, there, row, 4 - column].clamp(0, 1) for n in ("u", "v")]
    wanted = symmetry.flip_uv([there], np.array([[float(c) for c in uv]], np.float32))[0]
    assert [
        float(got.u[person, channel, row, column]),
        float(got.v[person, channel, row, column]),
    ] == (pytest.approx(wanted.tolist()))
    assert torch.equal(got.u[:, 0], output.u[:, 0].flip(2))


def test_what_the_symmetry_does_not_know_is_refused():
    output = detached()
    fewer = ChartOutput(
        output.coarse_logits, *(m[:, :9] for m in (output.part_logits, output.u, output.v))
    )
    with pytest.raises(ValueError, match="knows 24 parts .* gives 8 .*; set TEST.AUG.FLIP False"):
        mirrored(fewer, template_symmetry())
    with pytest.raises(ValueError, match="needs the full maps"):
        mirrored(output, table_symmetry())
