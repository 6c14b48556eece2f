"""Generated surfaces, annotations and predictions in the evaluators' form, with known difficulty.

For measuring evaluators and comparing them with one another; nothing is rendered. A person is an
ellipse in its box, cut into 4 x 6 cells of one part each; U and V run along the sides of a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from scipy.spatial.distance import cdist

from densepose.structures.body_parts import ANNOTATION_GRID, NUM_PARTS, NUM_REGIONS, UV_STEPS
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface
from densepose.surface.geodesics import GeodesicDistances, packed_size
from densepose.surface.official.surface import OfficialCharts

Kind = Literal["easy", "noisy", "adversarial"]
IMAGE_SIZE = (360, 480)  # height, width in px
_GRID = int(ANNOTATION_GRID)
_COLUMNS, _ROWS = 4, 6
# Ranges of: box shift and size in shares of the box, UV error, share of pixels without label,
# share of cells with a wrong part, share of people that are not found.
_ERRORS = {
    "easy": (0.01, 0.02, 0.02, 0.02, 0.0),
    "noisy": (0.04, 0.08, 0.15, 0.10, 0.15),
    "adversarial": (0.03, 0.05, 0.05, 0.05, 0.05),
}


@dataclass(frozen=True)
class GeneratedSet:
    """An annotation file and predictions for its images."""

    ground_truth: dict[str, Any]
    predictions: tuple[ImagePrediction, ...]


def generated_surface(seed: int = 0, vertices_per_part: int = 60) -> EvaluationSurface:
    """A stand-in for the official surface: patches in space, straight-line distances.

    Neighbouring parts share some mesh vertices, as along the seams of a real atlas.
    """
    rng = np.random.default_rng(seed)
    count = NUM_PARTS * vertices_per_part
    part = np.repeat(np.arange(1, NUM_PARTS + 1), vertices_per_part)
    uv = rng.uniform(0, 1, (count, 2)).round(4)
    centre = rng.uniform((-0.5, 0, -0.15), (0.5, 1.7, 0.15), (NUM_PARTS + 1, 3))
    sides = rng.normal(0, 0.15, (NUM_PARTS + 1, 2, 3))
    points = centre[part] + np.einsum("pi,pij->pj", uv - 0.5, sides[part])
    own = np.arange(count)
    shares = (rng.uniform(size=count) < 0.1) & (own >= vertices_per_part)
    own[shares] -= vertices_per_part
    kept, mesh_vertex = np.unique(own, return_inverse=True)
    place = points[kept]
    rows = np.empty(packed_size(len(kept)), np.float32)
    for start in range(0, len(kept), 512):
        stop = min(start + 512, len(kept))
        below = np.arange(stop)[None] < np.arange(start, stop)[:, None]
        block = cdist(place[start:stop], place[:stop])[below]
        rows[packed_size(start) : packed_size(stop)] = block
    charts = OfficialCharts(uv, part, mesh_vertex.astype(np.int64))
    return EvaluationSurface("generated", charts, GeodesicDistances(rows, len(kept)))


def generated_set(
    kind: Kind,
    seed: int = 0,
    num_images: int = 40,
    points_per_person: int = 100,
    *,
    most_people: int = 3,
    detections_per_person: int = 1,
) -> GeneratedSet:
    """Annotations and predictions of one kind; every image has 1 to ``most_people`` people.

    "easy" is nearly right everywhere; "noisy" has wrong boxes, parts and coordinates, holes and
    people that are missed; "adversarial" adds people without points, with empty lists of points or
    masks, crowds, boxes across the border, regions to ignore, repeated annotation ids and id 0,
    detections that are repeated, empty, tiny, of equal score or on nobody, and more than 20 of them
    in an image.
    """
    rng = np.random.default_rng([seed, len(kind)])
    images, annotations, predictions = [], [], []
    for image_id in range(1, num_images + 1):
        image: dict[str, Any] = {"id": image_id, "file_name": f"{image_id:012d}.jpg"}
        image |= {"height": IMAGE_SIZE[0], "width": IMAGE_SIZE[1]}
        people = [
            _person(rng, image_id, len(annotations) + index + 1, points_per_person)
            for index in range(int(rng.integers(1, most_people + 1)))
        ]
        detections = [
            _detection(rng, kind, person["bbox"])
            for person in people
            for _ in range(detections_per_person)
        ]
        detections = [d for d in detections if rng.uniform() >= _ERRORS[kind][4]]
        if kind == "adversarial":
            _spoil_image(rng, image)
            people = _spoiled_people(rng, people)
            detections = _spoiled_detections(rng, detections)
        images.append(image)
        annotations += people
        predictions.append(_prediction(image_id, detections))
    if kind == "adversarial":
        _spoil_ids(annotations)
    category = {"id": 1, "name": "person", "supercategory": "person"}
    truth = {"images": images, "annotations": annotations, "categories": [category]}
    return GeneratedSet(truth, tuple(predictions))


def _body(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., 2) positions in [0, 1] of a person's box -> part (...) 0..24 and uv (..., 2)."""
    cell = position * (_COLUMNS, _ROWS)
    whole = np.clip(np.floor(cell), 0, (_COLUMNS - 1, _ROWS - 1)).astype(int)
    inside = np.square(position - 0.5).sum(axis=-1) < 0.25
    inside &= ((position >= 0) & (position < 1)).all(axis=-1)
    part = np.where(inside, 1 + whole[..., 1] * _COLUMNS + whole[..., 0], 0)
    return part, np.clip(cell - whole, 0, 1)


