"""Winograd convolution against the direct one, its transforms by hand, and its limits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from densepose.ops.tile_threads import run_shares
from densepose.ops.winograd import (
    convolve_or_fall_back,
    transform_weight,
    transform_weight_gradient,
    winograd_conv2d,
)

SIZES = [
    (1, 3, 5, 1, 1),
    (2, 8, 16, 7, 9),
    (3, 64, 32, 14, 14),
    (1, 33, 65, 30, 41),
    (5, 4, 4, 4, 3),
]


def largest_relative(got: torch.Tensor, want: torch.Tensor) -> float:
    got, want = got.detach(), want.detach()
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_equal_the_direct_convolution(size, layout):
    batch, channels, out_channels, height, width = size
    g = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, height, width, generator=g).contiguous(memory_format=layout)
    weight = torch.randn(out_channels, channels, 3, 3, generator=g)
    bias = torch.randn(out_channels, generator=g)
    upstream = torch.randn(batch, out_channels, height, width, generator=g)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    got = winograd_conv2d(*leaves)
    exact = [t.double().requires_grad_() for t in (x, weight, bias)]
    want = F.conv2d(*exact, padding=1)
    assert largest_relative(got, want) < 2e-5
    got_grads = torch.autograd.grad(got, leaves, upstream)
    want_grads = torch.autograd.grad(want, exact, upstream.double())
    for ours, theirs in zip(got_grads, want_grads, strict=True):
        assert largest_relative(ours, theirs) < 3e-5


def test_a_filter_that_copies_gives_the_input_back():
    x = torch.randn(1, 4, 9, 10, generator=torch.Generator().manual_seed(1))
    weight = torch.zeros(4, 4, 3, 3)
    weight[range(4), range(4), 1, 1] = 1.0
    torch.testing.assert_close(winograd_conv2d(x, weight), x, atol=1e-5, rtol=1e-5)


def test_a_weight_by_hand():
    # A filter with a single 1 in its corner: G[:, 0] outer G[:, 0].
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 0, 0] = 1.0
    first = torch.tensor([1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24, 0])
    torch.testing.assert_close(transform_weight(weight).view(6, 6), torch.outer(first, first))


def test_the_weight_gradient_is_the_adjoint_of_the_transform():
    g = torch.Generator().manual_seed(2)
    weight, dual = torch.randn(5, 3, 3, 3, generator=g), torch.randn(36, 3, 5, generator=g)
    left = (transform_weight(weight) * dual).sum()
    right = (weight * transform_weight_gradient(dual)).sum()
    torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


def test_a_diverged_input_is_seen():
    x = torch.randn(1, 4, 8, 8)
    x[0, 0, 3, 3] = float("nan")
    assert torch.isnan(winograd_conv2d(x, torch.randn(4, 4, 3, 3))).any()


@pytest.mark.parametrize("kind", ["double", "bfloat16", "empty", "autocast", "tiny"])
def test_other_cases_fall_back_to_torch(kind):
    dtype = {"double": torch.float64, "bfloat16": torch.bfloat16}.get(kind, torch.float32)
    batch = 0 if kind == "empty" else 1
    side = 2 if kind == "tiny" else 16
    x = torch.randn(batch, 4, side, side, dtype=dtype)
    weight = torch.randn(6, 4, 3, 3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        got, want = convolve_or_fall_back(x, weight, None), F.conv2d(x, weight, padding=1)
    assert got.dtype == want.dtype
    assert torch.equal(got, want)


def test_refuses_what_it_cannot_do():
    with pytest.raises(
        ValueError, match=r"3x3 weight and float32 on CPU, got weight \(4, 4, 1, 1\)"
    ):
        winograd_conv2d(torch.zeros(1, 4, 8, 8), torch.zeros(4, 4, 1, 1))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_shares_cover_everything_once_and_threads_are_restored(count):
    before, seen = torch.get_num_threads(), []
    run_shares(lambda begin, end: seen.extend(range(begin, end)), count)
    assert sorted(seen) == list(range(count))
    assert torch.get_num_threads() == before


def test_an_error_in_a_share_is_raised():
    def fail(begin, end):
        raise RuntimeError("share failed")

    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="share failed"):
        run_shares(fail, 4)
    assert torch.get_num_threads() == before
