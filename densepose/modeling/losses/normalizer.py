"""Counts that a mean is divided by, shared between the processes of a distributed training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def shared_counts(counts: Tensor) -> Tensor:
    """Mean of each count over all processes.

    Averaged gradients then equal those of one process on all images.

    Args:
        counts: (K,) how many values each of K sums holds in this process.

    Returns:
        (K,) float32 divisors, positive also where nothing was counted anywhere.
    """
    total = counts.to(torch.float32)
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world > 1:
        dist.all_reduce(total)
    return total.clamp(min=1) / world
