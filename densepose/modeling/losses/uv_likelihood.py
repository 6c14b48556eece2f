"""Negative log-likelihoods of UV residuals, as detectron2's DensePose trains them.

Neverova et al., Correlated Uncertainty for Learning Dense Correspondences from Noisy Labels,
NeurIPS 2019.

Shapes: Q points. Raw network outputs become variances by softplus(raw) + epsilon.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_LOG_2PI = math.log(2 * math.pi)


def isotropic_uv_loss(residual: Tensor, raw_variance: Tensor, epsilon: float) -> Tensor:
    """1/2 (log 2 pi + 2 log s + |r|^2 / s) with the variance s.

    residual r (Q, 2), raw_variance (Q,) -> (Q,).

    The density of two independent normals with variance s, but for a constant 1/2 log 2 pi.
    """
    variance = F.softplus(raw_variance) + epsilon
    squared = residual.square().sum(dim=1)
    return 0.5 * (_LOG_2PI + 2 * torch.log(variance) + squared / variance)


def anisotropic_uv_loss(
    residual: Tensor, raw_variance: Tensor, direction: Tensor, epsilon: float
) -> Tensor:
    """The same for the covariance s I + d d^T.

    residual (Q, 2), raw_variance (Q,), direction d (Q, 2) -> (Q,).
    """
    variance = F.softplus(raw_variance) + epsilon
    determinant = variance * (variance + direction.square().sum(dim=1))
    squared = residual.square().sum(dim=1)
    along = (residual * direction).sum(dim=1).square()
    return 0.5 * (_LOG_2PI + torch.log(determinant) + squared / variance - along / determinant)
