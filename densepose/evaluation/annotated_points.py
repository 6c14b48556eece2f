"""What a detection says at the annotated points of the people it might show.

Shapes: E points of all (detection, person) pairs, see ``image_pairs``; P any number of values.
A code packs (part, u, v) of one pixel into an integer; 0 in its part bits is background.
"""

from __future__ import annotations

import numpy as np

from densepose.structures.body_parts import METRIC_GRID, UV_STEPS
from densepose.surface.evaluation_surface import EvaluationSurface

from . import point_kernels
from .image_pairs import ImagePairs

_PART_SHIFT = 16
_U_SHIFT = 8
_BYTE = (1 << 8) - 1
_UNKNOWN = -2


def annotated_points_px(points_grid: np.ndarray, boxes_xywh_px: np.ndarray) -> np.ndarray:
    """(P, 2) grid positions and (P, 4) boxes of their owners -> (P, 2) image positions in pixels.

    On the metric's grid (255 steps), in the order of operations of the released evaluators.
    """
    return points_grid * boxes_xywh_px[:, 2:] / METRIC_GRID + boxes_xywh_px[:, :2]


def read_codes(pairs: ImagePairs) -> tuple[np.ndarray, np.ndarray]:
    """What each pair's detection says at each annotated point of its person.

    The pixel is the point's offset to the box, truncated towards zero, so a point up to one pixel
    left of or above the box still counts as inside; the released numbers have it so.

    Returns:
        codes (E,) int32, 0 outside the box; inside (E,) bool.
    """
    people, detections = pairs.people, pairs.detections
    points_px = annotated_points_px(people.points_grid, people.boxes_xywh_px[people.owner])
    codes = np.zeros(pairs.first_entry[-1], np.int32)
    inside = np.zeros(len(codes), bool)
    point_kernels.read_codes(
        pairs.detection,
        pairs.person,
        pairs.first_entry,
        pairs.first_point,
        points_px,
        detections.boxes_xywh_px,
        pairs.labels,
        pairs.uv,
        pairs.first_label,
        detections.map_sizes,
        codes,
        inside,
    )
    return codes, inside


def part_of(codes: np.ndarray) -> np.ndarray:
    """Part number of each code, any shape; 0 is background."""
    return codes >> _PART_SHIFT


def uv_of(codes: np.ndarray) -> np.ndarray:
    """(P,) codes -> (P, 2) uv in [0, 1]."""
    steps = np.stack([(codes >> _U_SHIFT) & _BYTE, codes & _BYTE], axis=-1)
    return steps / UV_STEPS


def replaced_part(codes: np.ndarray, part: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(E,) codes with the part (E,) of the truth inside the box, background outside."""
    uv_bits = codes & ((1 << _PART_SHIFT) - 1)
    return np.where(inside, (part.astype(np.int32) << _PART_SHIFT) | uv_bits, 0)


def without_uv(codes: np.ndarray) -> np.ndarray:
    """Codes with U = V = 0, any shape."""
    return part_of(codes) << _PART_SHIFT


class VertexOfCode:
    """Template vertex of quantised (part, u, v), asked from the surface once per distinct code."""

    def __init__(self, surface: EvaluationSurface, num_parts: int = 24) -> None:
        self._surface = surface
        self._vertex = np.full((num_parts + 1) << _PART_SHIFT, _UNKNOWN, np.int32)
        self._vertex[: 1 << _PART_SHIFT] = -1

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """(P,) codes -> (P,) vertices, int64; -1 for background."""
        missing = np.unique(codes[self._vertex[codes] == _UNKNOWN])
        if len(missing):
            self._vertex[missing] = self._surface.nearest_vertex(part_of(missing), uv_of(missing))
        return self._vertex[codes].astype(np.int64)


def surface_distances(
    surface: EvaluationSurface, vertex: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances between (P,) pairs of vertices, ``inf`` where one of them is -1.

    Returns:
        distance_m (P,) float64, and (P,) bool: the distance was looked up (both vertices exist and
        differ).
    """
    distance = np.full(len(vertex), np.inf)
    exists = (vertex >= 0) & (other >= 0)
    looked_up = exists & (vertex != other)
    distance[exists & ~looked_up] = 0.0
    distance[looked_up] = surface.distance_m(vertex[looked_up], other[looked_up])
    return distance, looked_up
