"""Fully connected layers by oneDNN where torch's own library leaves half of the processor unused.

torch multiplies float32 matrices with MKL, which uses AVX-512 on Intel's processors only; oneDNN,
which torch has for convolutions, uses it on all (measured on one core of a Zen 5: 45 and 100
billion multiplications a second). Values differ by the order of the sums alone.

Shapes: input (N, C), weight (K, C), output (N, K).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

# Multiplications below which a call costs more than is saved.
_LEAST_PRODUCTS = 2**22


@cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies float32 matrices faster than ``torch.mm`` does."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and _vendor() not in ("", "GenuineIntel")
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: by oneDNN for large float32 matrices on CPU, else torch's own."""
    suits = (
        x.dim() == 2
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and x.numel() * len(weight) >= _LEAST_PRODUCTS
    )
    return _Linear.apply(x, weight, bias) if suits else F.linear(x, weight, bias)


class AcceleratedLinear(nn.Linear):
    """``nn.Linear`` with another forward; a model's layers change class, not parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., K)."""
        return linear(x, self.weight, self.bias)


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """(M, K) times the transpose of (N, K), plus bias -> (M, N)."""
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product(x.detach(), weight.detach(), None if bias is None else bias.detach())

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _product(gradient, weight.t())
        if ctx.needs_input_grad[1]:
            to_weight = _product(gradient.t(), x.t())
        if ctx.has_bias and ctx.needs_input_grad[2]:
            to_bias = gradient.sum(0)
        return to_x, to_weight, to_bias


def _vendor() -> str:
    """Maker of the processor as Linux names it; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")
