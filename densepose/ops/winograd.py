"""3x3 convolution, stride 1, padding 1, by Winograd F(4x4, 3x3) in float32 on CPU.

A quarter of the multiplications of the direct form: 36 products per 4x4 output tile and channel
pair instead of 144. Values differ from the direct convolution by rounding alone, at most 2e-5 of
the largest output (direct convolution itself: 2e-6); gradients likewise (both tested).

Shapes: input (N, C, H, W), weight (K, C, 3, 3), output (N, K, H, W), all channels-last in memory;
transformed weight U (36, C, K), T tiles of 4x4 outputs.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from densepose.ops.tile_threads import run_shares, scratch

# Tiles that one thread takes at a time: their 36 transformed copies should stay in its cache.
_BLOCK = 128
_GRADIENT_BLOCK = 256
# Measured against oneDNN: with fewer tiles the transform of the weights costs more than is saved
# (forward alone; in training the weight gradient makes up for it), in maps like 5x5 the overhang.
_LEAST_TILES = 24
_LEAST_TILES_TRANSFORMED = 8
_LEAST_FILL = 0.55  # 6x6 and 9x9 fill 0.56 of their tiles
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def winograd_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=1)`` for a 3x3 weight; float32 on CPU only.

    Raises:
        ValueError: for another kernel size, dtype or device.
    """
    if weight.shape[2:] != (3, 3) or x.dtype != torch.float32 or x.device.type != "cpu":
        raise ValueError(
            "winograd_conv2d takes a 3x3 weight and float32 on CPU,"
            f" got weight {tuple(weight.shape)}, {x.dtype} on {x.device}"
        )
    return _WinogradConv.apply(x, weight, bias, None)


def transform_weight(weight: Tensor, out: Tensor | None = None) -> Tensor:
    """G g G^T of every filter: (K, C, 3, 3) -> (36, C, K)."""
    out_channels, in_channels = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0)
    return _transform_taps(taps, _weight_matrix(), out).view(36, in_channels, out_channels)


def transform_turned_weight(weight: Tensor, out: Tensor | None = None) -> Tensor:
    """The same of every filter turned by 180 degrees, channels swapped: -> (36, K, C)."""
    out_channels, in_channels = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1)
    return _transform_taps(taps, _turned_matrix(), out).view(36, out_channels, in_channels)


def _transform_taps(taps: Tensor, matrix: Tensor, out: Tensor | None) -> Tensor:
    """Matrix (36, 9) times taps (3, 3, A, B) -> (36, A * B)."""
    filters = taps.shape[2] * taps.shape[3]
    rows = scratch("taps", *taps.shape).copy_(taps).view(9, filters)
    out = torch.empty(36, filters) if out is None else out.view(36, filters)
    return torch.mm(matrix, rows, out=out)


def transform_weight_gradient(gradient: Tensor) -> Tensor:
    """Adjoint of ``transform_weight``: (36, C, K) -> (K, C, 3, 3), channels-last in memory."""
    _, in_channels, out_channels = gradient.shape
    taps = scratch("taps", 9, in_channels * out_channels)
    torch.mm(_weight_matrix().T, gradient.reshape(36, -1), out=taps)
    weight = torch.empty(out_channels, in_channels, 3, 3, memory_format=torch.channels_last)
    return weight.copy_(taps.view(3, 3, in_channels, out_channels).permute(3, 2, 0, 1))


