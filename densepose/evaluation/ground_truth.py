"""The people of a DensePose-COCO annotation file as arrays, image by image.

Shapes: G people of one image, P annotated points of all of them, person after person.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .gps import NUM_PARTS

logger = logging.getLogger(__name__)

POINT_KEYS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class ImageTruth:
    """What is annotated in one image."""

    image_id: int
    image_size: tuple[int, int]  # height, width in px
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
    ignore_polygons: tuple[
        list[float], ...
    ]  # x, y, x, y, ...: where nothing is annotated (PoseTrack)

    def __len__(self) -> int:
        return len(self.annotation_ids)

    @property
    def num_points(self) -> np.ndarray:
        """(G,) int64: annotated points of each person."""
        return np.bincount(self.owner, minlength=len(self))

    def keep(self, where: np.ndarray) -> ImageTruth:
        """The people selected by a mask (G,), with their points."""
        of_kept = where[self.owner]
        return replace(
            self,
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


class GroundTruth:
    """Access to one annotation file by image.

    ``image_ids`` are ascending; ``category_id`` is the category that is evaluated.
    """

    def __init__(
        self,
        content: Record,
        source: str,
        *,
        category_id: int | Collection[int] | None = None,
        image_ids: Collection[int] | None = None,
        repeat_duplicate_ids: bool = True,
    ) -> None:
        """Group a loaded file by image.

        Args:
            content: the parsed JSON.
            source: its name in error messages.
            category_id: category to evaluate; by default the only one, or the one named "person".
                Several count as one, under the id of the first.
            image_ids: evaluate these images only.
            repeat_duplicate_ids: where several annotations share an id (minival has such), take the
                last of them once for every occurrence, in its own image. So do all evaluators built
                on pycocotools. False takes each annotation as it is.

        Raises:
            ValueError: a key, category or image is missing.
        """
        self.source = source
        for key in ("images", "annotations", "categories"):
            if key not in content:
                raise ValueError(
                    f"{source}: no {key!r} at the top level; expected a file in COCO format"
                )
        self.content = content
        asked = category_id if isinstance(category_id, Collection) else (category_id,)
        categories = content["categories"]
        self.category_ids = tuple(_chosen_category(categories, one, source) for one in asked)
        self.category_id = self.category_ids[0]
        self._images = {int(image["id"]): image for image in content["images"]}
        self.image_ids = tuple(sorted(self._images if image_ids is None else set(image_ids)))
        unknown = [image_id for image_id in self.image_ids if image_id not in self._images]
        if unknown:
            raise ValueError(f"{source}: no image {unknown[0]}; {len(unknown)} ids are not in it")
        annotations = content["annotations"]
        if repeat_duplicate_ids:
            last = {_required(record, "id", source): record for record in annotations}
            if len(last) < len(annotations):
                logger.warning(
                    "%s: %d annotations repeat the id of another; the last one of an id counts,"
                    " once for each",
                    source,
                    len(annotations) - len(last),
                )
            wanted = (r for r in annotations if r["category_id"] in self.category_ids)
            annotations = [last[record["id"]] for record in wanted]
        self._people: dict[int, list[Record]] = defaultdict(list)
        for record in annotations:
            if record["category_id"] in self.category_ids:
                self._people[int(_required(record, "image_id", source))].append(record)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> GroundTruth:
        """Read a JSON file; ``options`` as for the constructor.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not JSON, or not in COCO format.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}: not a JSON file ({error}); copy or make the file again"
            ) from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected a JSON object, got a {type(content).__name__}")
        return cls(content, str(path), **options)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._images

    def image_size(self, image_id: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        image = self._images[image_id]
        source = f"{self.source}: image {image_id}"
        return int(_required(image, "height", source)), int(_required(image, "width", source))

    def records(self, image_id: int) -> tuple[Record, ...]:
        """The annotations of one image as read, in the order of the file."""
        return tuple(self._people.get(image_id, ()))

    def image(self, image_id: int) -> ImageTruth:
        """The people of one image, in the order of the file.

        Raises:
            ValueError: an annotation lacks a key, or its lists have different lengths.
        """
        records = self.records(image_id)
        names = [f"{self.source}: annotation {_required(r, 'id', self.source)}" for r in records]
        boxes = [_box(record, name) for record, name in zip(records, names, strict=True)]
        areas = [float(_required(r, "area", n)) for r, n in zip(records, names, strict=True)]
        points = [_points(record, name) for record, name in zip(records, names, strict=True)]
        packed = np.concatenate([*points, np.zeros((0, 5))])
        owner = np.repeat(np.arange(len(records)), [len(of_one) for of_one in points])
        # Points on no part have no counterpart on the surface; all evaluators leave them out.
        part = packed[:, 2]
        real = (part == np.floor(part)) & (part >= 1) & (part <= NUM_PARTS)
        if not real.all():
            logger.warning(
                "%s: image %d: %d of %d annotated points lie on no part (dp_I is not a whole number"
                " from 1 to 24) and are left out",
                self.source,
                image_id,
                int((~real).sum()),
                len(real),
            )
        packed, owner = packed[real], owner[real]
        return ImageTruth(
            image_id=image_id,
            image_size=self.image_size(image_id),
            annotation_ids=np.array([record["id"] for record in records], np.int64),
            boxes_xywh_px=np.array(boxes, np.float64).reshape(-1, 4),
            areas_px=np.array(areas, np.float64),
            crowd=np.array([bool(record.get("iscrowd", 0)) for record in records], bool),
            has_points=np.array(["dp_x" in record for record in records], bool),
            points_grid=packed[:, :2],
            part=packed[:, 2].astype(np.int64),
            uv=packed[:, 3:],
            owner=owner,
            records=records,
            ignore_polygons=self._ignore_polygons(image_id),
        )

    def _ignore_polygons(self, image_id: int) -> tuple[list[float], ...]:
        image = self._images[image_id]
        xs = image.get("ignore_regions_x") or []
        ys = image.get("ignore_regions_y") or []
        if [len(x) for x in xs] != [len(y) for y in ys]:
            raise ValueError(
                f"{self.source}: image {image_id}: ignore_regions_x and ignore_regions_y must hold"
                f" polygons of the same lengths, got {[len(x) for x in xs]} and"
                f" {[len(y) for y in ys]}"
            )
        return tuple(
            [float(value) for corner in zip(x, y, strict=True) for value in corner]
            for x, y in zip(xs, ys, strict=True)
        )


def _required(record: Record, key: str, name: str) -> Any:
    if key not in record:
        raise ValueError(f"{name}: no {key!r}; it has {sorted(record)}")
    return record[key]


def _chosen_category(categories: Iterable[Record], category_id: int | None, source: str) -> int:
    known = {int(category["id"]): str(category.get("name", "")) for category in categories}
    if category_id is not None:
        if category_id not in known:
            raise ValueError(f"{source}: no category {category_id}; it has {known}")
        return category_id
    people = [number for number, name in known.items() if name == "person"]
    if len(known) == 1 or len(people) == 1:
        return next(iter(known)) if len(known) == 1 else people[0]
    raise ValueError(f"{source}: say which category_id to evaluate; it has {known}")


def _box(record: Record, name: str) -> list[float]:
    box = _required(record, "bbox", name)
    if len(box) != 4 or not np.isfinite(box).all():
        raise ValueError(f"{name}: bbox must be x, y, width, height in pixels, got {box}")
    return box


def _points(record: Record, name: str) -> np.ndarray:
    """(P, 5) x, y, part, u, v; empty for a person without DensePose annotation."""
    if "dp_x" not in record:
        return np.zeros((0, 5))
    columns = [np.asarray(_required(record, key, name), np.float64) for key in POINT_KEYS]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        lengths = {
            key: column.shape[0] if column.ndim == 1 else column.shape
            for key, column in zip(POINT_KEYS, columns, strict=True)
        }
        raise ValueError(f"{name}: the lists of its points must have one length, got {lengths}")
    points = np.stack(columns, axis=1)
    if not np.isfinite(points).all():
        raise ValueError(f"{name}: a coordinate of its points is not a finite number")
    return points
