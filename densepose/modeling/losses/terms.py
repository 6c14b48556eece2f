"""A loss as a list of named terms, normalised together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class Term:
    """One entry of the dictionary of losses: ``weight * sum(element_weights * values) / n``.

    n is the sum of the element weights of all processes for a mean, 1 for a sum.
    """

    name: str
    values: Tensor  # loss of each element, any shape
    weight: float
    element_weights: Tensor | None = None  # of the shape of ``values``; None: all 1
    is_mean: bool = True

    @property
    def count(self) -> Tensor:
        """Sum of the element weights, a float32 scalar."""
        if self.element_weights is None:
            return self.values.new_full((), self.values.numel(), dtype=torch.float32)
        return self.element_weights.sum(dtype=torch.float32)

    @property
    def total(self) -> Tensor:
        """Weighted sum of the values; 0 and connected to the maps where there are none."""
        if self.element_weights is None:
            return self.values.sum()
        return (self.values * self.element_weights).sum()


def weighted_sums(terms: Sequence[Term]) -> dict[str, Tensor]:
    """The scalar of each term, by name. One collective for the normalisers of all of them."""
    divisors = shared_counts(torch.stack([term.count for term in terms]))
    return {
        term.name: term.total / (divisor if term.is_mean else 1.0) * term.weight
        for term, divisor in zip(terms, divisors, strict=True)
    }


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
