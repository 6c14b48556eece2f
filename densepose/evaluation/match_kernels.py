"""Compiled loops of greedy matching; what they mean stands in ``matching``.

Shapes: I images, M similarities, A area ranges, T thresholds; D detections, G people and N pairs of
all images. Image i has the detections from ``first_detection[i]`` up to ``first_detection[i + 1]``,
best score first, the people and the pairs likewise; its pairs run over the people of its first
detection, then over those of the second, and so on.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"nogil": True, "cache": True}


@njit(**_OPTIONS)
def _better(value, best, chosen):
    """Of equals the last one wins."""
    return chosen < 0 or value >= best


@njit(**_OPTIONS)
def _match_by_similarity(similarity, skipped, crowd, matchable, reach, taken, matched, ignored):
    """Of one image, similarity (D, G), area range and threshold: fill taken (G,) and the rest (D,).

    People that count come before skipped ones.
    """
    for d in range(similarity.shape[0]):
        chosen, best, chosen_skipped = -1, 0.0, True
        for g in range(similarity.shape[1]):
            value = similarity[d, g]
            if value < reach or value <= 0 or (taken[g] and not crowd[g]):
                continue
            if skipped[g] and not chosen_skipped:
                continue
            if chosen_skipped != skipped[g] or _better(value, best, chosen):
                chosen, best, chosen_skipped = g, value, skipped[g]
        if chosen >= 0:
            taken[chosen] = True
            matched[d] = matchable[chosen]
            ignored[d] = chosen_skipped


@njit(**_OPTIONS)
def _person_in_box(overlaps, skipped, crowd, taken, minimum):
    """Free person whose box is covered best, or -1; of equals a skipped one, then the last."""
    chosen, best = -1, minimum
    for g in range(len(overlaps)):
        if overlaps[g] < best or (taken[g] and not crowd[g]):
            continue
        if overlaps[g] > best or chosen < 0 or skipped[g] or not skipped[chosen]:
            chosen, best = g, overlaps[g]
    return chosen


@njit(**_OPTIONS)
def _match_image(
    similarity,
    overlaps,
    skipped,
    crowd,
    matchable,
    thresholds,
    minimum_box_iou,
    as_published,
    matched,
    ignored,
):
    """Of one image, similarity (D, G) and area range: fill matched and ignored (T, D)."""
    count = len(thresholds)
    taken = np.zeros((count, similarity.shape[1]), np.bool_)
    for t in range(count):
        reach = min(thresholds[t], 1 - 1e-10)
        _match_by_similarity(
            similarity, skipped, crowd, matchable, reach, taken[t], matched[t], ignored[t]
        )
    for t in range(count - 1 if as_published else 0, count):
        for d in range(similarity.shape[0]):
            if matched[t, d]:
                continue
            g = _person_in_box(overlaps[d], skipped, crowd, taken[t], minimum_box_iou)
            if g < 0:
                continue
            if as_published:
                ignored[:, d] = skipped[g]
                matched[t, d] = skipped[g]
            elif skipped[g]:
                ignored[t, d] = True
            if skipped[g]:
                taken[t, g] = True


@njit(**_OPTIONS)
def match_images(
    first_detection,
    first_person,
    first_pair,
    similarity,
    box_iou,
    skipped,
    crowd,
    matchable,
    thresholds,
    minimum_box_iou,
    as_published,
    matched,
    ignored,
):
    """Match all images.

    Args:
        first_detection: (I + 1,), as are first_person and first_pair.
        first_person: see above.
        first_pair: see above.
        similarity: (M, N).
        box_iou: (N,).
        skipped: (A, G) bool: people that do not count in an area range.
        crowd: (G,) bool.
        matchable: (G,) bool: a match with this person is one.
        thresholds: (T,).
        minimum_box_iou: overlap from which on a box is an ignored person's.
        as_published: whether the box rule sees the last threshold only and speaks for all.
        matched: (M, A, T, D) bool, False at first; is filled.
        ignored: the same.
    """
    for i in range(len(first_detection) - 1):
        d0, d1 = first_detection[i], first_detection[i + 1]
        g0, g1 = first_person[i], first_person[i + 1]
        shape = (d1 - d0, g1 - g0)
        overlaps = box_iou[first_pair[i] : first_pair[i + 1]].reshape(shape)
        for a in range(skipped.shape[0]):
            ignored[:, a, :, d0:d1] = skipped[a, g0:g1].all()
            for m in range(similarity.shape[0]):
                _match_image(
                    similarity[m, first_pair[i] : first_pair[i + 1]].reshape(shape),
                    overlaps,
                    skipped[a, g0:g1],
                    crowd[g0:g1],
                    matchable[g0:g1],
                    thresholds,
                    minimum_box_iou,
                    as_published,
                    matched[m, a, :, d0:d1],
                    ignored[m, a, :, d0:d1],
                )


@njit(**_OPTIONS)
def match_by_box(first_detection, first_person, first_pair, box_iou, minimum, pair_of_person):
    """Fill pair_of_person (G,), -1 at first: each detection takes the free person it covers best.

    Of equals the first. The overlaps are (N,), the rest as in ``match_images``.
    """
    for i in range(len(first_detection) - 1):
        people = first_person[i + 1] - first_person[i]
        of_people = pair_of_person[first_person[i] : first_person[i + 1]]
        for d in range(first_detection[i + 1] - first_detection[i]):
            start = first_pair[i] + d * people
            chosen, best = -1, -1.0
            for g in range(people):
                if of_people[g] < 0 and box_iou[start + g] > best:
                    chosen, best = g, box_iou[start + g]
            if chosen >= 0 and best >= minimum:
                of_people[chosen] = start + chosen


@njit(**_OPTIONS)
def match_nearest_boxes(order, detection, person, box_iou, minimum, taken, pair_of_person):
    """Fill pair_of_person (G,), -1 at first, taking pairs in the given order while both are free.

    Args:
        order: (N,) pairs, largest overlap first.
        detection: (N,).
        person: (N,).
        box_iou: (N,).
        minimum: smallest overlap.
        taken: (D,) bool, False at first.
        pair_of_person: see above.
    """
    for k in order:
        if box_iou[k] < minimum:
            break
        if not taken[detection[k]] and pair_of_person[person[k]] < 0:
            taken[detection[k]] = True
            pair_of_person[person[k]] = k
