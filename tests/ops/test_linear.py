"""Fully connected layers by oneDNN against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from densepose.ops import accelerate as accelerate_module
from densepose.ops import linear as linear_module
from densepose.ops.accelerate import accelerate
from densepose.ops.linear import AcceleratedLinear, linear

has_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="torch without oneDNN"
)


@has_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(bias, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linear_module, "_LEAST_PRODUCTS", 0)
    g = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(*shape, generator=g, requires_grad=True)
        for shape in ((7, 33), (12, 33), (12,))[: 3 if bias else 2]
    ]
    ours, theirs = linear(*leaves), F.linear(*leaves)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    way = torch.randn(7, 12, generator=g)
    for got, want in zip(
        torch.autograd.grad(ours, leaves, way),
        torch.autograd.grad(theirs, leaves, way),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@has_onednn
def test_a_frozen_weight_gets_no_gradient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linear_module, "_LEAST_PRODUCTS", 0)
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(3, 8)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(4, 8))


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(0, 2048),
        torch.zeros(3, 2048),
        torch.zeros(2, 512, 2048),
        torch.zeros(1024, 2048).double(),
    ],
    ids=["no rows", "small", "three dimensions", "double"],
)
def test_what_does_not_pay_or_suit_is_left_to_torch(x, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args):
        raise AssertionError("not to be called")

    monkeypatch.setattr(linear_module, "_product", refuse)
    weight = torch.ones(8, 2048, dtype=x.dtype)
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight))


@has_onednn
def test_autocast_stays_autocast():
    x, weight = torch.randn(2048, 2048), torch.randn(64, 2048)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16


@has_onednn
def test_a_model_keeps_its_parameters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accelerate_module, "onednn_is_faster", lambda: True)
    model = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 3))
    plain = copy.deepcopy(model)
    assert accelerate(model)["oneDNN linear layers"] == 2
    assert isinstance(model[0], AcceleratedLinear)
    assert model.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(64, 2048)
    torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-4)
