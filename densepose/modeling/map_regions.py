"""Evaluate a stack of convolutions and doublings on a part of its output only.

Going backwards through the stack, every layer asks for the part of its input that its own part
depends on; going forwards, each result is cut to what was asked for. What a cut border spoils is
cut away in the next step, so the values are those of the whole map (up to rounding, where an
algorithm's rounding depends on the size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Region:
    """Cells [top, bottom) x [left, right) of a map."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Number of cells; 0 where the edges have crossed."""
        return max(self.bottom - self.top, 0) * max(self.right - self.left, 0)

    def contains(self, other: Region) -> bool:
        """Whether all of ``other`` lies in here."""
        return (
            self.top <= other.top
            and other.bottom <= self.bottom
            and self.left <= other.left
            and other.right <= self.right
        )

    def grown(self, cells: int, size: tuple[int, int]) -> Region:
        """With ``cells`` more on every side, as far as a map of this height and width goes."""
        height, width = size
        return Region(
            max(self.top - cells, 0),
            min(self.bottom + cells, height),
            max(self.left - cells, 0),
            min(self.right + cells, width),
        )

    def before_doubling(self, size: tuple[int, int]) -> Region:
        """Cells of the small map (of this size) that bilinear doubling reads for this region."""
        halved = Region(self.top // 2, -(-self.bottom // 2), self.left // 2, -(-self.right // 2))
        return halved.grown(1, size)

    def doubled(self) -> Region:
        """Where this region lies on the map of twice the size."""
        return Region(2 * self.top, 2 * self.bottom, 2 * self.left, 2 * self.right)

    def cut_from(self, maps: Tensor, covers: Region) -> Tensor:
        """This region of ``maps`` (B, C, h, w), which hold the region ``covers``; a view."""
        return maps[
            :,
            :,
            self.top - covers.top : self.bottom - covers.top,
            self.left - covers.left : self.right - covers.left,
        ]


def run_on_region(layers: Sequence[nn.Module], maps: Tensor, wanted: Region) -> Tensor:
    """``layers`` of ``maps``, of which only the region ``wanted`` is returned.

    Args:
        layers: 3x3 convolutions of padding 1, and ``nn.Upsample`` by 2 (bilinear, corners not
            aligned).
        maps: (B, C, H, W), the whole map.
        wanted: of the output.

    Returns:
        (B, K, wanted height, wanted width).
    """
    size = tuple(maps.shape[2:])
    sizes = []
    for layer in layers:
        sizes.append(size)
        size = tuple(2 * s for s in size) if isinstance(layer, nn.Upsample) else size
    needs = [wanted]
    for layer, size in zip(reversed(layers), reversed(sizes), strict=True):
        doubles = isinstance(layer, nn.Upsample)
        needs.append(needs[-1].before_doubling(size) if doubles else needs[-1].grown(1, size))
    needs.reverse()
    whole = Region(0, maps.shape[2], 0, maps.shape[3])
    maps = needs[0].cut_from(maps, whole)
    for layer, before, after in zip(layers, needs, needs[1:], strict=False):
        covers = before.doubled() if isinstance(layer, nn.Upsample) else before
        maps = after.cut_from(layer(maps), covers)
    return maps
