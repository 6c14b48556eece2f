"""Fewer annotations than a file has, to see what a method makes of few.

Which are kept depends on nothing but their ids: training, a teacher and its inpainted annotations
see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_OF_POINTS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_vertex")


def thin_records(
    records: Sequence[dict[str, Any]], images: int | None = None, points: int | None = None
) -> list[dict[str, Any]]:
    """The first images, and of each person a random choice of the annotated points.

    Part masks, boxes, segmentations and keypoints stay whole.

    Args:
        records: as ``read_densepose_coco`` gives them, sorted by image id.
        images: how many are kept; all when left out.
        points: how many of a person's points are kept; all when left out.

    Returns:
        Records of their own where something changes; those given stay as they are.
    """
    kept = list(records[:images])
    if points is None:
        return kept
    return [
        {**record, "annotations": [_thin_person(p, points) for p in record["annotations"]]}
        if "annotations" in record
        else record
        for record in kept
    ]


def _thin_person(person: dict[str, Any], points: int) -> dict[str, Any]:
    count = len(person.get("dp_x", ()))
    if count <= points:
        return person
    chosen = np.sort(np.random.default_rng(person["id"]).permutation(count)[:points]).tolist()
    fewer = {k: [person[k][n] for n in chosen] for k in _OF_POINTS if k in person}
    return {**person, **fewer}
