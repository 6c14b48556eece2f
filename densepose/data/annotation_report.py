"""The rules a DensePose-COCO file has to follow, and the account of how a file follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

FIRST_OFFENDERS = 5


class Rule(NamedTuple):
    """One requirement, and what is left out where it is broken ("nothing": the record is used)."""

    expected: str
    left_out: str


RULES = {
    "image-keys": Rule(
        "an image has id, file_name, and height and width above 0", "the image and its people"
    ),
    "image-id-unique": Rule("no two images share an id", "the second image"),
    "image-file": Rule("the image file exists", "the image and its people"),
    "image-ignore-regions": Rule(
        "ignore_regions_x and ignore_regions_y are lists of polygons of the same lengths, of three"
        " or more points each",
        "nothing, but evaluation may refuse the file",
    ),
    "annotation-keys": Rule("an annotation has id, image_id, category_id and bbox", "the person"),
    "annotation-id-unique": Rule("no two annotations share an id", "nothing"),
    "image-known": Rule("image_id names an image of the file", "the person"),
    "category-known": Rule("category_id is one of the classes that are read", "the annotation"),
    "box-form": Rule("bbox is four finite numbers x, y, w, h with w, h > 0", "the person"),
    "box-in-image": Rule("the box overlaps the image", "the person"),
    "box-inside-image": Rule("the box ends at most 2 px outside the image", "nothing"),
    "points-complete": Rule(
        "dp_x, dp_y, dp_I, dp_U and dp_V are lists and come together", "the points of the person"
    ),
    "points-lengths": Rule(
        "dp_x, dp_y, dp_I, dp_U and dp_V have equal lengths", "the points of the person"
    ),
    "points-numbers": Rule("point values are finite numbers", "the points of the person"),
    "points-part": Rule("dp_I is a whole number in 1..24", "the points of the person"),
    "points-uv": Rule("dp_U and dp_V lie in [0, 1]", "the points of the person"),
    "points-grid": Rule("dp_x and dp_y lie in [0, 256]", "the points of the person"),
    "vertices-complete": Rule(
        "dp_x, dp_y and dp_vertex are lists and come together, with ref_model",
        "the vertices of the person",
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
        "the run-length string of a part mask fills 256 x 256 pixels",
        "the part masks of the person",
    ),
    "segmentation-form": Rule(
        "segmentation is a run-length mask or polygons of at least three points (x, y)",
        "what is no polygon",
    ),
    "keypoints-form": Rule(
        "keypoints are three finite numbers (x, y, visibility) for each keypoint",
        "the keypoints of the person",
    ),
}


def name_of(record: Any) -> str:
    """How messages name an annotation, even one that is no record."""
    if not isinstance(record, dict):
        return "an annotation without id"
    return f"annotation {record.get('id')} of image {record.get('image_id')}"


@dataclass
class AnnotationReport:
    """What was found in one file; ``counts`` and ``offenders`` speak of broken rules only.

    Shapes: I images and A annotations, in the order of the file.
    """

    source: str
    num_images: int
    num_annotations: int
    drop_image: np.ndarray  # (I,) bool
    drop_annotation: np.ndarray  # (A,) bool, besides people of images that are left out
    drop_points: np.ndarray  # (A,) bool
    drop_masks: np.ndarray  # (A,) bool
    drop_keypoints: np.ndarray  # (A,) bool
    drop_vertices: np.ndarray  # (A,) bool
    tolerated: frozenset[str] = (
        frozenset()
    )  # rules that are no error in this file, however often they are broken
    num_points: int = 0  # annotated points whose record can be used
    num_with_points: int = 0
    num_with_vertices: int = 0  # people with points on vertices of a mesh
    num_with_masks: int = 0
    forms: list[str] = field(default_factory=list)  # what sets the file apart, in words
    counts: Counter[str] = field(default_factory=Counter)
    offenders: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, broken: np.ndarray, describe: Callable[[int], str]) -> None:
        """Count the records ``broken`` (K,) and describe the first of them."""
        if not len(broken):
            return
        self.counts[rule] += len(broken)
        listed = self.offenders.setdefault(rule, [])
        listed += [describe(int(index)) for index in broken[: FIRST_OFFENDERS - len(listed)]]

    @property
    def errors(self) -> list[str]:
        """Broken rules that cost data or make ids ambiguous, the most frequent first."""
        return [
            rule
            for rule, _ in self.counts.most_common()
            if rule not in self.tolerated and rule != "box-inside-image"
        ]

    def summary(self) -> str:
        """All findings in one text: rule, count, what is left out and the first offenders."""
        head = (
            f"{self.source}: {self.num_images} images, {self.num_annotations} annotations,"
            f" {self.num_with_points} people with {self.num_points} points,"
            f" {self.num_with_masks} people with part masks"
        )
        forms = [f"  {form}" for form in self.forms]
        if not self.counts:
            return "\n".join([f"{head}; every rule is kept", *forms])
        lines = [f"{head}; broken rules:", *forms]
        for rule, count in self.counts.most_common():
            expected, left_out = RULES[rule]
            lines.append(f"  {rule}: {count} x; expected: {expected}; left out: {left_out}")
            more = [f"... and {count - FIRST_OFFENDERS} more"] if count > FIRST_OFFENDERS else []
            lines += [f"    {text}" for text in [*self.offenders[rule], *more]]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for a JSON file."""
        return {
            "source": self.source,
            "images": self.num_images,
            "annotations": self.num_annotations,
            "people_with_points": self.num_with_points,
            "points": self.num_points,
            "people_with_vertices": self.num_with_vertices,
            "people_with_part_masks": self.num_with_masks,
            "forms": self.forms,
            "rules": {
                rule: {
                    "count": count,
                    "expected": RULES[rule].expected,
                    "left_out": RULES[rule].left_out,
                    "first": self.offenders[rule],
                }
                for rule, count in self.counts.most_common()
            },
        }
