"""3x3 convolution, stride 1, padding 1, by Winograd F(4x4, 3x3) in float32 on CPU.

A quarter of the multiplications of the direct form: 36 products per 4x4 output tile and channel
pair instead of 144. Values differ from the direct convolution by rounding alone, at most 6e-6 of
the largest output (direct convolution itself: 2e-6); gradients likewise (both tested).

Shapes: input (N, C, H, W), weight (K, C, 3, 3), output (N, K, H, W), all channels-last in memory;
transformed weight in P = ceil(K / COLUMNS) panels; T tiles of 4x4 outputs in blocks.

    weight (K, C, 3, 3)                         input (N, C, H, W)
           | G g G^T                                   | 6x6 px around each tile, B^T d B
    panels (36, P, C, COLUMNS)                  tiles (36, T, C)
           |                                           |
           +-------- 36 matrix products over C --------+
                                |
                     products (36, T, P COLUMNS)
                                | A^T m A, + bias
                     4x4 px of each tile: output (N, K, H, W)

The gradient of the input is the same with filters turned by 180 degrees and C, K exchanged. That of
the weight sums tiles^T products over T for each of the 36, and goes back through G.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from densepose.ops.tile_threads import equal_shares, may_run_here, run_in_threads, scratch

# Tiles that one thread takes at a time: their 36 transformed copies should stay in its cache.
_BLOCK = 128
_GRADIENT_BLOCK = 256
# Measured against oneDNN: with fewer tiles the transform of the weights costs more than is saved
# (forward alone; in training the weight gradient makes up for it), in maps like 5x5 the overhang.
_LEAST_TILES = 24
_LEAST_TILES_TRANSFORMED = 8
_LEAST_FILL = 0.55  # 6x6 and 9x9 fill 0.56 of their tiles
# Rows of the points 0, a, -a, b, -b and infinity, see winograd_kernels; x and x^2 over the product
# of the distances to the other points: 2 a^2 (a^2 - b^2) = -3/2 and 2 b^2 (b^2 - a^2) = 6.
_A, _B = math.sqrt(0.5), math.sqrt(2)
_G = (
    (1, 0, 0),
    (-2 / 3, -2 / 3 * _A, -1 / 3),
    (-2 / 3, 2 / 3 * _A, -1 / 3),
    (1 / 6, 1 / 6 * _B, 1 / 3),
    (1 / 6, -1 / 6 * _B, 1 / 3),
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
    """G g G^T of every filter: (K, C, 3, 3) -> panels (36, ceil(K / COLUMNS), C, COLUMNS)."""
    return _transform_taps(weight.permute(2, 3, 1, 0), _weight_matrix(), out)


def transform_turned_weight(weight: Tensor, out: Tensor | None = None) -> Tensor:
    """The same of every filter turned by 180 degrees, with input and output channels swapped."""
    return _transform_taps(weight.permute(2, 3, 0, 1), _turned_matrix(), out)


def panel_shape(depth: int, columns: int) -> tuple[int, int, int, int]:
    """Shape of a transformed weight from ``depth`` to ``columns`` channels."""
    from densepose.ops.tile_products import COLUMNS

    return 36, math.ceil(columns / COLUMNS), depth, COLUMNS


def _transform_taps(taps: Tensor, matrix: Tensor, out: Tensor | None) -> Tensor:
    """Matrix (36, 9) times taps (3, 3, A, B), in panels of B."""
    depth, columns = taps.shape[2:]
    shape = panel_shape(depth, columns)
    _, panels, _, width = shape
    rows = scratch("taps", 3, 3, panels, depth, width)
    full = columns // width
    whole = taps[..., : full * width].unflatten(3, (full, width))
    rows[:, :, :full] = whole.permute(0, 1, 3, 2, 4)
    if full < panels:
        rest = columns - full * width
        rows[:, :, full, :, :rest] = taps[..., full * width :]
        rows[:, :, full, :, rest:] = 0
    out = torch.empty(shape) if out is None else out
    torch.mm(matrix, rows.view(9, -1), out=out.view(36, -1))
    return out


def transform_weight_gradient(gradient: Tensor, in_channels: int, out_channels: int) -> Tensor:
    """Adjoint of G g G^T: (36, C', K') of padded sizes -> (K, C, 3, 3), channels-last in memory."""
    _, rows, columns = gradient.shape
    taps = scratch("taps", 9, rows * columns)
    torch.mm(_weight_matrix().T, gradient.view(36, -1), out=taps)
    weight = torch.empty(out_channels, in_channels, 3, 3, memory_format=torch.channels_last)
    kept = taps.view(3, 3, rows, columns)[:, :, :in_channels, :out_channels]
    return weight.copy_(kept.permute(3, 2, 0, 1))


def convolve(x: Tensor, transformed: Tensor, out_channels: int, bias: Tensor | None) -> Tensor:
    """(N, C, H, W) with panels of a transformed weight -> (N, K, H, W); without autograd."""
    from densepose.ops.winograd_kernels import convolve_shares

    rows = _channels_last_rows(x)
    batch, height, width, channels = rows.shape
    # Not a view of a rows tensor: detectron2 adds residuals to the result in place.
    out = torch.empty((batch, out_channels, height, width), memory_format=torch.channels_last)
    offset = torch.zeros(out_channels) if bias is None else bias.detach().contiguous()
    down, across = math.ceil(height / 4), math.ceil(width / 4)
    edges = equal_shares(batch * down * across)
    block = _block(edges, _BLOCK)
    padded = transformed.shape[1] * transformed.shape[3]
    run_in_threads(
        convolve_shares,
        *(rows, transformed, out.permute(0, 2, 3, 1), offset),
        scratch("tiles", len(edges) - 1, 36, block, channels),
        scratch("products", len(edges) - 1, 36, block, padded),
        *(edges, down, across),
    )
    return out


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of the weight: x (N, C, H, W), output gradient (N, K, H, W) -> (K, C, 3, 3)."""
    from densepose.ops.tile_products import COLUMNS, ROWS
    from densepose.ops.winograd_kernels import sum_weight_gradient

    rows, gradient_rows = _channels_last_rows(x), _channels_last_rows(gradient)
    batch, height, width, channels = rows.shape
    out_channels = gradient_rows.shape[3]
    down, across = math.ceil(height / 4), math.ceil(width / 4)
    left, right = _round_up(channels, ROWS), _round_up(out_channels, COLUMNS)
    count = batch * down * across
    block = math.ceil(count / math.ceil(count / _GRADIENT_BLOCK))
    total = scratch("transformed", 36, left, right)
    run_in_threads(
        sum_weight_gradient,
        *(rows, gradient_rows, total),
        scratch("tiles", 36, block, left),
        scratch("products", 36, block, right),
        *(count, len(equal_shares(count)) - 1, down, across),
    )
    return transform_weight_gradient(total, channels, out_channels)


class _WinogradConv(torch.autograd.Function):
    """Forward, data gradient and weight gradient all in the transformed domain."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, transformed: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        out_channels, in_channels = weight.shape[:2]
        if transformed is None:
            memory = scratch("transformed", *panel_shape(in_channels, out_channels))
            transformed = transform_weight(weight, memory)
        return convolve(x, transformed, out_channels, bias)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_input = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            # The data gradient is the convolution with the filters turned by 180 degrees.
            turned = transform_turned_weight(
                weight, scratch("transformed", *panel_shape(*weight.shape[:2]))
            )
            to_input = convolve(gradient, turned, weight.shape[1], None)
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
        and may_run_here()
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


def _block(edges: np.ndarray, limit: int) -> int:
    """Tiles at a time, so that the longest share splits into about equal blocks up to ``limit``."""
    from densepose.ops.tile_products import ROWS

    count = int((edges[1:] - edges[:-1]).max())
    return _round_up(math.ceil(count / math.ceil(count / limit)), ROWS)


def _round_up(count: int, multiple: int) -> int:
    return math.ceil(count / multiple) * multiple


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
