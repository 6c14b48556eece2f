"""Socks and shoes, and what is worn on hands and wrists.

Lengths in metres on the resting mean body, heights in units of ``BodyPoints.leg`` (2: ankle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import BodyPoints
from .materials import Paint, contrasting, random_color, to_linear

SHOES = ("sneakers", "boots", "leather", "sandals", "barefoot")


@dataclass(frozen=True)
class Footwear:
    """Shoes, socks, and small things on the hands."""

    kind: str
    color: np.ndarray
    sole: np.ndarray
    laces: np.ndarray
    shaft: float  # leg units up to which the shoe reaches
    sock: np.ndarray
    sock_top: float  # leg units
    watch: np.ndarray | None  # on the left wrist
    gloves: np.ndarray | None
    nails: np.ndarray | None


def sample_footwear(rng: np.random.Generator, sex: float) -> Footwear:
    """Random shoes, a watch now and then, rarely gloves."""
    kind = SHOES[rng.choice(len(SHOES), p=[0.48, 0.13, 0.19, 0.09, 0.11])]
    color = random_color(rng, dull=0.6) * (0.4 if kind in ("boots", "leather") else 1.0)
    return Footwear(
        kind=kind,
        color=color,
        sole=to_linear(np.full(3, rng.choice([0.93, 0.12, rng.uniform(0.3, 0.8)]))),
        laces=contrasting(rng, color),
        shaft=float(rng.uniform(1.65, 1.9)) if kind == "boots" else 1.98,
        sock=random_color(rng, dull=0.8),
        sock_top=float(rng.choice([1.95, rng.uniform(1.3, 1.95)])),
        watch=random_color(rng, dull=0.8) * 0.5 if rng.random() < 0.3 else None,
        gloves=random_color(rng) if rng.random() < 0.05 else None,
        nails=to_linear(np.array([0.7, 0.1, 0.2])) if rng.random() < 0.3 - 0.3 * sex else None,
    )


def shoe_region(shoes: Footwear, points: BodyPoints) -> np.ndarray:
    """(P,) bool: covered by shoes."""
    if shoes.kind in ("barefoot", "sandals"):
        return np.zeros(len(points.x), bool)
    return points.on("foot") | (points.on("leg") & (points.leg > shoes.shaft))


def paint_footwear(paint: Paint, shoes: Footwear, points: BodyPoints) -> None:
    """Socks and shoes with soles, laces and heels; watch, gloves, nails."""
    toes_z = points.landmark["l_toes"][2]
    foot, y, z = points.on("foot"), points.y, points.z
    if shoes.kind == "barefoot":
        if shoes.nails is not None:
            paint.put(foot & (z > toes_z + 0.05) & (y > 0.015), shoes.nails, gloss=0.6)
    elif shoes.kind == "sandals":
        ankle_z = points.landmark["l_ankle"][2]
        paint.put(foot & (y < 0.012), shoes.sole)
        strap = (np.abs(z - toes_z - 0.01) < 0.014) | (np.abs(z - ankle_z - 0.045) < 0.012)
        paint.put(foot & strap & (y > 0.012), shoes.color)
    else:
        _paint_shoes(paint, shoes, points, foot)
    hand, arm = points.on("hand"), points.on("arm")
    if shoes.gloves is not None:
        paint.put(hand | (arm & (points.arm > 1.9)), shoes.gloves, fold=0.1)
    elif shoes.nails is not None:
        paint.put(hand & (points.arm > 2.62), shoes.nails, gloss=0.5)
    if shoes.watch is not None:
        wrist = (arm | hand) & (np.abs(points.arm - 1.9) < 0.05) & (points.x > 0)
        paint.put(wrist, shoes.watch, gloss=0.6)
        paint.put(wrist & points.on("back"), to_linear(np.full(3, 0.8)), gloss=0.9)


def _paint_shoes(paint: Paint, shoes: Footwear, points: BodyPoints, foot: np.ndarray) -> None:
    """Closed shoes over socks."""
    toes, ankle_z = points.landmark["l_toes"], points.landmark["l_ankle"][2]
    y, z = points.y, points.z
    from_middle = np.abs(np.abs(points.x) - toes[0] + 0.12 * (toes[2] - z))
    sock = (points.on("leg") | foot) & (points.leg > shoes.sock_top)
    paint.put(sock, shoes.sock, fold=0.1)
    shiny = {"leather": 0.7, "boots": 0.4}.get(shoes.kind, 0.1)
    paint.put(shoe_region(shoes, points), shoes.color, gloss=shiny, fold=0.05)
    if shoes.kind != "leather":
        instep = foot & (z > ankle_z + 0.035) & (z < toes[2] + 0.005) & (y > 0.035)
        paint.put(instep & (from_middle < 0.026) & (np.mod(z, 0.022) < 0.011), shoes.laces)
    paint.shade(foot & (z > toes[2] + 0.035) & (y > 0.02), 0.8)
    if shoes.kind == "sneakers":
        paint.put(foot & (z < ankle_z - 0.025) & (y > 0.03), shoes.laces)
        paint.put(foot & (np.abs(z - ankle_z - 0.05) < 0.008) & (from_middle > 0.028), shoes.laces)
    paint.put(foot & (y < 0.022), shoes.sole, gloss=0.05)
