"""Modules that compute by Winograd: what they remember in inference, and when they forget it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from detectron2.layers import Conv2d, FrozenBatchNorm2d

from densepose.ops.folding import fold_frozen_norms
from densepose.ops.winograd_layer import winograd_class


def layer(*, folded: bool = False) -> nn.Conv2d:
    torch.manual_seed(0)
    norm = FrozenBatchNorm2d(8)
    conv = Conv2d(4, 8, 3, padding=1, norm=norm, activation=F.relu) if folded else None
    conv = nn.Conv2d(4, 8, 3, padding=1) if conv is None else conv
    if folded:
        norm.running_var.copy_(torch.rand(8) + 0.5)
        norm.bias.copy_(torch.randn(8))
        assert fold_frozen_norms(conv) == 1
    conv.__class__ = winograd_class(type(conv))
    return conv


def direct(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    out = F.conv2d(x, conv.weight, conv.bias, padding=1)
    return F.relu(out) if hasattr(conv, "activation") else out


X = torch.randn(2, 4, 18, 21, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("folded", [False, True])
def test_inference_transforms_a_weight_once_and_sees_a_new_one(mode, folded):
    conv = layer(folded=folded)
    with mode():
        torch.testing.assert_close(conv(X), direct(conv, X), atol=1e-4, rtol=1e-4)
        first = conv.kept_transform.transformed
        conv(X)
        assert conv.kept_transform.transformed is first
    other = layer(folded=folded)
    nn.init.normal_(other._parameters["weight"])
    conv.load_state_dict(other.state_dict())
    with mode():
        torch.testing.assert_close(conv(X), direct(other, X), atol=1e-4, rtol=1e-4)
    assert conv.kept_transform.transformed is not first


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("folded", [False, True])
def test_training_after_inference_mode(folded, trains):
    conv = layer(folded=folded).requires_grad_(trains)
    with torch.inference_mode():
        conv(X)
    x = X.clone().requires_grad_()
    got = conv(x)
    assert conv.kept_transform is None
    leaves = [x, *(p for p in conv.parameters() if p.requires_grad)]
    want = torch.autograd.grad(direct(conv, x).square().sum(), leaves)
    for ours, theirs in zip(torch.autograd.grad(got.square().sum(), leaves), want, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_a_copy_has_its_own_weight():
    conv = layer()
    with torch.no_grad():
        before = conv(X)
        twin = copy.deepcopy(conv)
        assert twin.kept_transform is None
        twin.weight.mul_(2.0)
        twin.bias.mul_(2.0)
        torch.testing.assert_close(twin(X), 2 * before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(conv(X), before)


def test_large_maps_do_not_keep_the_transform():
    conv = layer()
    with torch.no_grad():
        conv(torch.zeros(1, 4, 160, 160))
    assert conv.kept_transform is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_convolved_directly(dtype):
    conv, x = layer().to(dtype), X.to(dtype)
    with torch.no_grad():
        assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))
    assert conv.kept_transform is None
