"""The one reader of annotation files, in the format of DensePose-COCO (datasets/README.md).

check-data, training and evaluation read files with it: they accept the same files, and read the
same out of them. Each record is compared with ``RULES``. What keeps them has one form after
reading; what breaks one is skipped and reported with record, key, value and expectation. No
content of a JSON file makes the reader raise. One meaning for many spellings:

- null is the same as a missing field, and an empty ``segmentation`` or ``keypoints`` as well;
- whole numbers may be written as 7, 7.0 or "7" (ids, sizes, ``iscrowd``, which may also be true);
- no ``iscrowd``: 0; no ``area``: that of the box; no ``categories``: 1 is "person";
- an image without ``file_name`` has the last two parts of its ``coco_url`` (LVIS);
- points with ``dp_I`` 0 lie on no part; they are skipped, as all evaluators do;
- polygons of fewer than three points have no area and are skipped;
- run lengths written as lists of numbers become COCO's text.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from pycocotools import mask as coco_mask

from densepose.errors import InputError
from densepose.ops.run_lengths import count_pixels

from .body_parts import ANNOTATION_GRID, NUM_PARTS, NUM_REGIONS
from .image_files import Problem, missing_files, unreadable_files
from .record_report import AnnotationReport

POINT_KEYS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")
VERTEX_KEYS = ("dp_vertex", "ref_model")
NUM_KEYPOINTS = 17
# Boxes of COCO end a fraction of a pixel outside the image now and then; this is not a mistake.
BOX_MARGIN_PX = 2.0
# Boxes and corners of polygons may leave the image, but not by more than so many of its sides.
_FAR = 10
# pycocotools walks along every pixel of all edges of a person: so many sides of the image, or px.
_LONGEST_OUTLINE, _LONGEST_OUTLINE_PX = 100, 2e7
# Pillow opens no larger image.
MOST_PIXELS = 178_956_970
_PERSON = {"id": 1, "name": "person"}

Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Side = Annotated[int, Meta(ge=1, le=2**20)]
Flag = Annotated[int, Meta(ge=0, le=1)]
Finite = Annotated[float, Meta(ge=-1e9, le=1e9)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
OnGrid = Annotated[float, Meta(ge=0, le=ANNOTATION_GRID)]
Part = Annotated[float, Meta(ge=0, le=NUM_PARTS, multiple_of=1)]
Vertex = Annotated[float, Meta(ge=0, le=2**31, multiple_of=1)]
Nothing = Annotated[list, Meta(max_length=0)]


class Runs(msgspec.Struct):
    """A run-length mask."""

    counts: str | list[Annotated[int, Meta(ge=0, le=2**40)]]
    size: tuple[Side, Side]


class Field(NamedTuple):
    """What one key of a record must hold, and the rule that is broken where it does not."""

    key: str
    type: Any
    rule: str
    is_whole: bool = False  # a whole number, which may be written as text and becomes int


_IMAGE = (
    Field("id", Whole, "image-keys", True),
    Field("height", Side, "image-keys", True),
    Field("width", Side, "image-keys", True),
    Field("file_name", Annotated[str, Meta(min_length=1, max_length=4096)], "image-keys"),
)
_IS_LABELED = Field("is_labeled", Flag, "image-keys", True)
_CATEGORY = (Field("id", Whole, "category-keys", True), Field("name", str, "category-keys"))
_PERSON_FIELDS = (
    Field("id", Whole, "annotation-keys", True),
    Field("image_id", Whole, "annotation-keys", True),
    Field("category_id", Whole, "annotation-keys", True),
    Field("iscrowd", Flag, "annotation-crowd", True),
)
_BOX = Field("bbox", Annotated[list[Finite], Meta(min_length=4, max_length=4)], "box-form")
_AREA = Field("area", Annotated[float, Meta(ge=0, le=1e12)], "area-form")
_PLACES = (Field("dp_x", list[OnGrid], "points-grid"), Field("dp_y", list[OnGrid], "points-grid"))
_CHARTS = (
    Field("dp_I", list[Part], "points-part"),
    Field("dp_U", list[Fraction], "points-uv"),
    Field("dp_V", list[Fraction], "points-uv"),
)
_VERTICES = (
    Field("ref_model", Annotated[str, Meta(pattern="_[0-9]{1,9}$")], "vertices-mesh"),
    Field("dp_vertex", list[Vertex], "vertices-range"),
)
_REGIONS = Annotated[list[Runs | Nothing], Meta(min_length=NUM_REGIONS, max_length=NUM_REGIONS)]
_MASKS = Field("dp_masks", _REGIONS | Runs, "masks-form")
_SEGMENTATION = Field("segmentation", list[list[Finite]] | Runs, "segmentation-form")
_POSE = Annotated[list[Finite], Meta(min_length=3 * NUM_KEYPOINTS, max_length=3 * NUM_KEYPOINTS)]
_KEYPOINTS = Field("keypoints", _POSE, "keypoints-form")
_REGIONS_TO_IGNORE = tuple(
    Field(f"ignore_regions_{axis}", list[Annotated[list[Finite], Meta(min_length=3)]], rule)
    for axis, rule in (("x", "image-ignore-regions"), ("y", "image-ignore-regions"))
)


@dataclass(frozen=True)
class AnnotationFile:
    """What can be used of an annotation file; records have one form and keep every rule."""

    images: list[dict[str, Any]]  # in the order of the file, as are
    annotations: list[dict[str, Any]]  # those of ``images`` alone
    categories: dict[int, str]  # name by id
    report: AnnotationReport


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: no such file.
        InputError: not JSON; the message says where.
    """
    content = Path(path).read_bytes()
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError):
        pass  # NaN and lone surrogates, which JSON does not know, or what says it better
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        end = getattr(error, "pos", 0) >= len(content.rstrip()) or "Unterminated" in str(error)
        cause = "it is empty" if not content.strip() else "it is cut off" if end else str(error)
        raise InputError(
            f"{path}: expected a JSON file of {len(content):,} bytes, but it cannot be read:"
            f" {cause}; download or write it again"
        ) from error


