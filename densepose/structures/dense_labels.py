"""Dense part labels and chart coordinates of N people, each on a square grid over a box.

Shapes: N people, G = cells along each side of the grid. Cell (r, c) of a person with the box
(x0, y0, x1, y1) has its centre at x0 + (c + 0.5) / G * (x1 - x0), y0 + (r + 0.5) / G * (y1 - y0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Cells along each side: finer than the maps of every head.
DENSE_GRID = 128
# Confidences are stored as whole steps of 1 / 255.
CONFIDENCE_STEPS = 255.0


@dataclass(frozen=True)
class DenseLabels:
    """What a teacher says about the pixels of people; all 0 for a person it said nothing about."""

    part: Tensor  # (N, G, G) uint8: 0 nothing known, 1..24
    uv: Tensor  # (N, 2, G, G) uint8 steps of 1 / 255
    confidence: Tensor  # (N, G, G) uint8 steps of 1 / 255

    def map(self, fn: Callable[[Tensor], Tensor]) -> DenseLabels:
        """The labels with ``fn`` applied to each of the three tensors."""
        return DenseLabels(fn(self.part), fn(self.uv), fn(self.confidence))

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: slice | Tensor) -> DenseLabels:
        """Select people by a slice, a mask or indices."""
        return self.map(lambda values: values[index])

    @staticmethod
    def cat(parts: Sequence[DenseLabels]) -> DenseLabels:
        """People of several images, one after another. At least one part."""
        return DenseLabels(
            torch.cat([labels.part for labels in parts]),
            torch.cat([labels.uv for labels in parts]),
            torch.cat([labels.confidence for labels in parts]),
        )

    @staticmethod
    def empty(num_people: int = 0, grid: int = DENSE_GRID) -> DenseLabels:
        """``num_people`` people about whom nothing is known."""
        zeros = torch.zeros(num_people, 4, grid, grid, dtype=torch.uint8)
        return DenseLabels(zeros[:, 0].clone(), zeros[:, 1:3].clone(), zeros[:, 3].clone())
