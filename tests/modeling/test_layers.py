"""Head, decoder and predictor: sizes, names and the same values as the layers one by one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from detectron2.layers import ShapeSpec

from densepose.modeling.decoder import Decoder, check_strides
from densepose.modeling.predictors import (
    DensePoseChartPredictor,
    DensePoseChartWithConfidencePredictor,
)
from densepose.ops.joined_layers import joined_class

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
SHAPES = {name: ShapeSpec(channels=6, stride=stride) for name, stride in STRIDES.items()}


def decoder(**changes: object) -> Decoder:
    return Decoder(SHAPES, **{"num_classes": 3, "conv_dims": 5, "common_stride": 4, **changes})


@pytest.mark.parametrize("norm", ["", "BN"])
def test_decoder_is_the_sum_of_its_branches_at_the_common_stride(norm: str):
    model = decoder(norm=norm)
    levels = [torch.randn(2, 6, 64 // stride, 96 // stride) for stride in STRIDES.values()]
    total = 0.0
    for name, level in zip(STRIDES, levels, strict=True):
        branch = getattr(model, name)
        assert len(branch) == max(1, 2 * int(STRIDES[name] / 4).bit_length() - 2)
        total = total + branch(level)
    got = model(levels)
    assert got.shape == (2, 3, 16, 24) and model.out_channels == 3
    torch.testing.assert_close(got, model.predictor(total))


def test_decoder_refuses_strides_that_do_not_meet():
    check_strides(SHAPES, 4)
    with pytest.raises(ValueError, match="set DECODER_COMMON_STRIDE to 8"):
        check_strides({name: SHAPES[name] for name in ("p3", "p4")}, 4)
    with pytest.raises(ValueError, match="level 'p3' of stride 12 cannot be brought to .*=4"):
        check_strides({**SHAPES, "p3": ShapeSpec(channels=6, stride=12)}, 4)


@pytest.mark.parametrize("kernel_size", [2, 4, 6])
@pytest.mark.parametrize("joined", [False, True])
def test_predictor_equals_its_layers_one_by_one(kernel_size: int, joined: bool):
    model = DensePoseChartPredictor(5, coarse_channels=15, num_charts=24, kernel_size=kernel_size)
    if joined:
        model.__class__ = joined_class(type(model))
    features = torch.randn(3, 5, 7, 7)
    output = model(features)
    assert output.upscale == 2
    for name, maps in (
        ("ann_index_lowres", output.coarse_logits),
        ("index_uv_lowres", output.part_logits),
        ("u_lowres", output.u),
        ("v_lowres", output.v),
    ):
        assert maps.shape[-2:] == (14, 14)
        torch.testing.assert_close(maps, getattr(model, name)(features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("none", set()),
        ("iid_iso", {"log_variance"}),
        ("indep_aniso", {"log_variance", "residual_u", "residual_v"}),
    ],
)
def test_uv_confidence_adds_its_maps(kind: str, fields: set[str]):
    model = DensePoseChartWithConfidencePredictor(
        5, coarse_channels=2, num_charts=24, uv_confidence=kind
    )
    output = model(torch.randn(1, 5, 7, 7))
    names = {"log_variance", "residual_u", "residual_v"}
    assert {name for name in names if getattr(output, name) is not None} == fields
    assert all(getattr(output, name).shape == (1, 25, 14, 14) for name in fields)


def test_segmentation_confidence_scales_the_full_maps():
    model = DensePoseChartWithConfidencePredictor(
        5, coarse_channels=2, num_charts=24, segm_confidence_epsilon=0.1
    )
    features = torch.randn(1, 5, 4, 4)

    def full(layer: str) -> torch.Tensor:
        maps = getattr(model, layer)(features)
        return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)

    output = model(features)
    assert output.upscale == 1
    part = full("index_uv_lowres") * (F.softplus(full("fine_segm_confidence_lowres")) + 0.1)
    coarse = full("ann_index_lowres") * (F.softplus(full("coarse_segm_confidence_lowres")) + 0.1)
    torch.testing.assert_close(output.part_logits, part, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.coarse_logits, coarse, rtol=1e-4, atol=1e-5)
    assert output.u.shape == (1, 25, 16, 16)
