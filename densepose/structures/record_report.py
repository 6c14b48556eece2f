"""The rules that records of an annotation file keep, and the account of how a file keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from densepose.errors import InputError

FIRST_OFFENDERS = 5
# Boxes of which more leave their image mean something else than x, y, w, h.
MOST_OUTSIDE = 0.5


class Rule(NamedTuple):
    """One requirement, and what is skipped where it is broken ("nothing": the record is used)."""

    expected: str
    skipped: str


RULES = {
    "image-any": Rule("an image of the file can be used", "everything"),
    "image-keys": Rule(
        "an image has id, file_name (a path below the folder), height and width above 0 of at most"
        " 178,956,970 px together, and is_labeled, if at all, as 0 or 1",
        "the image and its people",
    ),
    "image-id-unique": Rule("no two images share an id", "the second image"),
    "image-file": Rule("the image file exists", "the image and its people"),
    "image-readable": Rule(
        "the image file is whole and of the annotated size", "the image and its people"
    ),
    "image-ignore-regions": Rule(
        "ignore_regions_x and ignore_regions_y are lists of polygons of the same lengths, of three"
        " or more points each, at or in the image",
        "the regions",
    ),
    "category-keys": Rule("a category has id and name", "the category"),
    "category-unique": Rule("no two categories share an id or a name", "the second category"),
    "annotation-keys": Rule("an annotation has id, image_id, category_id and bbox", "the person"),
    "annotation-crowd": Rule("iscrowd is 0 or 1", "the person"),
    "annotation-id-unique": Rule(
        "no two annotations share an id (number them from 1 on; upstream's rules score the last one"
        " of an id in place of the others)",
        "nothing",
    ),
    "annotation-any": Rule("an annotation of the file can be used", "nothing"),
    "image-known": Rule("image_id names an image of the file", "the person"),
    "category-known": Rule("category_id names a category of the file", "the annotation"),
    "box-form": Rule("bbox is four finite numbers x, y, w, h with w, h > 0", "the person"),
    "box-in-image": Rule("the box overlaps the image and is not ten times as large", "the person"),
    "box-inside-image": Rule(
        "the box ends at most 2 px outside the image (many that do not: are they corners x0, y0,"
        " x1, y1 instead of x, y, w, h?)",
        "nothing",
    ),
    "area-form": Rule("area is a number of 0 or more", "the area; that of the box counts"),
    "points-complete": Rule(
        "dp_x, dp_y, dp_I, dp_U and dp_V come together", "the points of the person"
    ),
    "points-lengths": Rule(
        "dp_x, dp_y, dp_I, dp_U and dp_V have equal lengths", "the points of the person"
    ),
    "points-part": Rule("dp_I is a whole number in 1..24", "the points of the person"),
    "points-background": Rule("dp_I is above 0", "the points with 0, which are on no part"),
    "points-uv": Rule("dp_U and dp_V lie in [0, 1]", "the points of the person"),
    "points-grid": Rule("dp_x and dp_y lie in [0, 256]", "the points of the person"),
    "vertices-complete": Rule(
        "dp_x, dp_y, dp_vertex and ref_model come together", "the vertices of the person"
    ),
    "vertices-mesh": Rule(
        "ref_model names a mesh and ends in its number of vertices, as smpl_27554 does",
        "the vertices of the person",
    ),
    "vertices-lengths": Rule(
        "dp_x, dp_y and dp_vertex have equal lengths", "the vertices of the person"
    ),
    "vertices-range": Rule(
        "dp_vertex is a whole number from 0 to one below the mesh's number of vertices",
        "the vertices of the person",
    ),
    "masks-form": Rule(
        'dp_masks is a list of 14 entries, each {"counts": text, "size": ...} or [], or one such'
        " entry for the whole person",
        "the part masks of the person",
    ),
    "masks-size": Rule('"size" of a part mask is [256, 256]', "the part masks of the person"),
    "masks-runs": Rule(
        "the run lengths of a part mask fill 256 x 256 pixels", "the part masks of the person"
    ),
    "segmentation-form": Rule(
        "segmentation is a run-length mask, or polygons x, y, x, y, ... of finite numbers at or in"
        " the image",
        "the segmentation",
    ),
    "segmentation-short": Rule("a polygon has at least three points", "the polygon"),
    "segmentation-size": Rule(
        '"size" of a segmentation is [height, width] of its image', "the segmentation"
    ),
    "segmentation-runs": Rule(
        "the run lengths of a segmentation fill its image", "the segmentation"
    ),
    "keypoints-form": Rule(
        "keypoints are three finite numbers (x, y, visibility) for each of 17 keypoints",
        "the keypoints of the person",
    ),
}
# Breaking them costs nothing that anybody annotated.
_HARMLESS = frozenset({"box-inside-image", "points-background", "segmentation-short"})
# Names of a frame of a video in the file, and in detectron2's records.
FRAME_KEYS = {"vid_id": "video_id", "frame_id": "frame_id", "is_labeled": "is_labeled"}


@dataclass
class AnnotationReport:
    """What was found in one file; ``counts`` and ``offenders`` speak of broken rules only."""

    source: str
    num_images: int
    num_annotations: int
    # rules that are not an error in this file, however often they are broken
    tolerated: frozenset[str] = frozenset()
    # Of the people who can be used:
    people: int = 0
    num_points: int = 0  # on charts
    served: dict[str, int] = field(default_factory=dict)  # people by what is annotated
    forms: list[str] = field(default_factory=list)  # what sets the file apart, in words
    counts: Counter[str] = field(default_factory=Counter)
    offenders: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, text: str) -> None:
        """Count a broken rule; the first offenders are kept by name."""
        self.counts[rule] += 1
        listed = self.offenders.setdefault(rule, [])
        if len(listed) < FIRST_OFFENDERS:
            listed.append(text)

    def describe(
        self,
        images: Iterable[Mapping[str, Any]],
        people: Sequence[Mapping[str, Any]],
        categories: Mapping[int, str],
    ) -> None:
        """Count what is annotated in the records that can be used."""
        self.people = len(people)
        self.num_points = sum(len(person.get("dp_I", ())) for person in people)
        self.served = {
            "points": sum(bool(person.get("dp_I")) for person in people),
            "vertices": sum(bool(person.get("dp_vertex")) for person in people),
            "part_masks": sum("dp_masks" in person for person in people),
            "segmentation": sum("segmentation" in person for person in people),
            "keypoints": sum("keypoints" in person for person in people),
            "crowds": sum(person["iscrowd"] for person in people),
        }
        self.forms = _forms(list(images), people)
        if len(categories) > 1 and "person" not in categories.values():
            named = ", ".join(f"{number} ({name})" for number, name in list(categories.items())[:8])
            self.forms.append(
                f"no category is called person, the first are {named}; name those to read by"
                " CLASSES in DATASETS.REGISTER"
            )

    @property
    def errors(self) -> list[str]:
        """Broken rules that cost data or make ids ambiguous, the most frequent first."""
        harmless = set(_HARMLESS | self.tolerated)
        if self.counts["box-inside-image"] > MOST_OUTSIDE * max(self.people, 1):
            harmless.discard("box-inside-image")
        return [rule for rule, _ in self.counts.most_common() if rule not in harmless]

    def require_all(self, *, on_bad: str = "warn", strict: bool = True) -> None:
        """Refuse a file that scores cannot be computed of: what is skipped would change them.

        Args:
            on_bad: "warn" accepts images whose file is missing; they are not scored.
            strict: refuse repeated ids and no image at all, as loading for training does.

        Raises:
            InputError: with the summary.
        """
        tolerated = {"annotation-any"}  # gives no scores, and a warning
        tolerated |= set() if strict else {"annotation-id-unique", "image-any"}
        tolerated |= {"image-file"} if on_bad == "warn" else set()
        if not tolerated.issuperset(self.errors):
            raise InputError(f"no annotation may be skipped in an evaluation: {self.summary()}")

    def summary(self) -> str:
        """All findings in one text: rule, count, what is skipped and the first offenders."""
        served = self.served
        head = (
            f"{self.source}: {self.num_images} images, {self.num_annotations} annotations,"
            f" {served['points']} people with {self.num_points} points,"
            f" {served['part_masks']} people with part masks, {served['segmentation']} with"
            f" segmentation, {served['keypoints']} with keypoints, {served['crowds']} crowds"
        )
        forms = [f"  {form}" for form in self.forms]
        if not self.counts:
            return "\n".join([f"{head}; every rule is kept", *forms])
        lines = [f"{head}; broken rules:", *forms]
        for rule, count in self.counts.most_common():
            expected, skipped = RULES[rule]
            lines.append(f"  {rule}: {count} x; expected: {expected}; skipped: {skipped}")
            more = [f"... and {count - FIRST_OFFENDERS} more"] if count > FIRST_OFFENDERS else []
            lines += [f"    {text}" for text in [*self.offenders[rule], *more]]
        if self.errors:
            lines.append("  correct these records; the format is described in datasets/README.md")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for a JSON file."""
        return {
            "source": self.source,
            "images": self.num_images,
            "annotations": self.num_annotations,
            "points": self.num_points,
            **{f"people_with_{key}": count for key, count in self.served.items()},
            "forms": self.forms,
            "errors": self.errors,
            "rules": {
                rule: {
                    "count": count,
                    "expected": RULES[rule].expected,
                    "skipped": RULES[rule].skipped,
                    "first": self.offenders[rule],
                }
                for rule, count in self.counts.most_common()
            },
        }


