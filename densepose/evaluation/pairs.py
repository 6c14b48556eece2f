"""Geodesic errors and similarities of all (detection, person) pairs of some images.

Shapes: N pairs, E points of all pairs, see ``image_pairs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from densepose.surface.evaluation_surface import EvaluationSurface

from .annotated_points import (
    VertexOfCode,
    part_of,
    read_codes,
    replaced_part,
    surface_distances,
    without_uv,
)
from .gps import (
    GLOBAL_KAPPA_M,
    PART_KAPPA_M,
    mean_per_segment,
    point_similarity,
    squares_as_published,
)
from .image_pairs import ImagePairs

Oracle = Literal["none", "iuv", "part", "part_without_uv", "without_uv"]
ORACLES: tuple[Oracle, ...] = ("none", "iuv", "part", "part_without_uv", "without_uv")


@dataclass(frozen=True)
class PairScores:
    """What detections say about people."""

    distance_m: np.ndarray  # (E,) error of each point; inf outside the box and on background
    similarity: np.ndarray  # (E,) with the kappa of the annotated part
    predicted_part: np.ndarray  # (E,) 0 outside the box and on background
    gps: np.ndarray  # (N,) with the kappa of the annotated part
    gps_paper: np.ndarray  # (N,) with one kappa
    part_accuracy: np.ndarray  # (N,) share of the points on the right part; 0 without points


class PointScorer:
    """Compares predictions with annotated points on a surface."""

    def __init__(
        self, surface: EvaluationSurface, *, oracle: Oracle = "none", as_published: bool = True
    ) -> None:
        """Prepare the look-up of vertices.

        Args:
            surface: the surface the annotations lie on.
            oracle: what to take from the truth inside a detection's box: "iuv" everything, "part"
                the part, "part_without_uv" the part with U = V = 0; "without_uv" the predicted part
                with U = V = 0. They bound what better parts or coordinates could gain.
            as_published: round as detectron2's evaluator does, see ``squares_as_published``.
        """
        self._surface = surface
        self._oracle = oracle
        self._as_published = as_published
        self._vertex_of = VertexOfCode(surface)

    def __call__(self, pairs: ImagePairs) -> PairScores:
        """Scores of some images; the surface is asked once for all of them."""
        codes, inside = read_codes(pairs)
        part = pairs.people.part[pairs.point]
        if self._oracle in ("iuv", "part", "part_without_uv"):
            codes = replaced_part(codes, part, inside)
        if self._oracle.endswith("without_uv"):
            codes = without_uv(codes)
        true_vertex = self._surface.nearest_vertex(pairs.people.part, pairs.people.uv)[pairs.point]
        if self._oracle == "iuv":
            predicted = np.where(codes > 0, true_vertex, -1)
        else:
            predicted = self._vertex_of(codes)
        distance_m, looked_up = surface_distances(self._surface, true_vertex, predicted)
        if self._as_published:
            squared = squares_as_published(distance_m, looked_up, pairs.num_points)
        else:
            squared = np.square(distance_m)
        similarity = point_similarity(squared, PART_KAPPA_M[part])
        predicted_part = part_of(codes)
        right_part = (predicted_part == part).astype(np.float64)
        return PairScores(
            distance_m=distance_m,
            similarity=similarity,
            predicted_part=predicted_part,
            gps=mean_per_segment(similarity, pairs.num_points),
            gps_paper=mean_per_segment(point_similarity(squared, GLOBAL_KAPPA_M), pairs.num_points),
            part_accuracy=mean_per_segment(right_part, pairs.num_points),
        )