def _person(
    rng: np.random.Generator, image_id: int, annotation_id: int, num_points: int
) -> dict[str, Any]:
    height, width = IMAGE_SIZE
    w, h = rng.uniform(25, 220), rng.uniform(40, 300)
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    grid = (np.stack(np.meshgrid(np.arange(_GRID), np.arange(_GRID)), -1) + 0.5) / _GRID
    region = np.where(_body(grid)[0] > 0, 1 + _body(grid)[0] % NUM_REGIONS, 0)
    masks = [_runs(region == number) for number in range(1, NUM_REGIONS + 1)]
    masks[int(rng.integers(NUM_REGIONS))] = []
    angle, radius = rng.uniform(0, 2 * np.pi, num_points), np.sqrt(rng.uniform(0, 1, num_points))
    position = 0.5 + 0.49 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    part, uv = _body(position)
    uv = np.clip(uv + rng.normal(0, 0.02, uv.shape), 0, 1)
    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [round(v, 2) for v in (x, y, w, h)],
        "area": round(w * h * np.pi / 4, 2),
        "segmentation": [[round(v, 2) for v in corners]],
        "dp_masks": masks,
        "dp_x": (position[:, 0] * _GRID).round(3).tolist(),
        "dp_y": (position[:, 1] * _GRID).round(3).tolist(),
        "dp_I": part.astype(float).tolist(),
        "dp_U": uv[:, 0].round(5).tolist(),
        "dp_V": uv[:, 1].round(5).tolist(),
    }


Detection = tuple[np.ndarray, float, np.ndarray, np.ndarray]  # corners (4,), score, labels, uv


def _detection(rng: np.random.Generator, kind: Kind, box: Sequence[float]) -> Detection:
    shift, uv_error, hole_share, wrong_share, _ = _ERRORS[kind]
    x, y, w, h = box
    moved = rng.normal(0, shift, 4) * (w, h, w, h)
    corners = np.array([x, y, x + w, y + h]) + moved
    corners[2:] = np.maximum(corners[2:], corners[:2] + 2)
    labels, uv = _maps(rng, corners.astype(np.float32), (x, y, w, h))
    wrong = rng.uniform(size=NUM_PARTS + 1) < wrong_share
    renamed = np.where(
        wrong, rng.integers(1, NUM_PARTS + 1, NUM_PARTS + 1), np.arange(NUM_PARTS + 1)
    )
    renamed[0] = 0
    holes = rng.uniform(size=labels.shape) < hole_share
    labels = np.where(holes, 0, renamed[labels]).astype(np.uint8)
    uv = np.clip(uv + rng.normal(0, uv_error, (2, 1, 1)), 0, 1) * (labels > 0)
    return corners.astype(np.float32), float(np.float32(rng.uniform(0.3, 1))), labels, _steps(uv)