def _forms(images: Sequence[Mapping[str, Any]], people: Sequence[Mapping[str, Any]]) -> list[str]:
    """What sets a file apart from DensePose-COCO, one line a form."""
    lines = []
    videos = {repr(image["vid_id"]) for image in images if "vid_id" in image}
    regions = sum(bool(image.get("ignore_regions_x")) for image in images)
    if videos or regions:
        tracks = {repr(person["track_id"]) for person in people if "track_id" in person}
        bare = sum(not image.get("is_labeled", True) for image in images)
        lines.append(
            f"frames of {len(videos)} videos, {len(tracks)} track ids, {regions} images with"
            f" regions to ignore, {bare} images that are not labelled (skipped in training)"
        )
    meshes = Counter(person["ref_model"] for person in people if "dp_vertex" in person)
    if meshes:
        alone = sum("dp_vertex" in person and "dp_I" not in person for person in people)
        named = ", ".join(f"{count} on {name}" for name, count in meshes.most_common())
        lines.append(
            f"points on vertices of a mesh: {named} people; {alone} of them without charts, which"
            " chart models use for boxes and masks only"
        )
    whole = sum(isinstance(person.get("dp_masks"), dict) for person in people)
    if whole:
        lines.append(f"one mask for the whole body instead of part masks: {whole} people")
    if images and all("coco_url" in i and "/" in i["file_name"] for i in images):
        lines.append("images below the folder of their split, as in LVIS (train2017/, val2017/)")
    return lines
