"""Greedy matching of detections to people, as in COCO, for several similarities and areas at once.

Shapes: M similarities, A area ranges, T thresholds, D detections and G people of one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Quirks = Literal["upstream", "fixed"]
QUIRKS: tuple[Quirks, ...] = ("upstream", "fixed")

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
class ImageMatches:
    """The outcome for the detections of one image, best score first."""

    scores: np.ndarray  # (D,) float64, descending
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


def match_image(
    similarity: np.ndarray,
    box_iou: np.ndarray,
    *,
    scores: np.ndarray,
    detection_areas_px: np.ndarray,
    ignored_people: np.ndarray,
    crowd: np.ndarray,
    people_areas_px: np.ndarray,
    annotation_ids: np.ndarray,
    thresholds: np.ndarray,
    quirks: Quirks = "upstream",
) -> ImageMatches:
    """Match the detections of one image, best score first, each to at most one person.

    A detection takes the free person it is most similar to, at or above the threshold; people that
    count come before ignored ones; of equal similarities the last in the file wins. A detection
    that found nobody, but whose box is the box of an ignored person (IoU >= 0.8), is ignored. Where
    nobody in the image counts, all its detections are ignored.

    ``quirks="upstream"`` gives the numbers of detectron2's evaluator: the last rule looks at the
    matches of the highest threshold and then speaks for all thresholds, so it can withdraw matches
    of lower ones; and a person with annotation id 0 cannot be matched. ``"fixed"`` applies the rule
    to each threshold by itself and treats id 0 like any other.

    Args:
        similarity: (M, D, G), detections best score first.
        box_iou: (D, G) overlap of the boxes.
        scores: (D,) descending.
        detection_areas_px: (D,).
        ignored_people: (G,) bool: not annotated for DensePose.
        crowd: (G,) bool: may be matched more than once.
        people_areas_px: (G,) annotated areas.
        annotation_ids: (G,).
        thresholds: (T,).
        quirks: see above.

    Raises:
        ValueError: the detections are not sorted, or ``quirks`` is unknown.
    """
    if quirks not in QUIRKS:
        raise ValueError(f"quirks must be one of {QUIRKS}, got {quirks!r}")
    if np.any(np.diff(scores) > 0):
        raise ValueError("detections must be sorted by descending score")
    low, high = np.array(list(AREA_RANGES_PX.values())).T[:, :, None]
    ignored_gt = ignored_people | (people_areas_px < low) | (people_areas_px > high)  # (A, G)
    shape = (len(similarity), len(low), len(thresholds))
    matched = np.zeros((*shape, len(scores)), bool)
    ignored = np.zeros_like(matched)
    ignored[:, ignored_gt.all(axis=1)] = True
    if len(scores) and len(crowd):
        matchable = np.ones(len(crowd), bool) if quirks == "fixed" else annotation_ids != 0
        taken = np.zeros((*shape, len(crowd)), bool)
        _match_by_similarity(
            similarity, ignored_gt, crowd, matchable, thresholds, taken, matched, ignored
        )
        by_box = _ignore_by_box_as_published if quirks == "upstream" else _ignore_by_box
        by_box(box_iou, ignored_gt, crowd, taken, matched, ignored)
    outside = (detection_areas_px < low) | (detection_areas_px > high)  # (A, D)
    ignored |= ~matched & outside[None, :, None]
    return ImageMatches(scores, matched, ignored, (~ignored_gt).sum(axis=1))


def match_by_box(box_iou: np.ndarray, minimum: float = 0.5) -> np.ndarray:
    """Detection of each person by boxes alone: (D, G) overlaps -> (G,) index or -1.

    Detections come best score first; each in turn takes the free person it overlaps most, at least
    ``minimum``.
    """
    detection = np.full(box_iou.shape[1], -1)
    for index, overlaps in enumerate(box_iou):
        free = np.where(detection < 0, overlaps, -1.0)
        if len(free) and free.max() >= minimum:
            detection[free.argmax()] = index
    return detection


def _match_by_similarity(
    similarity: np.ndarray,
    ignored_gt: np.ndarray,
    crowd: np.ndarray,
    matchable: np.ndarray,
    thresholds: np.ndarray,
    taken: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
) -> None:
    """Fill ``taken`` (M, A, T, G), ``matched`` and ``ignored`` (M, A, T, D)."""
    reach = np.minimum(thresholds, 1 - 1e-10)[:, None]
    is_ignored = np.broadcast_to(ignored_gt[None, :, None], taken.shape)
    for index in range(similarity.shape[1]):
        value = np.broadcast_to(similarity[:, None, None, index], taken.shape)
        fits = (value >= reach) & (value > 0) & (~taken | crowd)
        counted = _last_largest(value, fits & ~is_ignored)
        other = _last_largest(value, fits & is_ignored)
        person = np.where(counted >= 0, counted, other)
        found = person >= 0
        taken[(*np.nonzero(found), person[found])] = True
        matched[..., index] = found & matchable[person]
        ignored[..., index] = np.where(found, counted < 0, ignored[..., index])


def _ignore_by_box_as_published(
    box_iou: np.ndarray,
    ignored_gt: np.ndarray,
    crowd: np.ndarray,
    taken: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
) -> None:
    """The box rule with the state of the last threshold for all of them."""
    for index, overlaps in enumerate(box_iou):
        free = ~taken[:, :, -1] | crowd  # (M, A, G)
        person, is_ignored = _person_in_box(overlaps, free, ignored_gt[None])
        found = (person >= 0) & ~matched[:, :, -1, index]
        ignored[..., index] = np.where(found[..., None], is_ignored[..., None], ignored[..., index])
        absorbed = found & is_ignored
        taken[(*np.nonzero(absorbed), -1, person[absorbed])] = True
        matched[:, :, -1, index] |= absorbed


def _ignore_by_box(
    box_iou: np.ndarray,
    ignored_gt: np.ndarray,
    crowd: np.ndarray,
    taken: np.ndarray,
    matched: np.ndarray,
    ignored: np.ndarray,
) -> None:
    """The box rule at each threshold by itself."""
    for index, overlaps in enumerate(box_iou):
        person, is_ignored = _person_in_box(overlaps, ~taken | crowd, ignored_gt[None, :, None])
        absorbed = (person >= 0) & is_ignored & ~matched[..., index]
        ignored[..., index] |= absorbed
        taken[(*np.nonzero(absorbed), person[absorbed])] = True


def _person_in_box(
    overlaps: np.ndarray, free: np.ndarray, ignored_gt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Free person whose box a detection covers best, and whether they are ignored.

    overlaps (G,), free (..., G), ignored_gt broadcast to it -> (...,) index or -1, (...,) bool.
    Of equal overlaps an ignored person wins.
    """
    value = np.broadcast_to(overlaps, free.shape)
    fits = free & (value >= IGNORED_BOX_IOU)
    counted = _last_largest(value, fits & ~ignored_gt)
    other = _last_largest(value, fits & ignored_gt)
    better = (other >= 0) & ((counted < 0) | (overlaps[other] >= overlaps[counted]))
    return np.where(better, other, counted), better


def _last_largest(value: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(..., G) -> (...,) index of the largest selected value, the last of equals; -1 if none."""
    from_last = np.where(where, value, -1.0)[..., ::-1].argmax(axis=-1)
    return np.where(where.any(axis=-1), value.shape[-1] - 1 - from_last, -1)