def convolve(x: Tensor, transformed: Tensor, bias: Tensor | None) -> Tensor:
    """(N, C, H, W) with a transformed weight (36, C, K) -> (N, K, H, W); without autograd."""
    from densepose.ops.winograd_kernels import transform_input, transform_output

    rows = _channels_last_rows(x)
    batch, height, width, channels = rows.shape
    out_channels = transformed.shape[2]
    # Not a view of a rows tensor: detectron2 adds residuals to the result in place.
    out = torch.empty((batch, out_channels, height, width), memory_format=torch.channels_last)
    offset = torch.zeros(out_channels) if bias is None else bias.detach().contiguous()
    source, shift = rows.numpy(), offset.numpy()
    target = out.permute(0, 2, 3, 1).numpy()
    down, across = math.ceil(height / 4), math.ceil(width / 4)

    def share(begin: int, end: int) -> None:
        step = _even_block(end - begin, _BLOCK)
        tiles = scratch("tiles", 36, step, channels)
        products = scratch("products", 36, step, out_channels)
        for first in range(begin, end, step):
            count = min(step, end - first)
            block, product = tiles[:, :count], products[:, :count]
            transform_input(source, block.numpy(), first, count, down, across)
            torch.bmm(block, transformed, out=product)
            transform_output(product.numpy(), target, shift, first, count, down, across)

    run_shares(share, batch * down * across)
    return out


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of the weight: x (N, C, H, W), output gradient (N, K, H, W) -> (K, C, 3, 3)."""
    from densepose.ops.winograd_kernels import transform_input, transform_output_gradient

    rows, gradient_rows = _channels_last_rows(x), _channels_last_rows(gradient)
    batch, height, width, channels = rows.shape
    out_channels = gradient_rows.shape[3]
    source, upstream = rows.numpy(), gradient_rows.numpy()
    down, across = math.ceil(height / 4), math.ceil(width / 4)
    # One sum per thread, in the caller's memory; list.pop and list.append are atomic.
    free = list(scratch("sums", torch.get_num_threads(), 36, channels, out_channels))
    sums: list[Tensor] = []

    def share(begin: int, end: int) -> None:
        step = _even_block(end - begin, _GRADIENT_BLOCK)
        tiles = scratch("tiles", 36, step, channels)
        adjoint = scratch("products", 36, step, out_channels)
        total = free.pop()
        for first in range(begin, end, step):
            count = min(step, end - first)
            left, right = tiles[:, :count], adjoint[:, :count]
            transform_input(source, left.numpy(), first, count, down, across)
            transform_output_gradient(upstream, right.numpy(), first, count, down, across)
            total.baddbmm_(left.transpose(1, 2), right, beta=0 if first == begin else 1)
        sums.append(total)

    run_shares(share, batch * down * across)
    for other in sums[1:]:
        sums[0] += other
    return transform_weight_gradient(sums[0])


class _WinogradConv(torch.autograd.Function):
    """Forward, data gradient and weight gradient all in the transformed domain."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, transformed: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        if transformed is None:
            out_channels, in_channels = weight.shape[:2]
            transformed = transform_weight(weight, scratch("weight", 36, in_channels, out_channels))
        return convolve(x, transformed, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_input = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            # The data gradient is the convolution with the filters turned by 180 degrees.
            turned = transform_turned_weight(weight, scratch("weight", 36, *weight.shape[:2]))
            to_input = convolve(gradient, turned, None)
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(x, gradient)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3))
        return to_input, to_weight, to_bias, None


def convolve_or_fall_back(
    x: Tensor, weight: Tensor, bias: Tensor | None, transformed: Tensor | None = None
) -> Tensor:
    """Winograd where it applies and pays, else ``F.conv2d(..., padding=1)``: any dtype and size.

    Args:
        x: (N, C, H, W).
        weight: (K, C, 3, 3).
        bias: (K,) or None.
        transformed: ``transform_weight(weight)`` where the caller has it; without it the transform
            is part of the cost and more tiles are needed to pay for it.
    """
    least = _LEAST_TILES if transformed is None else _LEAST_TILES_TRANSFORMED
    if applies(x, weight) and tile_count(x) >= least:
        return _WinogradConv.apply(x, weight, bias, transformed)
    return F.conv2d(x, weight, bias, padding=1)


def applies(x: Tensor, weight: Tensor) -> bool:
    """Whether dtype and device suit, and the map fills its tiles well enough to save anything."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and x.numel() > 0
        and len(x) * x.shape[2] * x.shape[3] >= _LEAST_FILL * 16 * tile_count(x)
    )


def tile_count(x: Tensor) -> int:
    """Tiles of 4x4 outputs that cover all maps of (N, C, H, W)."""
    return len(x) * math.ceil(x.shape[2] / 4) * math.ceil(x.shape[3] / 4)


def _channels_last_rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> contiguous (N, H, W, C), a view when x is channels-last already."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def _even_block(count: int, limit: int) -> int:
    """Block length so that ``count`` tiles split into equal blocks of at most ``limit``."""
    return math.ceil(count / math.ceil(count / limit))


@cache
def _weight_matrix() -> Tensor:
    """(36, 9): the Kronecker square of G, acting on flattened 3x3 filters."""
    with torch.inference_mode(False):
        g = torch.tensor(_G)
        return torch.kron(g, g)


@cache
def _turned_matrix() -> Tensor:
    """(36, 9): the same for filters whose taps come in reverse order."""
    with torch.inference_mode(False):
        return _weight_matrix().flip(1).contiguous()
