"""A DensePose-COCO annotation file, grouped by image."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .json_pieces import pieces, read_values
from .packed_people import PackedPeople, Record, pack_people, required

logger = logging.getLogger(__name__)


# What is kept of the record of an image.
_IMAGE_KEYS = ("id", "height", "width", "file_name", "coco_url") + (
    "ignore_regions_x",
    "ignore_regions_y",
)


@dataclass
class _Annotations:
    """What annotations are sorted by; the whole of them is fetched when it is wanted."""

    fetch: Callable[[Sequence[int]], Sequence[Record]]  # numbers in the file -> records
    ids: list[Any] = field(default_factory=list)
    image_ids: list[int] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)

    def add(self, record: Record, source: str) -> None:
        """Note the next one of the file."""
        if not isinstance(record, Mapping):
            kind = type(record).__name__
            raise ValueError(f"{source}: annotations must be JSON objects, one is a {kind}")
        self.ids.append(required(record, "id", source))
        self.image_ids.append(int(required(record, "image_id", source)))
        self.categories.append(required(record, "category_id", source))


class GroundTruth:
    """Access to one annotation file by image.

    ``image_ids`` are ascending; ``category_id`` is the category that is evaluated. Of a file that
    is loaded only ids and places are kept: its annotations are read when their image is asked for.
    """

    def __init__(self, content: Record, source: str, **options: Any) -> None:
        """Group a file that is in memory by image.

        Args:
            content: the parsed JSON.
            source: its name in error messages.
            options: see ``load``.

        Raises:
            ValueError: a key, category or image is missing.
        """
        _check_keys(content, source)
        records = content["annotations"]
        annotations = _Annotations(lambda numbers: [records[number] for number in numbers])
        for record in records:
            annotations.add(record, source)
        self._group(content["images"], annotations, content["categories"], source, **options)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> GroundTruth:
        """Look through a JSON file; memory does not grow with its annotations.

        Args:
            path: of the file, which has to stay there.
            options: ``category_id``: category to evaluate; by default the only one, or the one
                named "person". Several count as one, under the id of the first. ``image_ids``:
                evaluate these images only. ``repeat_duplicate_ids``: where several annotations
                share an id (minival has such), take the last of them once for every occurrence, in
                its own image (default). So do all evaluators built on pycocotools. False takes each
                annotation as it is.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not JSON, not in COCO format, or a category or image is missing.
        """
        source = str(path)
        spans: list[tuple[int, int]] = []
        annotations = _Annotations(lambda numbers: read_values(path, [spans[n] for n in numbers]))
        content: dict[str, Any] = {}
        for piece in pieces(path):
            if not piece.key:
                raise ValueError(f"{path}: expected a JSON object, got a list")
            if piece.key not in content:
                content[piece.key] = []
            if piece.value == []:
                continue
            if piece.key == "annotations":
                annotations.add(piece.value, source)
                spans.append((piece.first, piece.last))
            elif piece.key == "images":
                content["images"].append(
                    {k: piece.value[k] for k in _IMAGE_KEYS if k in piece.value}
                )
            elif piece.key == "categories":
                content["categories"].append(piece.value)
        _check_keys(content, source)
        truth = cls.__new__(cls)
        truth._group(content["images"], annotations, content["categories"], source, **options)
        return truth

    def _group(
        self,
        images: Iterable[Record],
        annotations: _Annotations,
        categories: Iterable[Record],
        source: str,
        *,
        category_id: int | Collection[int] | None = None,
        image_ids: Collection[int] | None = None,
        repeat_duplicate_ids: bool = True,
    ) -> None:
        self.source = source
        asked = category_id if isinstance(category_id, Collection) else (category_id,)
        self.category_ids = tuple(_chosen_category(categories, one, source) for one in asked)
        self.category_id = self.category_ids[0]
        self._images = {int(image["id"]): image for image in images}
        self.image_ids = tuple(sorted(self._images if image_ids is None else set(image_ids)))
        unknown = [image_id for image_id in self.image_ids if image_id not in self._images]
        if unknown:
            raise ValueError(f"{source}: no image {unknown[0]}; {len(unknown)} ids are not in it")
        self._annotations = annotations
        ids, of = annotations.ids, annotations.categories
        numbers = [n for n in range(len(ids)) if of[n] in self.category_ids]
        if repeat_duplicate_ids:
            last = {ids[number]: number for number in range(len(ids))}
            if len(last) < len(ids):
                logger.warning(
                    "%s: %d annotations repeat the id of another; the last one of an id counts,"
                    " once for each",
                    source,
                    len(ids) - len(last),
                )
            numbers = [last[ids[n]] for n in numbers if of[last[ids[n]]] in self.category_ids]
        self._people: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            self._people[annotations.image_ids[number]].append(number)

    @property
    def images(self) -> Iterable[Record]:
        """What is known of each image: id, size, name, regions to ignore."""
        return self._images.values()

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._images

    def image_size(self, image_id: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        image = self._images[image_id]
        source = f"{self.source}: image {image_id}"
        return int(required(image, "height", source)), int(required(image, "width", source))

    def image_file(self, image_id: int, folder: str | Path) -> Path | None:
        """Where an image lies in a folder: under its whole name, or the last part of it."""
        image = self._images[image_id]
        # LVIS names its images by their address.
        name = str(image.get("file_name") or image.get("coco_url") or "")
        choices = [Path(folder, *part) for part in ((name,), (Path(name).name,)) if name]
        return next((path for path in choices if path.is_file()), None)

    def records(self, image_id: int) -> tuple[Record, ...]:
        """The annotations of one image as read, in the order of the file."""
        return tuple(self._annotations.fetch(self._people.get(image_id, ())))

    def people(self, image_ids: Sequence[int]) -> PackedPeople:
        """The people of some images, in the order of the file within each.

        Raises:
            ValueError: an annotation lacks a key, or its lists have different lengths.
        """
        return pack_people(
            [self.records(image_id) for image_id in image_ids],
            image_ids,
            [self.image_size(image_id) for image_id in image_ids],
            self.source,
        )

    def ignore_polygons(self, image_id: int) -> tuple[list[float], ...]:
        """Where nothing is annotated (PoseTrack): polygons as x, y, x, y, ...

        Raises:
            ValueError: the lists of x and of y do not belong together.
        """
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


def _check_keys(content: Record, source: str) -> None:
    for key in ("images", "annotations", "categories"):
        if key not in content:
            raise ValueError(
                f"{source}: no {key!r} at the top level; expected a file in COCO format"
            )


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
