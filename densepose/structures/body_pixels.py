"""The pixels of people that a model says lie on the body, packed.

Shapes: N people, P pixels of all of them together, M = 256 steps of the annotation grid.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BodyPixels:
    """Dense predictions of the people of one image; sparse annotations can be drawn from them."""

    boxes_xyxy_px: Tensor  # (N, 4) float
    sizes_px: Tensor  # (N, 2) int64: height and width of each box in whole pixels
    part_grid: Tensor  # (N, M, M) uint8: part 1..24 on the annotation grid of the box, 0 background
    row: Tensor  # (P,) int64, from the top of the owner's box
    column: Tensor  # (P,) int64, from its left side
    part: Tensor  # (P,) int64: 1..24
    uv: Tensor  # (P, 2) float, not clamped
    owner: Tensor  # (P,) int64 in [0, N), ascending
    # (P,) float: the raw channel that says how sure the model is; None where it is not asked for
    certainty: Tensor | None = None

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)
