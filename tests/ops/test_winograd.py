"""Winograd convolution against the direct one, its transforms by hand, and its limits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from densepose.ops import tile_threads
from densepose.ops.tile_threads import equal_shares, scratch
from densepose.ops.winograd import (
    applies,
    convolve_or_fall_back,
    tile_count,
    transform_weight,
    winograd_conv2d,
)

SIZES = [
    (1, 3, 5, 1, 1),
    (2, 8, 16, 7, 9),
    (3, 64, 32, 14, 14),
    (1, 33, 65, 30, 41),
    (5, 4, 4, 4, 3),
]


def unpacked(panels: torch.Tensor, out_channels: int) -> torch.Tensor:
    """(36, P, C, COLUMNS) -> (36, C, K) without the padding."""
    return panels.permute(0, 2, 1, 3).flatten(2)[..., :out_channels]


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
    assert largest_relative(got, want) < 6e-6
    got_grads = torch.autograd.grad(got, leaves, upstream)
    want_grads = torch.autograd.grad(want, exact, upstream.double())
    for ours, theirs in zip(got_grads, want_grads, strict=True):
        assert largest_relative(ours, theirs) < 8e-6


def test_a_weight_by_hand():
    # A filter with a single 1 in its corner: G[:, 0] outer G[:, 0].
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 0, 0] = 1.0
    first = torch.tensor([1, -2 / 3, -2 / 3, 1 / 6, 1 / 6, 0])
    got = unpacked(transform_weight(weight), 1).view(6, 6)
    torch.testing.assert_close(got, torch.outer(first, first))


def test_a_diverged_input_is_seen():
    x = torch.randn(1, 4, 8, 8)
    x[0, 0, 3, 3] = float("nan")
    assert torch.isnan(winograd_conv2d(x, torch.randn(4, 4, 3, 3))).any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_parts_of_larger_tensors_need_no_copy_by_the_caller(layout):
    g = torch.Generator().manual_seed(4)
    large = torch.randn(3, 16, 40, 40, generator=g).contiguous(memory_format=layout)
    x = large[1:, 2:10, 3:30, 5:37]
    weight = torch.randn(12, 20, 3, 3, generator=g)[:, ::2][:, :8]
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    want = F.conv2d(*leaves, padding=1)
    assert largest_relative(winograd_conv2d(x, weight), want) < 6e-6
    # A gradient that is one number seen everywhere, as that of a sum is.
    grads = torch.autograd.grad(winograd_conv2d(*leaves).sum(), leaves)
    for ours, theirs in zip(grads, torch.autograd.grad(want.sum(), leaves), strict=True):
        assert largest_relative(ours, theirs) < 8e-6


FALL_BACK = {
    "double": dict(dtype=torch.float64),
    "bfloat16": dict(dtype=torch.bfloat16),
    "empty": dict(batch=0),
    "autocast": {},
    "one cell": dict(side=1),
    "few tiles": dict(side=16),
    "badly filled tiles": dict(batch=40, side=5),
}


@pytest.mark.parametrize("kind", FALL_BACK)
def test_other_cases_fall_back_to_torch(kind):
    case = {"dtype": torch.float32, "batch": 1, "side": 24, **FALL_BACK[kind]}
    x = torch.randn(case["batch"], 4, case["side"], case["side"], dtype=case["dtype"])
    weight = torch.randn(6, 4, 3, 3, dtype=case["dtype"])
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        got, want = convolve_or_fall_back(x, weight, None), F.conv2d(x, weight, padding=1)
    assert got.dtype == want.dtype
    assert torch.equal(got, want)


@pytest.mark.parametrize(
    ("side", "given", "taken"), [(20, False, True), (16, False, False), (16, True, True)]
)
def test_a_given_transform_pays_with_fewer_tiles(side, given, taken):
    x, weight = torch.randn(1, 4, side, side), torch.randn(6, 4, 3, 3)
    got = convolve_or_fall_back(x, weight, None, transform_weight(weight) if given else None)
    want = winograd_conv2d(x, weight) if taken else F.conv2d(x, weight, padding=1)
    assert torch.equal(got, want)


def test_tiles_of_a_map_by_hand():
    assert tile_count(torch.zeros(3, 2, 5, 8)) == 3 * 2 * 2


def test_scratch_is_reused_and_grows():
    first = scratch("a test", 3, 5)
    assert first.shape == (3, 5)
    assert scratch("a test", 15).data_ptr() == first.data_ptr()
    assert scratch("another test", 15).data_ptr() != first.data_ptr()
    with torch.inference_mode():
        grown = scratch("a test", 7, 9)
    assert grown.shape == (7, 9) and not grown.is_inference()


def test_refuses_what_it_cannot_do():
    with pytest.raises(
        ValueError, match=r"3x3 weight and float32 on CPU, got weight \(4, 4, 1, 1\)"
    ):
        winograd_conv2d(torch.zeros(1, 4, 8, 8), torch.zeros(4, 4, 1, 1))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_shares_cover_everything_once(count):
    edges = equal_shares(count)
    assert edges[0] == 0 and edges[-1] == count
    assert ((edges[1:] - edges[:-1]) >= 0).all()
    assert 2 <= len(edges) <= max(1, min(count, torch.get_num_threads())) + 1


def test_the_number_of_threads_does_not_change_the_values():
    g = torch.Generator().manual_seed(5)
    x, weight = torch.randn(2, 33, 19, 23, generator=g), torch.randn(40, 33, 3, 3, generator=g)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(winograd_conv2d(x, weight))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_forked_process_takes_the_direct_convolution(monkeypatch: pytest.MonkeyPatch):
    x, weight = torch.randn(1, 32, 24, 24), torch.randn(32, 32, 3, 3)
    assert applies(x, weight)
    monkeypatch.setattr(tile_threads, "_process", tile_threads._process + 1)
    assert not applies(x, weight)
    want = F.conv2d(x, weight, padding=1)
    torch.testing.assert_close(convolve_or_fall_back(x, weight, None), want, rtol=0, atol=0)
