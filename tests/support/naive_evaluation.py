"""The evaluation written as loops from its definition, one value at a time; slow on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KAPPA = {1: 0.351, 2: 0.107, 3: 0.126, 4: 0.237, 5: 0.173, 6: 0.142, 7: 0.128, 8: 0.150}
REGION_OF_PART = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8]


def kappa_of_part(part: int) -> float:
    return KAPPA[REGION_OF_PART[part]]


def gps(distances: Sequence[float], kappas: Sequence[float]) -> float:
    """Mean of exp(-d^2 / 2 k^2); 0 without points."""
    values = [
        math.exp(-(d**2) / (2 * k**2)) if math.isfinite(d) else 0.0
        for d, k in zip(distances, kappas, strict=True)
    ]
    return sum(values) / len(values) if values else 0.0


@dataclass
class Person:
    identifier: int
    area: float
    ignored: bool
    crowd: bool


@dataclass
class Detection:
    score: float
    area: float


@dataclass
class Outcome:
    """Of one image, area range and similarity: one list a threshold."""

    matched: list[list[bool]]
    ignored: list[list[bool]]
    num_people: int


def match(
    detections: Sequence[Detection],
    people: Sequence[Person],
    similarity: Callable[[int, int], float],
    box_iou: Callable[[int, int], float],
    area: tuple[float, float],
    thresholds: Sequence[float],
    quirks: str,
) -> Outcome:
    """Match the detections (best first) of one image in one area range."""
    skipped = [p.ignored or not area[0] <= p.area <= area[1] for p in people]
    order = [g for g in range(len(people)) if not skipped[g]]
    order += [g for g in range(len(people)) if skipped[g]]
    owner = [[-1] * len(detections) for _ in thresholds]  # person of each detection
    taken = [[False] * len(people) for _ in thresholds]
    ignored = [[all(skipped)] * len(detections) for _ in thresholds]
    for t, threshold in enumerate(thresholds):
        for d in range(len(detections)):
            best, chosen = min(threshold, 1 - 1e-10), -1
            for g in order:
                if taken[t][g] and not people[g].crowd:
                    continue
                if chosen >= 0 and not skipped[chosen] and skipped[g]:
                    break
                if similarity(d, g) >= best and similarity(d, g) > 0:
                    best, chosen = similarity(d, g), g
            if chosen >= 0:
                owner[t][d], taken[t][chosen], ignored[t][d] = chosen, True, skipped[chosen]

    def counts(t: int, d: int) -> bool:
        found = owner[t][d] >= 0
        return found and (quirks == "fixed" or people[owner[t][d]].identifier != 0)

    matched = [[counts(t, d) for d in range(len(detections))] for t in range(len(thresholds))]
    last = len(thresholds) - 1
    for t in range(len(thresholds)) if quirks == "fixed" else [last]:
        for d in range(len(detections)):
            if matched[t][d]:
                continue
            best, chosen = 0.8, -1
            for g in order:
                free = not taken[t][g] or people[g].crowd
                if free and box_iou(d, g) >= best:
                    best, chosen = box_iou(d, g), g
            if chosen < 0:
                continue
            if quirks == "upstream":
                for every in range(len(thresholds)):
                    ignored[every][d] = skipped[chosen]
            elif skipped[chosen]:
                ignored[t][d] = True
            if skipped[chosen]:
                taken[t][chosen] = True
                if quirks == "upstream":
                    matched[t][d] = True
    for t in range(len(thresholds)):
        for d, detection in enumerate(detections):
            if not matched[t][d] and not area[0] <= detection.area <= area[1]:
                ignored[t][d] = True
    return Outcome(matched, ignored, skipped.count(False))


def average_precision(
    scores: Sequence[float], right: Sequence[bool], ignored: Sequence[bool], num_people: int
) -> tuple[float, float]:
    """AP over 101 recalls and the highest recall, of one threshold; detections in any order."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = [i for i in order if not ignored[i]]
    curve = []
    hits = 0
    for rank, i in enumerate(kept, start=1):
        hits += right[i]
        curve.append((hits / num_people, hits / rank))
    total = 0.0
    for step in range(101):
        reachable = [precision for recall, precision in curve if recall >= step / 100 - 1e-12]
        total += max(reachable, default=0.0)
    return total / 101, hits / num_people
