"""Greedy matching of detections to people, as in COCO, and the tables of AP that follow from it.

Shapes: M similarities, A area ranges, T thresholds; D detections, G people and N pairs of several
images, see ``pairs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from densepose.errors import InputError

from .metrics import precision_recall
from .pairs import ImagePairs

Quirks = Literal["upstream", "fixed"]
QUIRKS: tuple[Quirks, ...] = ("upstream", "fixed")
Protocol = Literal["multi", "single"]
PROTOCOLS: tuple[Protocol, ...] = ("multi", "single")

# Area ranges of COCO in square pixels; DensePose has no "small".
AREA_RANGES_PX = {
    "all": (0.0, 1e5**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
MAX_DETECTIONS = 20
# An unmatched detection is ignored where its box is, to this IoU, an ignored person's.
IGNORED_BOX_IOU = 0.8
# Single thresholds that are reported, where they are evaluated.
_SINGLE_THRESHOLDS = (20, 30, 40, 50, 75)
# Box IoU from which on a detection can be a person's in all scores but AP and AR.
MIN_BOX_IOU = 0.5


@dataclass(frozen=True)
class Matches:
    """The outcome for the detections of some images."""

    image_ids: np.ndarray  # (D,) int64
    scores: np.ndarray  # (D,) float64
    matched: np.ndarray  # (M, A, T, D) bool
    ignored: np.ndarray  # (M, A, T, D) bool: counts neither as right nor as wrong
    num_people: np.ndarray  # (A,) int64: people that count


def similarity_thresholds(minimum: float = 0.5) -> np.ndarray:
    """(T,) thresholds from ``minimum`` to 0.95 in steps of 0.05.

    Raises:
        InputError: ``minimum`` is not in (0, 0.95].
    """
    if not 0 < minimum <= 0.95:
        raise InputError(f"the smallest threshold must be in (0, 0.95], got {minimum}")
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
    that matches no person, but whose box is the box of an ignored person (IoU >= 0.8), is ignored.
    Where no person of the image counts, all its detections are ignored. People without DensePose
    points, or with an area outside the range, are ignored; a crowd may be matched more than once.

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
        ValueError: the detections are not sorted.
    """
    people, detections = pairs.people, pairs.detections
    if np.any((np.diff(detections.scores) > 0) & (np.diff(detections.image) == 0)):
        raise ValueError("the detections of an image must be sorted by descending score")
    low, high = np.array(list(AREA_RANGES_PX.values())).T[:, :, None]
    ignored_people = ~people.has_points | (people.areas_px < low) | (people.areas_px > high)
    matchable = (people.annotation_ids != 0) | (quirks == "fixed")
    shape = (len(similarity), len(low), len(thresholds), len(detections))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    similarity = np.ascontiguousarray(similarity, np.float64)
    bounds = zip(pairs.first_detection, people.first_person, pairs.first_pair, strict=True)
    bounds = [[int(place) for place in places] for places in bounds]
    for (d0, g0, k0), (d1, g1, k1) in zip(bounds[:-1], bounds[1:], strict=True):
        _match_image(
            similarity[:, k0:k1].reshape(len(similarity), d1 - d0, g1 - g0),
            box_iou[k0:k1].reshape(d1 - d0, g1 - g0),
            _People(ignored_people[:, g0:g1], people.crowd[g0:g1], matchable[g0:g1]),
            thresholds,
            quirks == "upstream",
            _Outcome(matched[..., d0:d1], ignored[..., d0:d1]),
        )
    areas_px = detections.boxes_xywh_px[:, 2] * detections.boxes_xywh_px[:, 3]
    outside = (areas_px < low) | (areas_px > high)  # (A, D)
    ignored |= ~matched & outside[None, :, None]
    image_ids = np.array(people.image_ids, np.int64)[detections.image]
    num_people = (~ignored_people).sum(axis=1)
    return Matches(image_ids, detections.scores, matched, ignored, num_people)


def join_matches(parts: Sequence[Matches]) -> Matches:
    """The matches of all images together, image ids ascending.

    Args:
        parts: at least one, of the same similarities and thresholds, in any order of images.
    """
    image_ids = np.concatenate([part.image_ids for part in parts])
    order = np.argsort(image_ids, kind="stable")
    return Matches(
        image_ids[order],
        np.concatenate([part.scores for part in parts])[order],
        np.concatenate([part.matched for part in parts], axis=-1)[..., order],
        np.concatenate([part.ignored for part in parts], axis=-1)[..., order],
        np.sum([part.num_people for part in parts], axis=0),
    )


def average_precision_table(
    matches: Matches, similarity_index: int, thresholds: np.ndarray
) -> dict[str, float]:
    """AP AP50 AP75 APm APl AR AR50 AR75 ARm ARl in percent.

    Args:
        matches: of all images, in the order of their ids: of equal scores the earlier counts first.
        similarity_index: which of the M similarities.
        thresholds: (T,) those of the matches. Below 0.5 they add AP20, AP30, AP40.

    Returns:
        Name -> percent; NaN without people in the area range.
    """
    order = np.argsort(-matches.scores, kind="stable")
    precision, recall = {}, {}
    for area, name in enumerate(AREA_RANGES_PX):
        precision[name], recall[name] = precision_recall(
            matches.matched[similarity_index, area][:, order],
            matches.ignored[similarity_index, area][:, order],
            int(matches.num_people[area]),
        )
    single = {n: np.abs(thresholds - n / 100) < 1e-3 for n in _SINGLE_THRESHOLDS}
    single = {n: at for n, at in single.items() if at.any()}
    table = {"AP": precision["all"]}
    table |= {f"AP{n}": precision["all"][at] for n, at in single.items()}
    table |= {"APm": precision["medium"], "APl": precision["large"], "AR": recall["all"]}
    # The published tables have no AR below 0.5.
    table |= {f"AR{n}": recall["all"][at] for n, at in single.items() if n >= 50}
    table |= {"ARm": recall["medium"], "ARl": recall["large"]}
    return {name: float(np.mean(values.ravel()) * 100) for name, values in table.items()}


