"""What detections say at the annotated points of the people of the same images.

Everything that belongs to several images is packed end to end. One image with D = 2 detections and
G = 2 people, person 0 with 3 points and person 1 with 2, P = 5:

    detection          0                        1                first_detection   0        2
    person             0            1           0            1   first_person      0        2
    point              0  1  2      3  4        0  1  2      3  4    first_point   0     3     5

    pair               0            1           2            3   first_pair        0           4
      .detection       0            0           1            1
      .person          0            1           0            1
    entry              0  1  2      3  4        5  6  7      8  9    first_entry  0  3  5  8  10
      .point           0  1  2      3  4        0  1  2      3  4

A *pair* is one detection with one person of its image (N of them), an *entry* is one point of a
pair (E of them). ``first_x`` says where the x of each owner start and has one more number than
there are owners, where the last one's end.

A *code* packs what a detection says at one pixel: part << 16 | u << 8 | v; part 0 is background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np

from densepose.errors import InputError
from densepose.structures.body_parts import METRIC_GRID, NUM_PARTS, UV_STEPS
from densepose.structures.prediction import ImagePrediction, check_prediction
from densepose.surface.evaluation_surface import EvaluationSurface

from .ground_truth import PackedPeople
from .metrics import (
    GLOBAL_KAPPA_M,
    PART_KAPPA_M,
    mean_per_segment,
    point_similarity,
    squares_as_published,
)
from .ragged import ranges, starts

Oracle = Literal["none", "iuv", "part", "part_without_uv", "without_uv"]
ORACLES: tuple[Oracle, ...] = ("none", "iuv", "part", "part_without_uv", "without_uv")

_PART_SHIFT, _U_SHIFT = 16, 8
_BYTE = (1 << 8) - 1
_UNKNOWN = -2


@dataclass(frozen=True)
class PackedDetections:
    """D detections of several images, image after image, scores descending in each."""

    image: np.ndarray  # (D,) int64 index of the image, ascending
    boxes_xywh_px: np.ndarray  # (D, 4) float64
    scores: np.ndarray  # (D,) float64
    labels: tuple[np.ndarray, ...]  # D label maps (h, w) uint8
    uv: tuple[np.ndarray, ...]  # D uv maps (2, h, w) uint8

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def map_sizes(self) -> np.ndarray:
        """(D, 2) int64: rows and columns of each map."""
        return np.array([label.shape for label in self.labels], np.int64).reshape(-1, 2)

    def keep(self, where: np.ndarray) -> PackedDetections:
        """Those selected by a mask (D,)."""
        return self if where.all() else self._take(np.flatnonzero(where))

    def best(self, count: int) -> PackedDetections:
        """The first ``count`` of each image."""
        first = np.searchsorted(self.image, self.image)
        return self.keep(np.arange(len(self)) - first < count)

    def _take(self, index: np.ndarray) -> PackedDetections:
        return PackedDetections(
            self.image[index],
            self.boxes_xywh_px[index],
            self.scores[index],
            tuple(self.labels[i] for i in index.tolist()),
            tuple(self.uv[i] for i in index.tolist()),
        )


def pack_detections(
    predictions: Sequence[ImagePrediction], image_sizes: Sequence[tuple[int, int]]
) -> PackedDetections:
    """Check predictions and sort them; equal scores keep their order.

    Args:
        predictions: of I images.
        image_sizes: I heights and widths in px, as the annotation file has them.

    Raises:
        InputError: another image size, or see ``check_prediction``.
    """
    for prediction, size in zip(predictions, image_sizes, strict=True):
        if tuple(prediction.image_size) != tuple(size):
            raise InputError(
                f"{prediction.name}: made for an image of {tuple(prediction.image_size)} px"
                f" (height, width), the annotation file says {tuple(size)}"
            )
        check_prediction(prediction)
    image = np.repeat(np.arange(len(predictions)), [len(p.scores) for p in predictions])
    none = np.zeros(0, np.float32)
    corners = [np.asarray(p.boxes_xyxy_px, np.float32).reshape(-1, 4) for p in predictions]
    corners = np.concatenate([*corners, none.reshape(0, 4)])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    unsorted = PackedDetections(
        image,
        boxes.astype(np.float64),
        np.concatenate([*(p.scores for p in predictions), none]).astype(np.float64),
        tuple(chain.from_iterable(p.labels for p in predictions)),
        tuple(chain.from_iterable(p.uv for p in predictions)),
    )
    return unsorted._take(np.lexsort((-unsorted.scores, image)))


class PackedMaps(NamedTuple):
    """The maps of D detections, row by row, one detection after another."""

    labels: np.ndarray  # (L,) uint8
    uv: np.ndarray  # (2 L,) uint8: of each detection all U, then all V
    first: np.ndarray  # (D + 1,) where each map starts in labels; that of U starts at twice that
    sizes: np.ndarray  # (D, 2) rows and columns


@dataclass(frozen=True)
class ImagePairs:
    """People and detections of the same I images."""

    people: PackedPeople
    detections: PackedDetections

    def __len__(self) -> int:
        return int(self.first_pair[-1])

    @cached_property
    def first_detection(self) -> np.ndarray:
        """(I + 1,) where the detections of each image start."""
        return np.searchsorted(self.detections.image, np.arange(len(self.people.image_ids) + 1))

    @cached_property
    def first_pair(self) -> np.ndarray:
        """(I + 1,) where the pairs of each image start."""
        return starts(np.diff(self.first_detection) * np.diff(self.people.first_person))

    @cached_property
    def detection(self) -> np.ndarray:
        """(N,) detection of each pair."""
        people = np.diff(self.people.first_person)[self.detections.image]
        return np.repeat(np.arange(len(self.detections)), people)

    @cached_property
    def person(self) -> np.ndarray:
        """(N,) person of each pair."""
        first, last = self.people.first_person[:-1], self.people.first_person[1:]
        image = self.detections.image
        return ranges(first[image], (last - first)[image])

    @cached_property
    def num_points(self) -> np.ndarray:
        """(N,) points of each pair."""
        return self.people.num_points[self.person]

    @cached_property
    def first_entry(self) -> np.ndarray:
        """(N + 1,) where the entries of each pair start."""
        return starts(self.num_points)

    @cached_property
    def point(self) -> np.ndarray:
        """(E,) annotated point of each entry."""
        return ranges(self.people.first_point[self.person], self.num_points)

    @cached_property
    def maps(self) -> PackedMaps:
        """The maps of all detections."""
        nothing = np.zeros(0, np.uint8)
        sizes = self.detections.map_sizes
        return PackedMaps(
            np.concatenate([nothing, *(label.ravel() for label in self.detections.labels)]),
            np.concatenate([nothing, *(uv.ravel() for uv in self.detections.uv)]),
            starts(sizes.prod(axis=1)),
            sizes,
        )


@dataclass(frozen=True)
class PairScores:
    """What detections say about people."""

    distance_m: np.ndarray  # (E,) error of each point; inf outside the box and on background
    similarity: np.ndarray  # (E,) with the kappa of the annotated part
    predicted_part: np.ndarray  # (E,) 0 outside the box and on background
    gps: np.ndarray  # (N,) with the kappa of the annotated part
    gps_paper: np.ndarray  # (N,) with one kappa
    part_accuracy: np.ndarray  # (N,) fraction of the points on the right part; 0 without points


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
    people, detections, maps = pairs.people, pairs.detections, pairs.maps
    points_px = annotated_points_px(people.points_grid, people.boxes_xywh_px[people.owner])
    detection = np.repeat(pairs.detection, pairs.num_points)
    boxes_xywh_px = detections.boxes_xywh_px[detection]
    place = (points_px[pairs.point] - boxes_xywh_px[:, :2]).astype(np.int64)
    inside = ((place >= 0) & (place < boxes_xywh_px[:, 2:].astype(np.int64))).all(axis=1)
    (column, row), detection = place[inside].T, detection[inside]
    rows, columns = maps.sizes[detection].T
    first, pixel = maps.first[detection], row * columns + column
    of_u = 2 * first + pixel
    codes = np.zeros(len(inside), np.int32)
    codes[inside] = maps.labels[first + pixel].astype(np.int32) << _PART_SHIFT
    codes[inside] |= maps.uv[of_u].astype(np.int32) << _U_SHIFT
    codes[inside] |= maps.uv[of_u + rows * columns]
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

    def __init__(self, surface: EvaluationSurface) -> None:
        self._surface = surface
        self._vertex = np.full((NUM_PARTS + 1) << _PART_SHIFT, _UNKNOWN, np.int32)
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