def _maps(
    rng: np.random.Generator, corners: np.ndarray, person: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (h, w) and uv (2, h, w) float of a person (x, y, w, h) seen through a box."""
    width, height = np.maximum(np.floor(corners[2:] - corners[:2]), 1).astype(int)
    pixel = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) + 0.5
    position = (pixel + np.floor(corners[:2]) - person[:2]) / person[2:]
    labels, uv = _body(position)
    return labels, np.moveaxis(uv, -1, 0)


def _steps(uv: np.ndarray) -> np.ndarray:
    return (uv * UV_STEPS).astype(np.uint8)


def _runs(mask: np.ndarray) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode("ascii")}


def _prediction(image_id: int, detections: Sequence[Detection]) -> ImagePrediction:
    ordered = sorted(detections, key=lambda detection: -detection[1])
    return ImagePrediction(
        image_id=image_id,
        image_size=IMAGE_SIZE,
        boxes_xyxy_px=np.array([d[0] for d in ordered], np.float32).reshape(-1, 4),
        scores=np.array([d[1] for d in ordered], np.float32),
        labels=tuple(d[2] for d in ordered),
        uv=tuple(d[3] for d in ordered),
    )


def _spoil_image(rng: np.random.Generator, image: dict[str, Any]) -> None:
    """PoseTrack's regions without annotation, in some images; empty lists in others."""
    choice = rng.integers(3)
    if choice == 0:
        x, y = int(rng.integers(0, 200)), int(rng.integers(0, 100))
        right, bottom = x + int(rng.integers(60, 260)), y + int(rng.integers(60, 240))
        image["ignore_regions_x"] = [[x, right, right, x], [5, 60, 5]]
        image["ignore_regions_y"] = [[y, y, bottom, bottom], [5, 5, 60]]
    elif choice == 1:
        image["ignore_regions_x"], image["ignore_regions_y"] = [], []


def _spoiled_people(rng: np.random.Generator, people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    spoiled = []
    for person in people:
        choice = rng.integers(10)
        x, y, w, h = person["bbox"]
        if choice in (0, 1, 2):  # an ordinary COCO person
            person = {k: v for k, v in person.items() if not k.startswith("dp_")}
        if choice == 1:
            person["segmentation"] = []
        if choice == 2:
            person["iscrowd"] = 1
            filled = np.zeros(IMAGE_SIZE, bool)
            filled[int(y) : int(y + h), int(x) : int(x + w)] = True
            person["segmentation"] = _runs(filled)
        if choice == 3:
            person |= {key: [] for key in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")}
        if choice == 4:
            person["dp_masks"] = [[] for _ in range(NUM_REGIONS)]
        if choice == 5:
            del person["dp_masks"]
        if choice == 6:  # across the border
            person["bbox"] = [round(-0.3 * w, 2), round(IMAGE_SIZE[0] - 0.6 * h, 2), w, h]
        if choice == 7:
            person["area"] = float(rng.choice([500.0, 32.0**2, 96.0**2, 96.0**2 + 1]))
        spoiled.append(person)
    return [] if rng.uniform() < 0.1 else spoiled


def _spoiled_detections(rng: np.random.Generator, detections: list[Detection]) -> list[Detection]:
    spoiled = list(detections)
    for corners, score, labels, uv in detections:
        choice = rng.integers(8)
        if choice == 0:  # the same again, once with equal and once with lower score
            spoiled += [(corners, score, labels, uv), (corners, score / 2, labels, uv)]
        if choice == 1:
            spoiled.append((corners, score, np.zeros_like(labels), np.zeros_like(uv)))
        if choice == 2:
            nobody = rng.integers(0, NUM_PARTS + 1, labels.shape).astype(np.uint8)
            spoiled.append((corners, 0.99, nobody, uv))
        if choice == 3:
            outside = corners - np.float32([corners[0] + 7.3, 0, corners[0] + 7.3, 0])
            height, width = _map_size(outside)
            spoiled.append((outside, score, *(_fit(maps, height, width) for maps in (labels, uv))))
        if choice == 4:
            tiny = np.array([*corners[:2], corners[0] + 0.4, corners[1] + 3.2], np.float32)
            spoiled.append((tiny, score, np.ones((3, 1), np.uint8), np.ones((2, 3, 1), np.uint8)))
        if choice == 5:
            spoiled += [_detection(rng, "noisy", (60, 40, 90, 160)) for _ in range(22)]
    return [] if rng.uniform() < 0.1 else spoiled


def _map_size(corners: np.ndarray) -> tuple[int, int]:
    width, height = np.maximum(np.floor(corners[2:] - corners[:2]), 1).astype(int)
    return height, width


def _fit(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut or repeat the last rows and columns of maps (..., h, w)."""
    rows = np.minimum(np.arange(height), maps.shape[-2] - 1)
    columns = np.minimum(np.arange(width), maps.shape[-1] - 1)
    return maps[..., rows[:, None], columns]


def _spoil_ids(annotations: list[dict[str, Any]]) -> None:
    """One id 0, and one id that annotations of two images share."""
    with_points = [person for person in annotations if person.get("dp_x")]
    if len(with_points) > 4:
        with_points[0]["id"] = 0
        with_points[1]["id"] = with_points[-1]["id"]
