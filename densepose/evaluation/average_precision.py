"""Average precision and recall from matches, as in COCO.

Shapes: N detections of all images together, T thresholds, R recalls, A area ranges.
"""

from __future__ import annotations

import numpy as np

from .matching import AREA_RANGES_PX, Matches

RECALLS = np.linspace(0.0, 1.0, 101)
# Single thresholds that are reported, where they are evaluated.
_SINGLE_THRESHOLDS = (20, 30, 40, 50, 75)


def precision_recall(
    matched: np.ndarray, ignored: np.ndarray, num_people: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision at 101 recalls, and the highest recall.

    Args:
        matched: (T, N) bool, detections of all images by descending score.
        ignored: (T, N) bool.
        num_people: people to find, above 0.

    Returns:
        precision (T, R): the best precision at this recall or a higher one, 0 if never reached;
        recall (T,).
    """
    right = np.cumsum(matched & ~ignored, axis=1).astype(np.float64)
    wrong = np.cumsum(~matched & ~ignored, axis=1).astype(np.float64)
    recall = right / num_people
    precision = right / (wrong + right + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # One more column: a recall that is never reached has precision 0.
    padded = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)
    place = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recall])
    highest = recall[:, -1] if recall.shape[1] else np.zeros(len(recall))
    return np.take_along_axis(padded, place, axis=1), highest


def average_precision_table(
    matches: Matches, similarity_index: int, thresholds: np.ndarray
) -> dict[str, float]:
    """AP AP50 AP75 APm APl AR AR50 AR75 ARm ARl in percent.

    Args:
        matches: of all images, in the order of their ids: of equal scores the earlier counts first.
        similarity_index: which of the M similarities.
        thresholds: (T,) those of the matches. Below 0.5 they add AP20, AP30, AP40.

    Returns:
        Name -> percent; NaN where there is nobody to find in the area range.
    """
    order = np.argsort(-matches.scores, kind="stable")
    precision, recall = {}, {}
    for area_index, name in enumerate(AREA_RANGES_PX):
        num_people = int(matches.num_people[area_index])
        if num_people == 0:
            precision[name] = np.full((len(thresholds), len(RECALLS)), np.nan)
            recall[name] = np.full(len(thresholds), np.nan)
            continue
        matched = matches.matched[similarity_index, area_index][:, order]
        ignored = matches.ignored[similarity_index, area_index][:, order]
        precision[name], recall[name] = precision_recall(matched, ignored, num_people)
    single = {
        f"{percent}": np.abs(thresholds - percent / 100) < 1e-3 for percent in _SINGLE_THRESHOLDS
    }
    single = {name: at for name, at in single.items() if at.any()}
    table = {"AP": _percent(precision["all"])}
    table |= {f"AP{name}": _percent(precision["all"][at]) for name, at in single.items()}
    table |= {"APm": _percent(precision["medium"]), "APl": _percent(precision["large"])}
    table["AR"] = _percent(recall["all"])
    # The published tables have no AR below 0.5.
    table |= {f"AR{n}": _percent(recall["all"][at]) for n, at in single.items() if int(n) >= 50}
    return table | {"ARm": _percent(recall["medium"]), "ARl": _percent(recall["large"])}


def _percent(values: np.ndarray) -> float:
    return float(np.mean(values.ravel()) * 100)
