"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of all floating-point weights and buffers of a model, updated after every step.

    The decay is ramped up, ``min(decay, (1 + n) / (10 + n))`` at update n, so that the random start
    is forgotten in a short run too. Whole numbers (such as counters of batches) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"SOLVER.EMA.DECAY must lie in [0, 1), got {decay}")
        self.decay = decay
        self.updates = 0
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = model.state_dict()
        floating = [name for name, value in self.average.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.average[name] for name in floating],
            [state[name].detach() for name in floating],
            1 - decay,
        )
        for name in self.average.keys() - set(floating):
            self.average[name].copy_(state[name])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within the block ``model`` carries the average; its own weights come back afterwards."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def load(self, average: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a saved average; missing names keep their present values."""
        self.updates = updates
        for name, value in average.items():
            if name in self.average:
                self.average[name].copy_(value)
