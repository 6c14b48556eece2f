"""Depthwise convolution, 3x3 or 5x5, in float32 on CPU, with the padding of TensorFlow built in.

oneDNN's gradients of such layers are slow for small maps: 17 ms for 1,152 channels of 8x8, batch
4, where the kernels here take 1 (2 cores, AVX-512). Values differ by the order of the sums alone.

Shapes: input (N, C, H, W), weight (C, 1, k, k), output (N, C, H', W').
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from densepose.ops.tile_threads import equal_shares, ready, run_in_threads


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int,
    top_left: tuple[int, int],
    size: tuple[int, int],
) -> Tensor:
    """Convolve each channel with its own filter; float32 on CPU.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, k, k).
        bias: (C,) or None.
        stride: of rows and columns.
        top_left: rows of zeros above, columns of zeros to the left.
        size: rows and columns of the output; what it needs below and to the right is zero.

    Raises:
        ValueError: for a weight of another form, another dtype or device.
    """
    channels = x.shape[1]
    if weight.shape[:2] != (channels, 1) or x.dtype != torch.float32 or x.device.type != "cpu":
        raise ValueError(
            f"depthwise_conv2d takes a weight ({channels}, 1, k, k) and float32 on CPU,"
            f" got weight {tuple(weight.shape)}, {x.dtype} on {x.device}"
        )
    return _Depthwise.apply(x, weight, bias, stride, top_left, size)


@cache
def depthwise_class(original: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A subclass of a convolution class (depthwise) that computes by these kernels."""
    pads_itself = is_same_padded(original)

    class DepthwiseConv(original):
        is_depthwise = True

        def forward(self, x: Tensor) -> Tensor:
            if not _applies(x):
                return super().forward(x)
            (kernel, _), (stride, _) = self.kernel_size, self.stride
            geometry = [
                _same_padding(side, kernel, stride)
                if pads_itself
                else _padding(side, kernel, stride, pad)
                for side, pad in zip(x.shape[2:], self.padding, strict=True)
            ]
            before, sizes = zip(*geometry, strict=True)
            return depthwise_conv2d(
                x, self.weight, self.bias, stride=stride, top_left=before, size=sizes
            )

    DepthwiseConv.__name__ = DepthwiseConv.__qualname__ = f"Depthwise{original.__name__}"
    return DepthwiseConv


def is_same_padded(kind: type) -> bool:
    """Whether a class is timm's convolution that pads as TensorFlow does."""
    return any(base.__name__ == "Conv2dSame" for base in kind.__mro__)


def _applies(x: Tensor) -> bool:
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and ready()
    )


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before, and size of the output: ceil(side / stride), the odd zero comes last."""
    size = math.ceil(side / stride)
    return max((size - 1) * stride + kernel - side, 0) // 2, size


def _padding(side: int, kernel: int, stride: int, pad: int) -> tuple[int, int]:
    return pad, (side + 2 * pad - kernel) // stride + 1


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        top_left: tuple[int, int],
        size: tuple[int, int],
    ) -> Tensor:
        from densepose.ops.depthwise_kernels import convolve

        ctx.save_for_backward(x, weight)
        ctx.has_bias, ctx.geometry = bias is not None, (stride, *top_left)
        offset = torch.zeros(len(weight)) if bias is None else bias.detach().contiguous()
        out = torch.empty((*x.shape[:2], *size), memory_format=torch.channels_last)
        run_in_threads(convolve, _rows(x), _taps(weight), offset, _rows(out), *ctx.geometry)
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from densepose.ops.depthwise_kernels import input_gradient, weight_gradient

        x, weight = ctx.saved_tensors
        rows = _rows(gradient)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = torch.empty(x.shape, memory_format=torch.channels_last)
            run_in_threads(input_gradient, rows, _taps(weight), _rows(to_x), *ctx.geometry)
        if ctx.needs_input_grad[1]:
            kernel, shares = weight.shape[2], len(equal_shares(len(rows) * rows.shape[1])) - 1
            totals = torch.empty(shares, kernel, kernel, len(weight))
            run_in_threads(weight_gradient, _rows(x), rows, totals, *ctx.geometry)
            to_weight = totals.sum(0).permute(2, 0, 1)[:, None]
        if ctx.has_bias and ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3))
        return to_x, to_weight, to_bias, None, None, None


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> contiguous (N, H, W, C), a view when x is channels-last already."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, k, k) -> contiguous (k, k, C)."""
    return weight.detach()[:, 0].permute(1, 2, 0).contiguous()
