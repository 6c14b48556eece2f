"""A DensePose-COCO annotation file: read once, checked as a whole, handed out image by image.

Shapes: I images, G people of all of them, image after image; P annotated points, person after
person.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from densepose.errors import InputError
from densepose.structures.prediction import ImagePrediction
from densepose.structures.records import (
    POINT_KEYS,
    check_records,
    person_category,
    read_annotation_file,
    top_level,
)

from .ragged import ranges, starts

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]
# Points are packed, and not kept as lists of Python's numbers besides.
_PACKED = frozenset({*POINT_KEYS, "dp_vertex"})


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
    records: tuple[Record, ...]  # G annotations as read, without points

    def __len__(self) -> int:
        return len(self.annotation_ids)

    @cached_property
    def num_points(self) -> np.ndarray:
        """(G,) int64: annotated points of each person."""
        return np.bincount(self.owner, minlength=len(self))

    @cached_property
    def first_point(self) -> np.ndarray:
        """(G + 1,) where the points of each person start."""
        return starts(self.num_points)

    @cached_property
    def first_person(self) -> np.ndarray:
        """(I + 1,) where the people of each image start."""
        return np.searchsorted(self.image, np.arange(len(self.image_ids) + 1))

    def keep(self, where: np.ndarray) -> PackedPeople:
        """The people selected by a mask (G,), with their points; all images stay."""
        person = np.flatnonzero(where)
        return self._take(person, self.image[person], self.image_ids, self.image_sizes)

    def of_images(self, images: np.ndarray) -> PackedPeople:
        """The people of J of the images, in the given order. images (J,): places in [0, I)."""
        count = np.diff(self.first_person)[images]
        return self._take(
            ranges(self.first_person[images], count),
            np.repeat(np.arange(len(images)), count),
            tuple(self.image_ids[index] for index in images.tolist()),
            self.image_sizes[images],
        )

    def _take(
        self,
        person: np.ndarray,
        image: np.ndarray,
        image_ids: tuple[int, ...],
        image_sizes: np.ndarray,
    ) -> PackedPeople:
        num_points = self.num_points[person]
        point = ranges(self.first_point[person], num_points)
        return PackedPeople(
            source=self.source,
            image_ids=image_ids,
            image_sizes=image_sizes,
            image=image,
            annotation_ids=self.annotation_ids[person],
            boxes_xywh_px=self.boxes_xywh_px[person],
            areas_px=self.areas_px[person],
            crowd=self.crowd[person],
            has_points=self.has_points[person],
            points_grid=self.points_grid[point],
            part=self.part[point],
            uv=self.uv[point],
            owner=np.repeat(np.arange(len(person)), num_points),
            records=tuple(self.records[index] for index in person.tolist()),
        )


class GroundTruth:
    """One annotation file: ``image_ids`` (ascending) are evaluated, for the ``category_ids``.

    ``category_id``, the first of them, stands for all.
    """

    def __init__(
        self,
        content: Record,
        source: str,
        *,
        category_id: int | Collection[int] | None = None,
        image_ids: Collection[int] | None = None,
        repeat_duplicate_ids: bool = True,
        strict: bool = False,
        image_root: str | Path | None = None,
        on_bad: str = "warn",
    ) -> None:
        """Check and pack what is annotated.

        Args:
            content: the parsed JSON.
            source: its name in error messages.
            category_id: category to evaluate; by default the only one, or the one named "person".
                Several count as one, under the id of the first.
            image_ids: evaluate these images only.
            repeat_duplicate_ids: where several annotations share an id (minival has such), take the
                last of them once for every occurrence, in its own image (default). So do all
                evaluators built on pycocotools. False takes each annotation as it is.
            strict: refuse repeated ids and no image at all, as loading for training does.
            image_root: folder of the images; those whose file is missing are not evaluated, nor
                are their people. None looks for no files.
            on_bad: "error" refuses missing images, as loading for training does.

        Raises:
            InputError: a record breaks a rule of ``structures.records`` and would be skipped, or a
                category or image is missing.
        """
        checked = check_records(top_level(content, source), source, image_root=image_root)
        checked.report.require_all(on_bad=on_bad, strict=strict)
        if checked.report.counts:
            logger.warning("%s", checked.report.summary())
        self.source = source
        self.num_missing_images = checked.report.counts["image-file"]
        asked = category_id if isinstance(category_id, Collection) else (category_id,)
        self.categories = checked.categories
        self.category_ids = tuple(_chosen_category(self.categories, one, source) for one in asked)
        self.category_id = self.category_ids[0]
        self._images = {image["id"]: image for image in checked.images}
        self.image_ids = tuple(sorted(self._images if image_ids is None else set(image_ids)))
        unknown = [image_id for image_id in self.image_ids if image_id not in self._images]
        if unknown:
            raise InputError(f"{source}: no image {unknown[0]}; {len(unknown)} ids are not in it")
        self._place = {image_id: index for index, image_id in enumerate(self.image_ids)}
        by_image = self._by_image(checked.annotations, repeat_duplicate_ids)
        self._people = _pack_people(
            [by_image[image_id] for image_id in self.image_ids],
            self.image_ids,
            [self.image_size(image_id) for image_id in self.image_ids],
            source,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> GroundTruth:
        """Read a JSON file; ``options`` are those of the constructor.

        Raises:
            InputError: no such file; not JSON, not in COCO format, or see the constructor.
        """
        return cls(read_annotation_file(path), str(path), strict=True, **options)

    def _by_image(
        self, annotations: Sequence[Record], repeat_duplicate_ids: bool
    ) -> dict[int, list[Record]]:
        ids = [record["id"] for record in annotations]
        category = [record["category_id"] for record in annotations]
        chosen = [n for n, one in enumerate(category) if one in self.category_ids]
        if repeat_duplicate_ids:
            last = {annotation_id: number for number, annotation_id in enumerate(ids)}
            if len(last) < len(ids):
                logger.warning(
                    "%s: %d annotations repeat the id of another; the last one of an id counts,"
                    " once for each",
                    self.source,
                    len(ids) - len(last),
                )
            chosen = [last[ids[n]] for n in chosen if category[last[ids[n]]] in self.category_ids]
        by_image: dict[int, list[Record]] = defaultdict(list)
        for number in chosen:
            by_image[annotations[number]["image_id"]].append(annotations[number])
        return by_image

    @property
    def images(self) -> Iterable[Record]:
        """What is known of each image: id, size, name, regions to ignore."""
        return self._images.values()

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._images

    def image_size(self, image_id: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        image = self._images[image_id]
        return image["height"], image["width"]

    def image_file(self, image_id: int, folder: str | os.PathLike[str]) -> Path | None:
        """Where an image lies in a folder: under its whole name, or the last part of it."""
        name = self._images[image_id]["file_name"]
        choices = [Path(folder, name), Path(folder, Path(name).name)]
        below = (path for path in choices if path.is_relative_to(folder))  # not a whole path
        return next((path for path in below if path.is_file()), None)

    def identify(self, prediction: ImagePrediction) -> ImagePrediction:
        """The prediction under the id of its image, where it knows the photo by its name only.

        Raises:
            ValueError: no image has that name, or several have.
        """
        if not prediction.file_name:
            return prediction
        name = Path(prediction.file_name).name
        found = self._ids_by_name.get(name, ())
        if len(found) != 1:
            count = f"{len(found)} images have" if found else "no image has"
            raise InputError(
                f"{prediction.name}: {count} the name of the photo {name!r} in {self.source}"
            )
        return replace(prediction, image_id=found[0], file_name="")

    @cached_property
    def _ids_by_name(self) -> Mapping[str, list[int]]:
        ids: dict[str, list[int]] = defaultdict(list)
        for image_id, image in self._images.items():
            ids[Path(image["file_name"]).name].append(image_id)
        return ids

    def people(self, image_ids: Sequence[int]) -> PackedPeople:
        """The people of some evaluated images, in the order of the file within each image."""
        places = [self._place[image_id] for image_id in image_ids]
        return self._people.of_images(np.array(places, np.int64))

    def records(self, image_id: int) -> tuple[Record, ...]:
        """The annotations of an evaluated image as read, in the order of the file."""
        people = self.people([image_id])
        values = np.column_stack([people.points_grid, people.part, people.uv]).T.tolist()
        of_person = zip(people.first_point, people.first_point[1:], strict=False)
        points = [
            {key: column[a:b] for key, column in zip(POINT_KEYS, values, strict=True)}
            for a, b in of_person
        ]
        return tuple(
            {**record, **(own if has_points else {})}
            for record, own, has_points in zip(
                people.records, points, people.has_points, strict=True
            )
        )

    @property
    def annotation_ids(self) -> np.ndarray:
        """(G,) of all people that are evaluated."""
        return self._people.annotation_ids

    def class_numbers(
        self, given: Collection[int], source: str, *, of_classes: bool = False
    ) -> frozenset[int]:
        """Which category ids in a file of predictions are those that are evaluated.

        Files of results have the ids of the annotation file. detectron2's evaluator saves the
        numbers of its classes, which count the categories from 0 on by ascending id.

        Args:
            given: all ids in the predictions.
            source: name of their file.
            of_classes: they are rather numbers of classes where they could be both.

        Raises:
            InputError: they are neither.
        """
        classes = dict(enumerate(sorted(self.categories)))
        both = ({category: category for category in classes.values()}, classes)
        for known in reversed(both) if of_classes else both:
            if set(given) <= set(known):
                return frozenset(n for n, c in known.items() if c in self.category_ids)
        raise InputError(
            f"{source}: has the category ids {sorted(set(given))[:20]}; expected those of"
            f" {self.source}, {self.categories}, or class numbers from 0 to {len(classes) - 1}"
        )

    def ignore_polygons(self, image_id: int) -> tuple[list[float], ...]:
        """Where nothing is annotated (PoseTrack): polygons as x, y, x, y, ..."""
        image = self._images[image_id]
        axes = (image.get(f"ignore_regions_{axis}") or [] for axis in "xy")
        return tuple(
            [float(value) for corner in zip(x, y, strict=True) for value in corner]
            for x, y in zip(*axes, strict=True)
        )


def _chosen_category(known: Mapping[int, str], category_id: int | None, source: str) -> int:
    if category_id is not None:
        if category_id not in known:
            raise InputError(f"{source}: no category {category_id}; it has {dict(known)}")
        return category_id
    return person_category(known, source)


def _pack_people(
    records: Sequence[Sequence[Record]],
    image_ids: Sequence[int],
    image_sizes: Sequence[tuple[int, int]],
    source: str,
) -> PackedPeople:
    """The annotations of I images, checked and packed."""
    people = tuple(chain.from_iterable(records))
    charted = [record for record in people if "dp_I" in record]
    bare = next((r for r in people if "dp_vertex" in r and "dp_I" not in r), None)
    if bare is not None:
        raise InputError(
            f"{source}: annotation {bare['id']} has points on vertices of a mesh (dp_vertex) alone;"
            " scores need points on charts: dp_I, dp_U and dp_V"
        )
    flat = [list(chain.from_iterable(record[key] for record in charted)) for key in POINT_KEYS]
    points = np.array(flat, np.float64).T
    num_points = [len(record.get("dp_I", ())) for record in people]
    return PackedPeople(
        source=source,
        image_ids=tuple(image_ids),
        image_sizes=np.array(image_sizes, np.int64).reshape(-1, 2),
        image=np.repeat(np.arange(len(records)), [len(of_image) for of_image in records]),
        annotation_ids=np.array([record["id"] for record in people], np.int64),
        boxes_xywh_px=np.array([r["bbox"] for r in people], np.float64).reshape(-1, 4),
        areas_px=np.array([record["area"] for record in people], np.float64),
        crowd=np.array([record["iscrowd"] for record in people], bool),
        has_points=np.array(["dp_I" in record for record in people], bool),
        points_grid=points[:, :2],
        part=points[:, 2].astype(np.int64),
        uv=points[:, 3:],
        owner=np.repeat(np.arange(len(people)), np.array(num_points, np.int64)),
        records=tuple(
            {key: value for key, value in record.items() if key not in _PACKED} for record in people
        ),
    )
