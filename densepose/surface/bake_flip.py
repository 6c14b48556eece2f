"""Better triangles over the same vertices: edges are turned where the surface is almost flat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bake_simplify import feature_edges, measure_triangles

# Cosine between the normals of two triangles that count as one flat patch.
FLAT = 0.9
# The worse of the two triangles must gain this factor.
GAIN = 1.05
PASSES = 8


def flip_edges(
    points: NDArray[np.float64], faces: NDArray[np.int64], part: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """(f, 3) triangles over the same vertices, parts and borders, with fewer thin ones."""
    lines, rim = feature_edges(faces, part)
    fixed = {tuple(pair) for pair in lines.tolist()}
    on_rim = set(rim.ravel().tolist())
    faces = faces.copy()
    for _ in range(PASSES):
        opposite = _opposite_corners(faces)
        known, touched = set(opposite), set()
        for edge, sides in sorted(opposite.items()):
            if edge in fixed or len(sides) != 2:
                continue
            (f, c), (g, d) = sides
            if f in touched or g in touched or (min(c, d), max(c, d)) in known:
                continue
            if (c in on_rim and d in on_rim) or not _gains(points, faces[[f, g]], c, d):
                continue
            faces[f], faces[g] = _turned_pair(faces[f], c, d)
            # The neighbours' corners are stale until the next pass.
            touched |= {f, g}
            known.add((min(c, d), max(c, d)))
        if not touched:
            break
    return faces


def _opposite_corners(
    faces: NDArray[np.int64],
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Undirected edge -> the triangles at it and their third corners."""
    opposite: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for f, (a, b, c) in enumerate(faces.tolist()):
        for p, q, third in ((a, b, c), (b, c, a), (c, a, b)):
            opposite.setdefault((min(p, q), max(p, q)), []).append((f, third))
    return opposite


def _turned_pair(face: NDArray[np.int64], c: int, d: int) -> tuple[list[int], list[int]]:
    """Both triangles over edge c-d; ``face``, the old one with corner c, gives the orientation."""
    start = face.tolist().index(c)
    first, second = face[(start + 1) % 3], face[(start + 2) % 3]
    return [c, first, d], [c, d, second]


def _gains(points: NDArray[np.float64], pair: NDArray[np.int64], c: int, d: int) -> bool:
    new = np.array(_turned_pair(pair[0], c, d))
    normal, quality, _ = measure_triangles(points[np.concatenate([pair, new])])
    flat = (normal @ normal.T).min() > FLAT
    return bool(flat and quality[2:].min() > GAIN * quality[:2].min())
