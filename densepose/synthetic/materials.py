"""Colours, patterns and layers of paint, evaluated at points of a surface.

Colours are linear RGB in [0, 1], float32; points are metres on the resting object, so a pattern
sticks to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .noise import fractal_noise

KINDS = ("plain", "mottled", "stripes", "checks", "dots", "camouflage", "melange")
# Only for floors.
FLOOR_KINDS = ("planks",)


@dataclass(frozen=True)
class Pattern:
    """A pattern of up to three colours."""

    kind: str  # one of KINDS or FLOOR_KINDS
    colors: np.ndarray  # (3, 3) linear RGB
    period_m: float
    axes: np.ndarray  # (3, 3) rotation; stripes run across the first row
    contrast: float  # of the fine irregularity, 0..0.3

    def paint(self, points: np.ndarray) -> np.ndarray:
        """(P, 3) metres -> (P, 3) colour."""
        local = points @ self.axes.T.astype(np.float32) / np.float32(self.period_m)
        fraction = _SHARES[self.kind](local)
        color = self.colors[0] + fraction[:, None] * (self.colors[1] - self.colors[0])
        if self.kind == "camouflage":
            color = np.where((fractal_noise(local + 3.7) > 0.6)[:, None], self.colors[2], color)
        if self.contrast > 0:
            color = color * (1 + self.contrast * fractal_noise(points * 14.0))[:, None]
        return np.clip(color, 0, 1).astype(np.float32)


def _plain(local: np.ndarray) -> np.ndarray:
    return np.zeros(len(local), np.float32)


def _mottled(local: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 0.3 * fractal_noise(local, 3), 0, 1)


def _stripes(local: np.ndarray) -> np.ndarray:
    return (np.mod(local[:, 0], 1.0) < 0.45).astype(np.float32)


def _checks(local: np.ndarray) -> np.ndarray:
    across = np.mod(local[:, 0], 1.0) < 0.5
    along = np.mod(local[:, 1], 1.0) < 0.5
    return 0.5 * across + 0.5 * along


def _dots(local: np.ndarray) -> np.ndarray:
    offset = np.mod(local[:, :2], 1.0) - 0.5
    return ((offset**2).sum(axis=1) < 0.07).astype(np.float32)


def _planks(local: np.ndarray) -> np.ndarray:
    board = np.floor(local[:, 0])
    shift = np.mod(board * 0.618, 1.0)
    end = np.floor(local[:, 1] / 6 + shift * 6)
    tone = np.mod(np.sin(board * 12.99 + end * 78.2) * 437.6, 1.0)
    gap = (np.mod(local[:, 0], 1.0) < 0.05) | (np.mod(local[:, 1] / 6 + shift * 6, 1.0) < 0.01)
    grain = fractal_noise(local * np.array([9.0, 0.5, 1.0], np.float32))
    return np.clip(0.5 * tone + 0.12 * grain + 1.2 * gap, 0, 1.5)


def _camouflage(local: np.ndarray) -> np.ndarray:
    return (fractal_noise(local) > 0).astype(np.float32)


def _melange(local: np.ndarray) -> np.ndarray:
    return np.clip(0.35 + 0.3 * fractal_noise(local * np.float32(8.0), 2), 0, 1)


_SHARES = {
    "plain": _plain,
    "mottled": _mottled,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "camouflage": _camouflage,
    "melange": _melange,
    "planks": _planks,
}


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Display RGB in [0, 1] -> linear RGB, any shape (gamma 2.2)."""
    return np.power(np.clip(srgb, 0, 1), 2.2).astype(np.float32)


def random_color(rng: np.random.Generator, *, dull: float = 0.5) -> np.ndarray:
    """(3,) linear RGB: greyish with probability ``dull``, else any hue."""
    value, hue = rng.uniform(0.12, 0.98), rng.uniform(0, 6)
    saturation = rng.beta(1.1, 7) if rng.random() < dull else 0.15 + 0.8 * rng.beta(1.6, 2.2)
    wheel = np.clip(np.abs(np.mod(hue + np.array([0.0, 4.0, 2.0]), 6) - 3) - 1, 0, 1)
    return to_linear(value * (1 - saturation + saturation * wheel))


def near_color(rng: np.random.Generator, display: np.ndarray, spread: float = 0.12) -> np.ndarray:
    """(3,) linear RGB: a random shade of a display colour (3,)."""
    shade = display * np.exp(rng.normal(0, 2 * spread)) + rng.normal(0, spread / 2, 3)
    return to_linear(shade)


def contrasting(rng: np.random.Generator, color: np.ndarray, least: float = 0.25) -> np.ndarray:
    """A random colour at least ``least`` off ``color`` in a display channel, if one is found."""
    candidates = np.stack([random_color(rng) for _ in range(4)])
    apart = np.abs(np.power(candidates, 1 / 2.2) - np.power(color, 1 / 2.2)).max(axis=1)
    far_enough = np.flatnonzero(apart > least)
    return candidates[far_enough[0] if len(far_enough) else int(apart.argmax())]


def random_pattern(
    rng: np.random.Generator,
    kinds: tuple[str, ...] = KINDS,
    *,
    period_m: tuple[float, float] = (0.03, 0.3),
    base: np.ndarray | None = None,
    contrast: float = 1.0,
) -> Pattern:
    """A pattern with random size and direction.

    Args:
        rng: draws everything.
        kinds: to choose from; a kind may be named several times.
        period_m: smallest and largest repeat, metres.
        base: (3,) linear RGB of the ground, None is random.
        contrast: 1 takes the other colours as drawn, less draws them towards the ground colour.
    """
    first = random_color(rng) if base is None else base
    others = np.stack([contrasting(rng, first), random_color(rng)])
    colors = np.concatenate([first[None], first + contrast * (others - first)])
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    kind = kinds[rng.integers(len(kinds))]
    period = float(np.exp(rng.uniform(*np.log(period_m))))
    return Pattern(kind, colors, period, axes, float(rng.choice([0.0, 0.04, 0.1])))


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
        layer.color, layer.gloss, layer.fold = (a[index] for a in vars(self).values())
        return layer

    def merge(self, index: np.ndarray, layer: Paint) -> None:
        """Replace the points ``index`` (K,) by those of ``layer``."""
        for mine, new in zip(vars(self).values(), vars(layer).values(), strict=True):
            mine[index] = new

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


def ellipse(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radius: tuple[float, float]
) -> np.ndarray:
    """Squared distance from the centre, 1 on the rim of the ellipse."""
    return ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2
