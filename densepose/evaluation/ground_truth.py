"""A DensePose-COCO annotation file, grouped by image."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from .packed_people import PackedPeople, Record, pack_people, required

logger = logging.getLogger(__name__)


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
            last = {required(record, "id", source): record for record in annotations}
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
                self._people[int(required(record, "image_id", source))].append(record)

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
        return tuple(self._people.get(image_id, ()))

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
