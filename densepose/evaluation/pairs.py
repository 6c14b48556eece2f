"""Geodesic errors and similarities of all (detection, person) pairs of some images.

Shapes: D detections and G people of one image, P annotated points of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from densepose.surface.evaluation_surface import EvaluationSurface

from .annotated_points import (
    VertexOfCode,
    annotated_points_px,
    part_of,
    pixels_in_boxes,
    read_codes,
    replaced_part,
    surface_distances,
    without_uv,
)
from .detections import ImageDetections
from .gps import (
    GLOBAL_KAPPA_M,
    PART_KAPPA_M,
    mean_per_segment,
    point_similarity,
    squares_as_published,
)
from .ground_truth import ImageTruth

Oracle = Literal["none", "iuv", "part", "part_without_uv", "without_uv"]
ORACLES: tuple[Oracle, ...] = ("none", "iuv", "part", "part_without_uv", "without_uv")


@dataclass(frozen=True)
class PairScores:
    """What D detections say about the people of one image."""

    distance_m: np.ndarray  # (D, P) error of each point; inf outside the box and on background
    similarity: np.ndarray  # (D, P) with the kappa of the annotated part
    predicted_part: np.ndarray  # (D, P) 0 outside the box and on background
    gps: np.ndarray  # (D, G) with the kappa of the annotated part
    gps_paper: np.ndarray  # (D, G) with one kappa
    part_accuracy: (
        np.ndarray
    )  # (D, G) share of a person's points on the right part; 0 without points


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

    def __call__(
        self, truths: Sequence[ImageTruth], detections: Sequence[ImageDetections]
    ) -> list[PairScores]:
        """Scores of each image; the surface is asked once for all of them."""
        codes = [self._codes(truth, found) for truth, found in zip(truths, detections, strict=True)]
        part = np.concatenate([truth.part for truth in truths])
        uv = np.concatenate([truth.uv for truth in truths])
        true_vertex = self._surface.nearest_vertex(part, uv)
        ends = np.cumsum([len(truth.part) for truth in truths])[:-1]
        wanted = [
            np.broadcast_to(of_image, code.shape).ravel()
            for of_image, code in zip(np.split(true_vertex, ends), codes, strict=True)
        ]
        flat_code, flat_wanted = np.concatenate([c.ravel() for c in codes]), np.concatenate(wanted)
        if self._oracle == "iuv":
            predicted = np.where(flat_code > 0, flat_wanted, -1)
        else:
            predicted = self._vertex_of(flat_code)
        distance, looked_up = surface_distances(self._surface, flat_wanted, predicted)
        ends = np.cumsum([code.size for code in codes])[:-1]
        return [
            self._scores(truth, code, of_image, from_table)
            for truth, code, of_image, from_table in zip(
                truths, codes, np.split(distance, ends), np.split(looked_up, ends), strict=True
            )
        ]

    def _codes(self, truth: ImageTruth, detections: ImageDetections) -> np.ndarray:
        """(D, P) predicted codes at the annotated points."""
        points_px = annotated_points_px(truth.points_grid, truth.boxes_xywh_px[truth.owner])
        row, column, inside = pixels_in_boxes(points_px, detections.boxes_xywh_px)
        codes = read_codes(detections.labels, detections.uv, row, column, inside)
        if self._oracle in ("iuv", "part", "part_without_uv"):
            codes = replaced_part(codes, truth.part, inside)
        return without_uv(codes) if self._oracle.endswith("without_uv") else codes

    def _scores(
        self, truth: ImageTruth, codes: np.ndarray, distance_m: np.ndarray, looked_up: np.ndarray
    ) -> PairScores:
        count, people = len(codes), len(truth)
        num_points = np.tile(truth.num_points, count)
        if self._as_published:
            squared = squares_as_published(distance_m, looked_up, num_points)
        else:
            squared = np.square(distance_m)
        predicted_part = part_of(codes)
        similarity = point_similarity(squared, np.tile(PART_KAPPA_M[truth.part], count))

        def of_people(values: np.ndarray) -> np.ndarray:
            return mean_per_segment(values.ravel(), num_points).reshape(count, people)

        return PairScores(
            distance_m=distance_m.reshape(codes.shape),
            similarity=similarity.reshape(codes.shape),
            predicted_part=predicted_part,
            gps=of_people(similarity),
            gps_paper=of_people(point_similarity(squared, GLOBAL_KAPPA_M)),
            part_accuracy=of_people((predicted_part == truth.part).astype(np.float64)),
        )
