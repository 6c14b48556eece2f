"""Greedy matching of detections to people, as in COCO, for several similarities and areas at once.

Shapes: M similarities, A area ranges, T thresholds; D detections, G people and N pairs of several
images, see ``image_pairs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import match_kernels
from .image_pairs import ImagePairs

Quirks = Literal["upstream", "fixed"]
QUIRKS: tuple[Quirks, ...] = ("upstream", "fixed")
Protocol = Literal["multi", "single"]
PROTOCOLS: tuple[Protocol, ...] = ("multi", "single")

# Area ranges of COCO in square pixels; DensePose leaves out "small".
AREA_RANGES_PX = {
    "all": (0.0, 1e5**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
MAX_DETECTIONS = 20
# A detection that matches nobody is left out where its box is, to this IoU, an ignored person's.
IGNORED_BOX_IOU = 0.8


@dataclass(frozen=True)
class Matches:
    """The outcome for the detections of some images."""

    scores: np.ndarray  # (D,) float64
    matched: np.ndarray  # (M, A, T, D) bool
    ignored: np.ndarray  # (M, A, T, D) bool: counts neither as right nor as wrong
    num_people: np.ndarray  # (A,) int64: people that count


def similarity_thresholds(minimum: float = 0.5) -> np.ndarray:
    """(T,) thresholds from ``minimum`` to 0.95 in steps of 0.05.

    Raises:
        ValueError: ``minimum`` is not in (0, 0.95].
    """
    if not 0 < minimum <= 0.95:
        raise ValueError(f"the smallest threshold must be in (0, 0.95], got {minimum}")
    return np.linspace(minimum, 0.95, int(np.round((0.95 - minimum) / 0.05)) + 1)


def match_images(
    pairs: ImagePairs,
    similarity: np.ndarray,
    box_iou: np.ndarray,
    *,
    thresholds: np.ndarray,
    quirks: Quirks = "upstream",
) -> Matches:
    """Match the detections of each image, best score first, each to at most one person.

    A detection takes the free person it is most similar to, at or above the threshold; people that
    count come before ignored ones; of equal similarities the last in the file wins. A detection
    that found nobody, but whose box is the box of an ignored person (IoU >= 0.8), is ignored. Where
    nobody in the image counts, all its detections are ignored. People without DensePose points, or
    with an area outside the range, are ignored; a crowd may be matched more than once.

    ``quirks="upstream"`` gives the numbers of detectron2's evaluator: the last rule looks at the
    matches of the highest threshold and then speaks for all thresholds, so it can withdraw matches
    of lower ones; and a person with annotation id 0 cannot be matched. ``"fixed"`` applies the rule
    to each threshold by itself and treats id 0 like any other.

    Args:
        pairs: people, and detections best score first.
        similarity: (M, N).
        box_iou: (N,) overlap of the boxes.
        thresholds: (T,).
        quirks: see above.

    Raises:
        ValueError: the detections are not sorted, or ``quirks`` is unknown.
    """
    if quirks not in QUIRKS:
        raise ValueError(f"quirks must be one of {QUIRKS}, got {quirks!r}")
    people, detections = pairs.people, pairs.detections
    if np.any((np.diff(detections.scores) > 0) & (np.diff(detections.image) == 0)):
        raise ValueError("the detections of an image must be sorted by descending score")
    low, high = np.array(list(AREA_RANGES_PX.values())).T[:, :, None]
    ignored_people = ~people.has_points | (people.areas_px < low) | (people.areas_px > high)
    shape = (len(similarity), len(low), len(thresholds), len(detections))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    match_kernels.match_images(
        *(pairs.first_detection, pairs.first_person, pairs.first_pair),
        np.ascontiguousarray(similarity, np.float64),
        box_iou,
        ignored_people,
        people.crowd,
        (people.annotation_ids != 0) | (quirks == "fixed"),
        thresholds,
        IGNORED_BOX_IOU,
        quirks == "upstream",
        matched,
        ignored,
    )
    areas_px = detections.boxes_xywh_px[:, 2] * detections.boxes_xywh_px[:, 3]
    outside = (areas_px < low) | (areas_px > high)  # (A, D)
    ignored |= ~matched & outside[None, :, None]
    return Matches(detections.scores, matched, ignored, (~ignored_people).sum(axis=1))


def join_matches(parts: Sequence[Matches], order: np.ndarray | None = None) -> Matches:
    """The matches of all images together.

    Args:
        parts: at least one, of the same similarities and thresholds.
        order: (D,) how to sort the detections of all parts; as they come if None.
    """
    scores = np.concatenate([part.scores for part in parts])
    order = np.arange(len(scores)) if order is None else order
    return Matches(
        scores[order],
        np.concatenate([part.matched for part in parts], axis=-1)[..., order],
        np.concatenate([part.ignored for part in parts], axis=-1)[..., order],
        np.sum([part.num_people for part in parts], axis=0),
    )


def match_by_box(
    pairs: ImagePairs, box_iou: np.ndarray, minimum: float = 0.5, *, protocol: Protocol = "multi"
) -> np.ndarray:
    """Pair of each person by boxes alone: (N,) overlaps -> (G,) index of a pair or -1.

    One to one, with an overlap of at least ``minimum``; crowds are matched with nobody.

    Args:
        pairs: people, and detections best score first.
        box_iou: (N,).
        minimum: smallest overlap.
        protocol: "multi": detections in turn, best score first, take the free person they overlap
            most. "single": pairs are taken largest overlap first, whatever the scores, so that a
            prediction made for an annotated box goes to the person of that box.

    Raises:
        ValueError: an unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {PROTOCOLS}, got {protocol!r}")
    pair = np.full(len(pairs.people), -1)
    overlap = np.where(pairs.people.crowd[pairs.person], 0.0, box_iou)
    if protocol == "single":
        order, taken = np.argsort(-overlap, kind="stable"), np.zeros(len(pairs.detections), bool)
        match_kernels.match_nearest_boxes(
            order, pairs.detection, pairs.person, overlap, minimum, taken, pair
        )
    else:
        first = (pairs.first_detection, pairs.first_person, pairs.first_pair)
        match_kernels.match_by_box(*first, overlap, minimum, pair)
    return pair
