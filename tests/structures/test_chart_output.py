from __future__ import annotations

import torch
from torch.nn import functional as F

from densepose.structures.chart_output import MAP_FIELDS, ChartOutput


def output(count: int, **extra: torch.Tensor) -> ChartOutput:
    channels = {"coarse_logits": 2, "part_logits": 25, "u": 25, "v": 25}
    maps = {name: torch.randn(count, width, 4, 4) for name, width in channels.items()}
    return ChartOutput(**maps, upscale=2, **extra)


def test_upsampled_is_the_definition_of_the_full_maps():
    small = output(2)
    full = small.upsampled()
    assert full.upscale == 1
    assert full.upsampled() is full
    for name in MAP_FIELDS[:4]:
        wanted = F.interpolate(
            getattr(small, name), scale_factor=2, mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(getattr(full, name), wanted)
    assert full.log_variance is None


def test_indexing_keeps_the_scale_and_absent_maps():
    small = output(3, part_confidence=torch.randn(3, 1, 4, 4))
    for index in (slice(1, 3), torch.tensor([2, 0]), torch.tensor([True, False, True])):
        part = small[index]
        assert len(part) == 2
        assert part.upscale == 2
        assert part.coarse_confidence is None
        torch.testing.assert_close(part.u, small.u[index])
        torch.testing.assert_close(part.part_confidence, small.part_confidence[index])


def test_cat_puts_people_one_after_another():
    small = output(3, log_variance=torch.randn(3, 25, 4, 4))
    joined = ChartOutput.cat([small[:1], small[1:1], small[1:]])
    assert joined.upscale == 2
    for name in MAP_FIELDS:
        torch.testing.assert_close(getattr(joined, name), getattr(small, name))


def test_moving_changes_the_device_of_all_maps():
    assert output(1).to("meta").v.device.type == "meta"
