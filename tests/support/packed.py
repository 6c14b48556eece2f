"""People and detections packed from plain values, for tests of single steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densepose.evaluation.ground_truth import PackedPeople
from densepose.evaluation.pairs import ImagePairs, PackedDetections


def people(
    count: int, *, image: Sequence[int] | None = None, image_size=(100, 200), num_images=1, **fields
) -> PackedPeople:
    """``count`` people without points, with some fields set."""
    plain = {
        "annotation_ids": np.arange(1, count + 1),
        "boxes_xywh_px": np.tile([0.0, 0.0, 9.0, 9.0], (count, 1)),
        "areas_px": np.full(count, 1e4),
        "crowd": np.zeros(count, bool),
        "has_points": np.ones(count, bool),
        "points_grid": np.zeros((0, 2)),
        "part": np.zeros(0, np.int64),
        "uv": np.zeros((0, 2)),
        "owner": np.zeros(0, np.int64),
        "records": ({},) * count,
    }
    return PackedPeople(
        source="truth.json",
        image_ids=tuple(range(1, num_images + 1)),
        image_sizes=np.tile(image_size, (num_images, 1)),
        image=np.zeros(count, np.int64) if image is None else np.asarray(image),
        **plain | fields,
    )


def detections(
    boxes_xywh_px,
    labels: Sequence[np.ndarray] | None = None,
    *,
    uv: Sequence[np.ndarray] | None = None,
    scores=None,
    image: Sequence[int] | None = None,
) -> PackedDetections:
    """Detections with boxes; maps of one background pixel unless given."""
    boxes = np.asarray(boxes_xywh_px, np.float64).reshape(-1, 4)
    count = len(boxes)
    labels = [np.zeros((1, 1), np.uint8)] * count if labels is None else labels
    uv = [np.zeros((2, *label.shape), np.uint8) for label in labels] if uv is None else uv
    return PackedDetections(
        np.zeros(count, np.int64) if image is None else np.asarray(image),
        boxes,
        np.linspace(0.9, 0.1, count) if scores is None else np.asarray(scores, np.float64),
        tuple(labels),
        tuple(uv),
    )


def boxes_only(people_xywh_px, detections_xywh_px, crowd=None) -> ImagePairs:
    """Pairs of one image of which only the boxes matter."""
    count = len(people_xywh_px)
    crowd = np.zeros(count, bool) if crowd is None else crowd
    return ImagePairs(
        people(count, boxes_xywh_px=np.asarray(people_xywh_px, np.float64), crowd=crowd),
        detections(detections_xywh_px),
    )
