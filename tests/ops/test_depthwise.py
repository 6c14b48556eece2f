"""Depthwise convolution against torch's, in all the forms that timm's models have."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional as F

from densepose.ops.accelerate import accelerate
from densepose.ops.depthwise import depthwise_class, depthwise_conv2d

SHAPES = [(2, 5, 7, 9), (1, 33, 8, 8), (3, 2, 1, 1), (2, 160, 13, 4)]


def swapped(layer: nn.Conv2d) -> nn.Conv2d:
    layer.__class__ = depthwise_class(type(layer))
    return layer


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("same", [False, True])
def test_values_and_gradients_are_those_of_torch(shape, kernel, stride, same):
    torch.manual_seed(0)
    channels = shape[1]
    kind, padding = (Conv2dSame, 0) if same else (nn.Conv2d, kernel // 2)
    plain = kind(channels, channels, kernel, stride, padding, groups=channels)
    ours = swapped(copy.deepcopy(plain))
    x = torch.randn(*shape)
    results = []
    for layer in (plain, ours):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        way = torch.linspace(-1, 1, y.numel()).view(y.shape)
        y.backward(way)
        results.append((y.detach(), leaf.grad, layer.weight.grad, layer.bias.grad))
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_an_output_by_hand():
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 0, 0], weight[0, 0, 1, 1] = 10, 1
    y = depthwise_conv2d(x, weight, torch.tensor([0.5]), stride=2, top_left=(1, 1), size=(2, 2))
    # Outputs sit on inputs 1, 3, 7, 9; ten times the neighbour above on the left is 5 for the last.
    torch.testing.assert_close(y, torch.tensor([[[[1.5, 3.5], [7.5, 59.5]]]]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_layout_and_parts_of_larger_tensors(layout):
    large = torch.randn(3, 16, 20, 20).contiguous(memory_format=layout)
    x = large[1:, 2:10, 3:17, 5:19]
    weight = torch.randn(8, 1, 3, 3)
    y = depthwise_conv2d(x, weight, None, stride=1, top_left=(1, 1), size=(14, 14))
    torch.testing.assert_close(y, F.conv2d(x, weight, padding=1, groups=8), rtol=1e-4, atol=1e-4)


def test_other_dtypes_autocast_and_empty_batches_go_to_torch():
    layer = swapped(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert layer(torch.zeros(0, 4, 5, 5)).shape == (0, 4, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 5, 5)).dtype == torch.bfloat16
    double = layer.double()
    assert double(torch.randn(1, 4, 5, 5).double()).dtype == torch.float64


def test_refuses_a_weight_of_another_form():
    with pytest.raises(ValueError, match=r"weight \(4, 1, k, k\).* got weight \(4, 2, 3, 3\)"):
        depthwise_conv2d(
            torch.zeros(1, 4, 5, 5),
            torch.zeros(4, 2, 3, 3),
            None,
            stride=1,
            top_left=(1, 1),
            size=(5, 5),
        )


def test_a_backbone_of_timm_keeps_values_gradients_and_names():
    torch.manual_seed(0)
    plain = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False).eval()
    ours = copy.deepcopy(plain)
    assert accelerate(ours)["depthwise convolutions"] == 16
    assert ours.state_dict().keys() == plain.state_dict().keys()
    x, gradients = torch.randn(2, 3, 65, 47), []
    for model in (plain, ours):
        outputs = model(x)
        sum(y.square().mean() for y in outputs).backward()
        gradients.append(
            {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        )
    for name, want in gradients[0].items():
        scale = want.abs().max().clamp(min=1e-6)
        assert (gradients[1][name] - want).abs().max() < 1e-3 * scale, name
