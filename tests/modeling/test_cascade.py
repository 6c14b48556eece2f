"""Figure 8 of the DensePose paper, term by term."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densepose.modeling.cascade import BranchShape, CascadeStage
from tests.support.random_people import generator

SHAPES = {"densepose": BranchShape(6, 9), "mask": BranchShape(4, 1)}
SIDES = {"densepose": 8, "mask": 4}
CHANNELS = 5


def make_stage(**options: object) -> CascadeStage:
    torch.manual_seed(0)
    layers = {name: nn.Conv2d(CHANNELS, s.output_channels, 1) for name, s in SHAPES.items()}
    return CascadeStage(SHAPES, layers, channels=CHANNELS, **options)


def inputs(count: int = 3) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    g = generator()

    def maps(channels: int, side: int) -> Tensor:
        return torch.randn(count, channels, side, side, generator=g)

    features = {name: maps(s.feature_channels, SIDES[name]) for name, s in SHAPES.items()}
    outputs = {name: maps(s.output_channels, 2 * SIDES[name]) for name, s in SHAPES.items()}
    return features, outputs


def product(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    """A 1x1 convolution as what it is: a matrix for each cell."""
    return torch.einsum("oc,nchw->nohw", conv.weight[:, :, 0, 0], maps) + conv.bias[:, None, None]


def by_definition(stage: CascadeStage, target: str, features: dict, outputs: dict) -> Tensor:
    total = 0.0
    for source in SHAPES:
        maps = outputs[source]
        cells = sum(maps[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        for conv, tensor in (
            (stage.feature_projections[source], features[source]),
            (stage.output_projections[source], cells),
        ):
            side = (SIDES[target], SIDES[target])
            projected = product(conv, tensor)
            total = total + F.interpolate(projected, side, mode="bilinear", align_corners=False)
    return product(stage.mixing[target], total.clamp(min=0)).clamp(min=0)


def test_equals_the_figure_written_out():
    stage = make_stage()
    features, outputs = inputs()
    got = stage(features, outputs)
    for name in SHAPES:
        want = by_definition(stage, name, features, outputs)
        torch.testing.assert_close(got[name], want, rtol=1e-4, atol=1e-5)
        assert got[name].shape == (3, CHANNELS, SIDES[name], SIDES[name])


@pytest.mark.parametrize("kind", ["feature_projections", "output_projections"])
@pytest.mark.parametrize("source", SHAPES)
def test_each_of_the_four_tensors_goes_into_both_sums(kind: str, source: str):
    stage = make_stage()
    features, outputs = inputs()
    before = stage(features, outputs)
    remove(getattr(stage, kind)[source])
    after = stage(features, outputs)
    assert all((before[name] - after[name]).abs().max() > 1e-3 for name in SHAPES)


def test_the_convolution_behind_a_sum_belongs_to_one_branch():
    stage = make_stage()
    features, outputs = inputs()
    before = stage(features, outputs)
    remove(stage.mixing["mask"])
    after = stage(features, outputs)
    assert torch.equal(before["densepose"], after["densepose"])
    assert not after["mask"].any()


def test_a_dilated_convolution_sees_its_own_taps_alone():
    stage = make_stage(conv_kernel=3, conv_dilation=3)
    features, outputs = inputs(1)
    features["densepose"].requires_grad_()
    for bias in (stage.mixing["densepose"].bias, stage.feature_projections["densepose"].bias):
        nn.init.constant_(bias, 100.0)  # no ReLU cuts anything off
    middle = (0, slice(None), 4, 4)
    stage(features, outputs)["densepose"][middle].sum().backward()
    seen = features["densepose"].grad.abs().sum(dim=(0, 1)) > 0
    want = torch.zeros(8, 8, dtype=torch.bool)
    want[1::3, 1::3] = True
    assert torch.equal(seen, want)


def remove(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def test_every_parameter_gets_a_gradient_and_no_boxes_are_ordinary():
    for options in ({}, {"conv_kernel": 3}):
        stage = make_stage(**options)
        for count in (3, 0):
            stage.zero_grad(set_to_none=True)
            refined = stage(*inputs(count))
            outputs = {name: stage.output_layers[name](refined[name]) for name in SHAPES}
            sum(output.sum() for output in outputs.values()).backward()
            for name, parameter in stage.named_parameters():
                assert parameter.grad is not None, name
                assert bool(parameter.grad.any()) == (count > 0), name


def test_gradients_of_the_inputs():
    stage = make_stage().double()
    features, outputs = inputs(1)
    flat = [x.double().requires_grad_() for x in (*features.values(), *outputs.values())]

    def refined(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(SHAPES, tensors[:2], strict=True))
        return tuple(stage(given, dict(zip(SHAPES, tensors[2:], strict=True))).values())

    assert torch.autograd.gradcheck(refined, flat, fast_mode=True)


def test_addends_start_with_the_variance_of_a_single_one():
    shapes = {f"branch{k}": BranchShape(64, 64) for k in range(3)}
    torch.manual_seed(0)
    stage = CascadeStage(shapes, {name: nn.Identity() for name in shapes}, channels=64)
    maps = {name: torch.randn(4, 64, 6, 6, generator=generator()) for name in shapes}
    seen: list[Tensor] = []
    stage.mixing["branch0"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    stage(maps, maps)
    # The same maps six times, projected independently: variance 2, the gain of a ReLU, half of
    # whose square is left behind it.
    assert seen[0].square().mean().item() == pytest.approx(1.0, rel=0.2)