def match_by_box(
    pairs: ImagePairs,
    box_iou: np.ndarray,
    *,
    protocol: Protocol = "multi",
) -> np.ndarray:
    """Pair of each person by boxes alone: (N,) overlaps -> (G,) index of a pair or -1.

    One to one, with an overlap of at least MIN_BOX_IOU; crowds are never matched.

    Args:
        pairs: people, and detections best score first.
        box_iou: (N,).
        protocol: "multi": detections in turn, best score first, take the free person they overlap
            most. "single": pairs are taken largest overlap first, whatever the scores, so that a
            prediction made for an annotated box goes to the person of that box.
    """
    overlap = np.where(pairs.people.crowd[pairs.person], 0.0, box_iou)
    by_overlap = np.argsort(-overlap, kind="stable")
    if protocol == "multi":
        by_overlap = by_overlap[np.argsort(pairs.detection[by_overlap], kind="stable")]
    candidates = by_overlap[overlap[by_overlap] >= MIN_BOX_IOU]
    pair_of_person = np.full(len(pairs.people), -1)
    matched_detections = set()
    for pair in candidates.tolist():
        detection, person = int(pairs.detection[pair]), int(pairs.person[pair])
        if detection not in matched_detections and pair_of_person[person] < 0:
            matched_detections.add(detection)
            pair_of_person[person] = pair
    return pair_of_person


class _People(NamedTuple):
    """The people of one image."""

    skipped: np.ndarray  # (A, G) bool: do not count in an area range
    crowd: np.ndarray  # (G,) bool
    matchable: np.ndarray  # (G,) bool: a match with this person is one


class _Outcome(NamedTuple):
    """Of the detections of one image; False at first."""

    matched: np.ndarray  # (M, A, T, D) bool
    ignored: np.ndarray  # (M, A, T, D) bool


@njit(nogil=True, cache=True)
def _match_image(similarity, overlaps, people, thresholds, as_published, outcome):
    """Fill the outcome from similarity (M, D, G) and box overlaps (D, G)."""
    for a in range(len(people.skipped)):
        skipped = people.skipped[a]
        outcome.ignored[:, a] = skipped.all()
        for m in range(len(similarity)):
            matched, ignored = outcome.matched[m, a], outcome.ignored[m, a]
            taken = np.zeros((len(thresholds), len(skipped)), np.bool_)
            for t in range(len(thresholds)):
                reach = min(thresholds[t], 1 - 1e-10)
                for d in range(len(overlaps)):
                    g = _most_similar(similarity[m, d], skipped, people.crowd, taken[t], reach)
                    if g >= 0:
                        taken[t, g] = True
                        matched[t, d], ignored[t, d] = people.matchable[g], skipped[g]
            _ignore_by_box(overlaps, skipped, people.crowd, taken, as_published, matched, ignored)


@njit(nogil=True, cache=True)
def _most_similar(similarity, skipped, crowd, taken, reach):
    """The free person most similar to a detection, or -1; (G,) each.

    People that count come before skipped ones. Of equals the last one wins.
    """
    chosen = -1
    for g in range(len(similarity)):
        value = similarity[g]
        if value < reach or value <= 0 or (taken[g] and not crowd[g]):
            continue
        if chosen >= 0 and skipped[g] != skipped[chosen]:
            better = skipped[chosen]
        else:
            better = chosen < 0 or value >= similarity[chosen]
        if better:
            chosen = g
    return chosen


@njit(nogil=True, cache=True)
def _ignore_by_box(overlaps, skipped, crowd, taken, as_published, matched, ignored):
    """Ignore unmatched detections (T, D) whose box is a skipped person's."""
    last = len(taken) - 1
    for t in range(last if as_published else 0, last + 1):
        for d in range(len(overlaps)):
            if matched[t, d]:
                continue
            g = _person_in_box(overlaps[d], skipped, crowd, taken[t])
            if g < 0:
                continue
            if as_published:
                ignored[:, d] = skipped[g]
                matched[t, d] = skipped[g]
            elif skipped[g]:
                ignored[t, d] = True
            if skipped[g]:
                taken[t, g] = True


@njit(nogil=True, cache=True)
def _person_in_box(overlaps, skipped, crowd, taken):
    """Free person whose box is covered best, or -1; of equals a skipped one, then the last."""
    chosen, best = -1, IGNORED_BOX_IOU
    for g in range(len(overlaps)):
        if overlaps[g] < best or (taken[g] and not crowd[g]):
            continue
        if overlaps[g] > best or chosen < 0 or skipped[g] or not skipped[chosen]:
            chosen, best = g, overlaps[g]
    return chosen
