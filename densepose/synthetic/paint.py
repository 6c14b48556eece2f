"""The layer that clothes, faces and hair are painted on, point by point."""

from __future__ import annotations

import numpy as np


class Paint:
    """Material of P points of the body; garments are put on one over the other.

    color (P, 3) linear RGB; gloss (P,) 0 dull to 1 polished; fold (P,) how much cloth wrinkles
    disturb the normal.
    """

    def __init__(self, count: int) -> None:
        self.color = np.zeros((count, 3), np.float32)
        self.gloss = np.zeros(count, np.float32)
        self.fold = np.zeros(count, np.float32)

    def part(self, index: np.ndarray) -> Paint:
        """A copy of the layer at the points ``index`` (K,); ``merge`` puts it back."""
        layer = Paint(0)
        layer.color, layer.gloss, layer.fold = (
            self.color[index],
            self.gloss[index],
            self.fold[index],
        )
        return layer

    def merge(self, index: np.ndarray, layer: Paint) -> None:
        """Replace the points ``index`` (K,) by those of ``layer``."""
        self.color[index], self.gloss[index], self.fold[index] = (
            layer.color,
            layer.gloss,
            layer.fold,
        )

    def put(
        self,
        where: np.ndarray,
        color: np.ndarray,
        *,
        gloss: float | None = None,
        fold: float | None = None,
    ) -> None:
        """Cover the points ``where`` (P,) bool with ``color``, (3,) or (K, 3)."""
        self.color[where] = color
        if gloss is not None:
            self.gloss[where] = gloss
        if fold is not None:
            self.fold[where] = fold

    def tint(self, weight: np.ndarray, color: np.ndarray) -> None:
        """Mix ``color`` (3,) in with ``weight`` (P,) in [0, 1]."""
        self.color += weight[:, None].astype(np.float32) * (color.astype(np.float32) - self.color)

    def shade(self, where: np.ndarray, factor: float) -> None:
        """Darken or lighten the points ``where`` (P,) bool."""
        self.color[where] *= np.float32(factor)


def ridge(value: np.ndarray, centre: float, half_width: float) -> np.ndarray:
    """1 at ``centre`` falling smoothly to 0 at ``half_width`` from it."""
    return np.clip(1 - np.abs(value - centre) / half_width, 0, 1)


def ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radius: tuple[float, float]
) -> np.ndarray:
    """Squared distance from the centre, 1 on the rim of the ellipse."""
    return ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2
