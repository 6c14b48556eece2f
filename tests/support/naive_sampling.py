"""Bilinear reading of a map, written from its definition."""

from __future__ import annotations

import math

import torch


def read_full_map(full: torch.Tensor, point, box) -> torch.Tensor | None:
    """Definition, for one point: channels of one person's full map, or None outside the box."""
    (x, y), (x0, y0, x1, y1) = point, box
    if not (x0 <= x < x1 and y0 <= y < y1):
        return None
    size = full.shape[-1]
    column, row = (x - x0) * size / (x1 - x0), (y - y0) * size / (y1 - y0)
    value = torch.zeros(len(full), dtype=full.dtype)
    for r, weight_row in neighbours(row, size):
        for c, weight_column in neighbours(column, size):
            value += weight_row * weight_column * full[:, r, c]
    return value


def neighbours(position: float, size: int) -> list[tuple[int, float]]:
    low = min(math.floor(position), size - 1)
    high = min(low + 1, size - 1)
    fraction = min(position, high) - low
    return [(low, 1 - fraction), (high, fraction)]