def read_annotation_file(path: str | os.PathLike[str], *, has_truth: bool = True) -> dict[str, Any]:
    """The top level of an annotation file, with ``images``, ``categories`` and ``annotations``.

    Args:
        path: the file.
        has_truth: False accepts a file without the list of annotations.

    Raises:
        InputError: the file is missing; it is not JSON, or lacks a list.
    """
    if not Path(path).is_file():
        what = "a folder stands there" if Path(path).is_dir() else "the annotation file is missing"
        raise InputError(
            f"{path}: {what}; run `densepose doctor` for the command that gets it, or correct"
            " ANNOTATIONS in DATASETS.REGISTER"
        )
    return top_level(read_json(path), str(path), has_truth=has_truth)


def top_level(data: Any, source: str, *, has_truth: bool = True) -> dict[str, Any]:
    """The lists of the content of an annotation file, see ``read_annotation_file``."""
    needed = ("images", "annotations") if has_truth else ("images",)
    content = data if isinstance(data, Mapping) else {}
    lists = {key: value for key, value in content.items() if value is not None}
    lists.setdefault("categories", [_PERSON])
    named = {"annotations", *needed, "categories"} & {*lists, *needed}
    if not all(isinstance(lists.get(key), (list, tuple)) for key in named):
        got = f"keys {sorted(map(str, content))}" if content else type(data).__name__
        raise InputError(
            f"{source}: expected a DensePose-COCO file with the lists {' and '.join(needed)}, got"
            f" {got}; the format is described in datasets/README.md"
        )
    return lists


