"""The annotated people of several images as packed arrays.

Shapes: I images, G people of all of them, image after image; P annotated points, person after
person.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from densepose.structures.body_parts import NUM_PARTS

logger = logging.getLogger(__name__)

POINT_KEYS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class PackedPeople:
    """What is annotated in I images."""

    source: str  # name of the annotation file in error messages
    image_ids: tuple[int, ...]  # I
    image_sizes: np.ndarray  # (I, 2) int64 height, width in px
    image: np.ndarray  # (G,) int64 in [0, I), ascending
    annotation_ids: np.ndarray  # (G,) int64
    boxes_xywh_px: np.ndarray  # (G, 4) float64
    areas_px: np.ndarray  # (G,) float64: annotated area, not that of the box
    crowd: np.ndarray  # (G,) bool
    has_points: np.ndarray  # (G,) bool: annotated for DensePose, possibly with 0 points
    points_grid: np.ndarray  # (P, 2) float64 on the annotation grid of the owner's box
    part: np.ndarray  # (P,) int64 in 1..24
    uv: np.ndarray  # (P, 2) float64
    owner: np.ndarray  # (P,) int64 in [0, G), ascending
    records: tuple[Record, ...]  # G annotations as read, for their masks

    def __len__(self) -> int:
        return len(self.annotation_ids)

    @property
    def num_points(self) -> np.ndarray:
        """(G,) int64: annotated points of each person."""
        return np.bincount(self.owner, minlength=len(self))

    def keep(self, where: np.ndarray) -> PackedPeople:
        """The people selected by a mask (G,), with their points; all images stay."""
        of_kept = where[self.owner]
        return replace(
            self,
            image=self.image[where],
            annotation_ids=self.annotation_ids[where],
            boxes_xywh_px=self.boxes_xywh_px[where],
            areas_px=self.areas_px[where],
            crowd=self.crowd[where],
            has_points=self.has_points[where],
            points_grid=self.points_grid[of_kept],
            part=self.part[of_kept],
            uv=self.uv[of_kept],
            owner=(np.cumsum(where) - 1)[self.owner[of_kept]],
            records=tuple(self.records[index] for index in np.flatnonzero(where)),
        )


def pack_people(
    records: Sequence[Sequence[Record]],
    image_ids: Sequence[int],
    image_sizes: Sequence[tuple[int, int]],
    source: str,
) -> PackedPeople:
    """Check and pack the annotations of I images.

    Args:
        records: I lists of annotations.
        image_ids: I.
        image_sizes: I heights and widths in px.
        source: name of the annotation file in error messages.

    Raises:
        ValueError: an annotation lacks a key, has a box that is none, or lists of points that do
            not belong together.
    """
    people = tuple(chain.from_iterable(records))
    image = np.repeat(np.arange(len(records)), [len(of_image) for of_image in records])
    ids = np.array([required(record, "id", source) for record in people], np.int64)
    with_points = [record for record in people if "dp_x" in record]
    num_points = np.array([len(r["dp_x"]) if "dp_x" in r else 0 for r in people], np.int64)
    packed = _packed_points(with_points, source)
    owner = np.repeat(np.arange(len(people)), num_points)
    real = _on_a_part(packed[:, 2])
    if not real.all():
        _warn_of_lost_points(real, image[owner], image_ids, source)
        packed, owner = packed[real], owner[real]
    return PackedPeople(
        source=source,
        image_ids=tuple(image_ids),
        image_sizes=np.array(image_sizes, np.int64).reshape(-1, 2),
        image=image,
        annotation_ids=ids,
        boxes_xywh_px=_boxes(people, source),
        areas_px=np.array([required(r, "area", _name(r, source)) for r in people], np.float64),
        crowd=np.array([bool(record.get("iscrowd", 0)) for record in people], bool),
        has_points=np.array(["dp_x" in record for record in people], bool),
        points_grid=packed[:, :2],
        part=packed[:, 2].astype(np.int64),
        uv=packed[:, 3:],
        owner=owner,
        records=people,
    )


def required(record: Record, key: str, name: str) -> Any:
    """One value of a record.

    Raises:
        ValueError: it is not there.
    """
    if key not in record:
        raise ValueError(f"{name}: no {key!r}; it has {sorted(record)}")
    return record[key]


def _name(record: Record, source: str) -> str:
    return f"{source}: annotation {record.get('id')}"


def _boxes(people: Sequence[Record], source: str) -> np.ndarray:
    boxes = [required(record, "bbox", _name(record, source)) for record in people]
    right = [len(box) == 4 for box in boxes]
    if all(right):
        packed = np.array(boxes, np.float64).reshape(-1, 4)
        right = np.isfinite(packed).all(axis=1).tolist()
    if not all(right):
        wrong = right.index(False)
        raise ValueError(
            f"{_name(people[wrong], source)}: bbox must be x, y, width, height in pixels, got"
            f" {boxes[wrong]}"
        )
    return packed


def _packed_points(people: Sequence[Record], source: str) -> np.ndarray:
    """(P, 5) x, y, part, u, v of people with points."""
    try:
        lengths = np.array([[len(person[key]) for key in POINT_KEYS] for person in people])
        columns = [
            np.array(list(chain.from_iterable(person[key] for person in people)), np.float64)
            for key in POINT_KEYS
        ]
        fits = not len(people) or (lengths == lengths[:, :1]).all()
        packed = np.stack(columns, axis=1) if fits else None
    except (KeyError, TypeError, ValueError):
        packed = None
    if packed is None or packed.ndim != 2 or not np.isfinite(packed).all():
        for person in people:
            _check_points(person, _name(person, source))
        raise ValueError(f"{source}: the points of {len(people)} people can not be read")
    return packed


def _check_points(record: Record, name: str) -> None:
    """Say what is wrong with the points of one person, if anything is."""
    columns = [np.asarray(required(record, key, name), np.float64) for key in POINT_KEYS]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        lengths = {
            key: column.shape[0] if column.ndim == 1 else column.shape
            for key, column in zip(POINT_KEYS, columns, strict=True)
        }
        raise ValueError(f"{name}: the lists of its points must have one length, got {lengths}")
    if not np.isfinite(columns).all():
        raise ValueError(f"{name}: a coordinate of its points is not a finite number")


def _on_a_part(part: np.ndarray) -> np.ndarray:
    """(P,) bool. Other points have no counterpart on the surface; all evaluators skip them."""
    return (part == np.floor(part)) & (part >= 1) & (part <= NUM_PARTS)


def _warn_of_lost_points(
    real: np.ndarray, image: np.ndarray, image_ids: Sequence[int], source: str
) -> None:
    for index in np.unique(image[~real]):
        of_image = real[image == index]
        logger.warning(
            "%s: image %d: %d of %d annotated points lie on no part (dp_I is not a whole number"
            " from 1 to 24) and are left out",
            source,
            image_ids[index],
            int((~of_image).sum()),
            len(of_image),
        )