def check_records(
    content: Mapping[str, Any],
    source: str,
    *,
    image_root: str | Path | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> AnnotationFile:
    """Compare every record with every rule, and keep what can be used.

    Args:
        content: as ``top_level`` returns it; nothing in it is changed.
        source: path of the file, for messages. Ids may repeat where it holds "minival", as they do
            in the released files.
        image_root: folder of the images; None does not check whether the files exist.
        on_image: also decode every image; is called with how many more are, and how many there are.
    """
    root = None if image_root is None else Path(image_root).absolute()
    return _Reader(content, source, root).read(on_image)


def person_category(categories: Mapping[int, str], source: str) -> int:
    """Id of the category that is the person: the only one, or the one of that name.

    Raises:
        InputError: several, and none is called "person".
    """
    named = [number for number, name in categories.items() if name == _PERSON["name"]]
    if len(categories) == 1 or named:
        return named[0] if named else next(iter(categories))
    raise InputError(
        f"{source}: none of its categories {dict(categories)} is called 'person'; name those to"
        " read by CLASSES in DATASETS.REGISTER, those to score by category_id"
    )


class _Reader:
    """Reads one file; every method reports what it skips."""

    def __init__(self, content: Mapping[str, Any], source: str, root: Path | None) -> None:
        self.content = content
        self.root = root  # of the images
        counts = (len(content["images"]), len(content.get("annotations", ())))
        tolerated = frozenset({"annotation-id-unique"} if "minival" in source else ())
        self.report = AnnotationReport(source, *counts, tolerated=tolerated)
        # Masks of the whole file are checked in one call: record, key, text and pixels of each.
        self.runs: list[tuple[dict[str, Any], str, str | bytes, int]] = []

    def read(self, on_image: Callable[[int, int], None] | None) -> AnnotationFile:
        categories = self.categories()
        known = self.images()
        images = {number: image for number, image in known.items() if image is not None}
        if self.root is not None:
            self.drop_images(images, missing_files(images, self.root))
            if on_image is not None:
                self.drop_images(images, unreadable_files(images, self.root, on_image))
        sizes = {n: _sides(image) for n, image in images.items()}
        seen: set[int] = set()
        people = []
        for number, record in enumerate(self.content.get("annotations", ()), start=1):
            person = self.person(record, number, known, categories, seen)
            if person is not None and person["image_id"] in sizes:
                self.parts(person, sizes[person["image_id"]])
                people.append(person)
        self.check_runs()
        if not images:
            self.report.add("image-any", f"none of {self.report.num_images} images")
        if not people and "annotations" in self.content:
            self.report.add("annotation-any", f"none of {self.report.num_annotations} annotations")
        self.report.describe(images.values(), people, categories)
        if "annotations" not in self.content:
            self.report.forms.append("no annotations: to predict only, with TRUTH: false")
        return AnnotationFile(list(images.values()), people, categories, self.report)

    def fields(self, record: dict[str, Any], fields: Sequence[Field], name: str) -> bool:
        """Whether all fields hold what they must; whole numbers become int."""
        for key, kind, rule, is_whole in fields:
            value = record.get(key)
            try:
                read = msgspec.convert(value, kind, strict=not is_whole)
            except ValueError as error:
                got = "missing" if key not in record else expectation(value, error)
                self.report.add(rule, f"{name}: {key} {got}")
                return False
            if is_whole:
                record[key] = read
        return True

    def categories(self) -> dict[int, str]:
        found, names = {}, set()
        for number, record in enumerate(self.content["categories"], start=1):
            category = _record(record)
            category.setdefault("name", str(category.get("id")))
            name = f"category number {number}"
            if not self.fields(category, _CATEGORY, name):
                continue
            if category["id"] in found or category["name"] in names:
                shown = f"{category['id']} ({reprlib.repr(category['name'])})"
                self.report.add("category-unique", f"{name}: {shown}")
                continue
            found[category["id"]] = category["name"]
            names.add(category["name"])
        return found

    def images(self) -> dict[int, dict[str, Any] | None]:
        """Images by id, None where the id is all that can be used."""
        known: dict[int, dict[str, Any] | None] = {}
        for number, record in enumerate(self.content["images"], start=1):
            image = _record(record)
            url = image.get("coco_url")
            if "file_name" not in image and isinstance(url, str):
                image["file_name"] = "/".join(url.split("/")[-2:])
            name = f"image number {number}"
            if not self.fields(image, _IMAGE[:1], name):
                continue
            name = f"image {image['id']}"
            if known.get(image["id"]) is not None:
                self.report.add("image-id-unique", f"{name}: number {number} has the id of another")
                continue
            sound = self.image(image, name)
            known[image["id"]] = image if sound else None
        return known

    def image(self, image: dict[str, Any], name: str) -> bool:
        """Whether size, path and label flag can be used; regions to ignore are kept or dropped."""
        flags = [_IS_LABELED] if "is_labeled" in image else []
        _whole_flag(image, "is_labeled")
        if not self.fields(image, (*_IMAGE[1:], *flags), name):
            return False
        try:
            path = Path(image["file_name"])
            inside = ".." not in path.parts and b"\0" not in os.fsencode(path)
            if self.root is not None:  # detectron2's own converter writes whole paths
                inside = inside and (self.root / path).is_relative_to(self.root)
        except UnicodeError:
            inside = False
        shown = f"{image['height']} x {image['width']} px are more than {MOST_PIXELS:,}"
        if not inside:
            shown = f"file_name {reprlib.repr(image['file_name'])} is not a path below the folder"
        if not inside or image["height"] * image["width"] > MOST_PIXELS:
            self.report.add("image-keys", f"{name}: {shown}")
            return False
        self.regions(image, name)
        return True

    def regions(self, image: dict[str, Any], name: str) -> None:
        keys = [field.key for field in _REGIONS_TO_IGNORE]
        if not any(image.get(key) for key in keys):
            return
        sound = self.fields(image, _REGIONS_TO_IGNORE, name)
        if sound:
            x, y = (image[key] for key in keys)
            lengths = [len(polygon) for polygon in x], [len(polygon) for polygon in y]
            text = f"{lengths[0]} values x, {lengths[1]} values y"
            if lengths[0] == lengths[1]:
                text = _outline_problem(zip(x, y, strict=True), _sides(image))
            if text:
                self.report.add("image-ignore-regions", f"{name}: {text}")
            sound = not text
        if not sound:
            _drop(image, keys)

    def drop_images(self, images: dict[int, dict[str, Any]], problems: Iterable[Problem]) -> None:
        for number, rule, text in list(problems):
            self.report.add(rule, f"image {number}: {text}")
            del images[number]

    def person(
        self,
        record: Any,
        number: int,
        images: Mapping[int, dict[str, Any] | None],
        categories: Mapping[int, str],
        seen: set[int],
    ) -> dict[str, Any] | None:
        """Ids, category and box of an annotation; None where they cannot be used."""
        person = _record(record)
        person.setdefault("iscrowd", 0)
        _whole_flag(person, "iscrowd")
        if not self.fields(person, _PERSON_FIELDS, f"annotation number {number}"):
            return None
        name = _name(person)
        if person["id"] in seen:
            self.report.add("annotation-id-unique", name)
        seen.add(person["id"])
        if person["image_id"] not in images:
            self.report.add("image-known", f"{name}: got image_id {person['image_id']}")
            return None
        if person["category_id"] not in categories:
            self.report.add("category-known", f"{name}: got category_id {person['category_id']}")
            return None
        return person if self.box(person, images[person["image_id"]], name) else None

    def box(self, person: dict[str, Any], image: dict[str, Any] | None, name: str) -> bool:
        if not self.fields(person, [_BOX], name):
            return False
        x, y, width, height = person["bbox"]
        shown = f"{name}: got bbox {person['bbox']}"
        if not (width > 0 and height > 0):
            self.report.add("box-form", shown)
            return False
        if image is not None:
            beyond = (x + width - image["width"], y + height - image["height"])
            apart = x >= image["width"] or y >= image["height"] or x + width <= 0 or y + height <= 0
            if apart or width > _FAR * image["width"] or height > _FAR * image["height"]:
                self.report.add("box-in-image", shown)
                return False
            if max(*beyond, -x, -y) > BOX_MARGIN_PX:
                self.report.add("box-inside-image", shown)
        if "area" not in person or not self.fields(person, [_AREA], name):
            person["area"] = float(width * height)
        return True

    def parts(self, person: dict[str, Any], image_size: tuple[int, int]) -> None:
        """Everything that is optional; what breaks a rule is removed from ``person``."""
        name = _name(person)
        if any(key in person for key in (*POINT_KEYS, "dp_vertex")):
            self.points(person, name)
        if not person.get("keypoints") or not self.fields(person, [_KEYPOINTS], name):
            _drop(person, ["keypoints"])
        if not person.get("segmentation") or not self.segmentation(person, image_size, name):
            _drop(person, ["segmentation"])
        if "dp_masks" in person and not self.masks(person, name):
            _drop(person, ["dp_masks"])

    def points(self, person: dict[str, Any], name: str) -> None:
        """Points on charts, on vertices of a mesh, or both, which share dp_x and dp_y."""
        kinds = {"points": _CHARTS, "vertices": _VERTICES}
        if not any(key in person for key in VERTEX_KEYS):
            del kinds["vertices"]
        elif "dp_vertex" in person and not any(field.key in person for field in _CHARTS):
            del kinds["points"]
        placed = self.fields(person, [f for f in _PLACES if f.key in person], name)
        sound = [kind for kind in kinds if placed and self.aligned(person, kind, kinds[kind], name)]
        for kind, fields in (("points", _CHARTS), ("vertices", _VERTICES)):
            if kind not in sound:
                _drop(person, [field.key for field in fields])
        if not sound:
            _drop(person, ("dp_x", "dp_y"))
        elif "points" in sound:
            self.drop_background(person, name)

    def aligned(
        self, person: dict[str, Any], kind: str, fields: Sequence[Field], name: str
    ) -> bool:
        """Whether the fields of a kind of points are all there and as long as dp_x and dp_y."""
        missing = [f.key for f in (*_PLACES, *fields) if f.key not in person]
        if missing:
            self.report.add(f"{kind}-complete", f"{name}: no {', '.join(missing)}")
            return False
        if not self.fields(person, fields, name):
            return False
        keys = [f.key for f in (*_PLACES, *fields) if f.key != "ref_model"]
        lengths = [len(person[key]) for key in keys]
        if len(set(lengths)) > 1:
            self.report.add(f"{kind}-lengths", f"{name}: lengths {lengths} of {', '.join(keys)}")
            return False
        if kind == "vertices":
            last = max(person["dp_vertex"], default=-1)
            if last >= int(person["ref_model"].rpartition("_")[2]):
                self.report.add("vertices-range", f"{name}: got {last} on {person['ref_model']}")
                return False
        return True

    def drop_background(self, person: dict[str, Any], name: str) -> None:
        if 0 in person["dp_I"]:
            kept = [k for k, part in enumerate(person["dp_I"]) if part]
            text = f"{name}: {len(person['dp_I']) - len(kept)} of {len(person['dp_I'])} points"
            self.report.add("points-background", text)
            for key in (*POINT_KEYS, "dp_vertex"):
                if key in person:
                    person[key] = [person[key][k] for k in kept]

    def segmentation(self, person: dict[str, Any], size: tuple[int, int], name: str) -> bool:
        if not self.fields(person, [_SEGMENTATION], name):
            return False
        given = person["segmentation"]
        if isinstance(given, Mapping):
            person["segmentation"] = dict(given)
            return self.mask(person, person["segmentation"], size, "segmentation", name)
        odd = next((p for p in given if len(p) % 2), None)
        problem = f"of an odd number of values: {reprlib.repr(odd)}" if odd else ""
        if problem := problem or _outline_problem(((p[::2], p[1::2]) for p in given), size):
            self.report.add("segmentation-form", f"{name}: got a polygon {problem}")
            return False
        drawn = [polygon for polygon in given if len(polygon) >= 6]
        if len(drawn) < len(given):
            self.report.add("segmentation-short", f"{name}: got {reprlib.repr(given)}")
        person["segmentation"] = drawn
        return bool(drawn)

    def masks(self, person: dict[str, Any], name: str) -> bool:
        given = person["dp_masks"]
        if isinstance(given, list):
            given = person["dp_masks"] = [mask or [] for mask in given]
        if not self.fields(person, [_MASKS], name):
            return False
        listed = [given] if isinstance(given, Mapping) else given
        copies = [dict(mask) if mask else [] for mask in listed]
        person["dp_masks"] = copies[0] if isinstance(given, Mapping) else copies
        grid = (int(ANNOTATION_GRID),) * 2
        return all(self.mask(person, m, grid, "dp_masks", name) for m in copies if m)

    def mask(
        self,
        person: dict[str, Any],
        mask: dict[str, Any],
        size: tuple[int, int],
        key: str,
        name: str,
    ) -> bool:
        """Whether a run-length mask has a size; its runs are checked by ``check_runs``."""
        rule = key.removeprefix("dp_")
        if tuple(mask["size"]) != size:
            text = f"{name}: got {list(mask['size'])}, expected {list(size)} (height, width)"
            self.report.add(f"{rule}-size", text)
            return False
        if isinstance(mask["counts"], list):
            if sum(mask["counts"]) != size[0] * size[1]:
                self.report.add(f"{rule}-runs", f"{name}: the runs do not fill the mask")
                return False
            mask["counts"] = coco_mask.frPyObjects(mask, *size)["counts"].decode("ascii")
        self.runs.append((person, key, mask["counts"], size[0] * size[1]))
        return True

    def check_runs(self) -> None:
        """Remove masks whose run lengths do not fill them."""
        if not self.runs:
            return
        filled = count_pixels([text for _, _, text, _ in self.runs])
        wanted = np.array([pixels for *_, pixels in self.runs])
        for k in np.flatnonzero(filled != wanted).tolist():
            person, key, _, _ = self.runs[k]
            if person.pop(key, None) is not None:
                text = f"{_name(person)}: the runs are damaged or do not fill the mask"
                self.report.add(f"{key.removeprefix('dp_')}-runs", text)


def _record(record: Any) -> dict[str, Any]:
    """A copy of a record without its nulls; empty for what is not a record."""
    return {k: v for k, v in record.items() if v is not None} if isinstance(record, dict) else {}


def _drop(record: dict[str, Any], keys: Sequence[str]) -> None:
    for key in keys:
        record.pop(key, None)


def _name(person: Mapping[str, Any]) -> str:
    return f"annotation {person['id']} of image {person['image_id']}"


def expectation(value: Any, error: ValueError) -> str:
    """What a field holds where it is wrong, and what was expected there."""
    if not isinstance(error, msgspec.ValidationError):
        return f"is {reprlib.repr(value)}, which is not a number"
    expected, _, place = str(error).partition(" - at `$")
    steps = re.findall(r"\[(\d+)\]|\.(\w+)", place)
    for index, key in steps:
        value = value[int(index)] if index else value[key]
    where = f" at {place.rstrip('`')}" if place else ""
    return f"is {reprlib.repr(value)}{where}; {expected.replace('`', '')}"


def _sides(image: Mapping[str, Any]) -> tuple[int, int]:
    return image["height"], image["width"]


def _outline_problem(
    polygons: Iterable[tuple[list[float], list[float]]], size: tuple[int, int]
) -> str:
    """Why drawing polygons (x, y) would take too much memory or time; "" if it does not."""
    side = max(size)
    longest, length = min(_LONGEST_OUTLINE * side, _LONGEST_OUTLINE_PX), 0.0
    for x, y in polygons:
        low, high = min((*x, *y), default=0.0), max((*x, *y), default=0.0)
        if max(high, -low) > _FAR * side:
            return f"far from the image: x {reprlib.repr(x)}, y {reprlib.repr(y)}"
        steps = len(x) * (high - low)  # at most
        if steps > longest:
            corners = np.array([x, y])
            moved = corners - np.roll(corners, 1, axis=1)
            steps = float(np.abs(moved).max(axis=0).sum())
        length += steps
    return f"{length:,.0f} px long, expected at most {longest:,.0f}" if length > longest else ""


def _whole_flag(record: dict[str, Any], key: str) -> None:
    if isinstance(record.get(key), bool):
        record[key] = int(record[key])
