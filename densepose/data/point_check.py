"""Check the DensePose fields of annotations: all points and part masks of all people at once.

Shapes: A annotations, P annotated points of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from densepose.ops.run_lengths import GRID_SIZE, runs_fill
from densepose.structures.body_parts import ANNOTATION_GRID, NUM_PARTS, NUM_REGIONS

from .annotation_report import AnnotationReport, name_of

POINT_KEYS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")
_MASKS_AT_ONCE = 20_000


def check_points(report: AnnotationReport, annotations: Sequence[Any]) -> None:
    """Rules of dp_x, dp_y, dp_I, dp_U and dp_V; writes to ``report``."""
    records = [record if isinstance(record, dict) else {} for record in annotations]
    listed = np.array([[isinstance(r.get(k), list) for k in POINT_KEYS] for r in records], bool)
    listed = listed.reshape(-1, len(POINT_KEYS))
    named = np.array([any(key in r for key in POINT_KEYS) for r in records], bool)
    # Points on vertices alone have rules of their own, see vertex_check.
    vertices = np.array(["dp_vertex" in r and "dp_I" not in r for r in records], bool)
    report.drop_points |= vertices

    def leave_out(rule: str, broken: np.ndarray, describe: Callable[[int], str]) -> None:
        report.drop_points[broken] = True
        report.add(rule, broken, lambda i: f"{name_of(annotations[i])}: {describe(i)}")

    leave_out(
        "points-complete",
        np.flatnonzero(named & ~vertices & ~listed.all(axis=1)),
        lambda i: "no list " + ", ".join(np.array(POINT_KEYS)[~listed[i]]),
    )
    index = np.flatnonzero(listed.all(axis=1))
    length = np.array([[len(records[i][key]) for key in POINT_KEYS] for i in index], np.int64)
    length = length.reshape(-1, len(POINT_KEYS))
    equal = (length == length[:, :1]).all(axis=1)
    lengths = dict(zip(index.tolist(), length.tolist(), strict=True))
    leave_out("points-lengths", index[~equal], lambda i: f"lengths {lengths[i]} of {POINT_KEYS}")
    index, count = index[equal], length[equal, 0]

    values = [flat_numbers([records[i][key] for i in index], count) for key in POINT_KEYS]
    x, y, part, u, v = values
    owner = np.repeat(index, count)
    first = count.cumsum() - count
    start = dict(zip(index.tolist(), first.tolist(), strict=True))

    def check(rule: str, wrong: np.ndarray, keys: tuple[str, ...]) -> None:
        at = np.flatnonzero(wrong)
        people, where = np.unique(owner[at], return_index=True)
        number = dict(zip(people.tolist(), at[where].tolist(), strict=True))

        def describe(i: int) -> str:
            k = number[i] - start[i]
            return f"point {k}: " + ", ".join(f"{key} = {records[i][key][k]!r}" for key in keys)

        leave_out(rule, people, describe)

    finite = np.isfinite(values).all(axis=0)
    check("points-numbers", ~finite, POINT_KEYS)
    check("points-part", finite & ~(np.isin(part, np.arange(1, NUM_PARTS + 1))), ("dp_I",))
    in_chart = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    check("points-uv", finite & ~in_chart, ("dp_U", "dp_V"))
    in_grid = (x >= 0) & (x <= ANNOTATION_GRID) & (y >= 0) & (y <= ANNOTATION_GRID)
    check("points-grid", finite & ~in_grid, ("dp_x", "dp_y"))
    used = ~report.drop_points[index] & ~report.drop_annotation[index] & (count > 0)
    report.num_with_points, report.num_points = int(used.sum()), int(count[used].sum())


def flat_numbers(lists: Sequence[list[Any]], count: np.ndarray) -> np.ndarray:
    """The numbers of all lists one after another; nan where a value is no number."""
    try:
        return np.fromiter(chain.from_iterable(lists), np.float64, int(count.sum()))
    except (TypeError, ValueError):
        number = (v if isinstance(v, (int, float)) else np.nan for v in chain.from_iterable(lists))
        return np.fromiter(number, np.float64, int(count.sum()))


def check_masks(report: AnnotationReport, annotations: Sequence[Any]) -> None:
    """Rules of dp_masks; writes to ``report``."""
    people, entries, malformed = [], [], []
    for i, record in enumerate(annotations):
        masks = record.get("dp_masks") if isinstance(record, dict) else None
        if masks is None:
            continue
        listed = [masks] if isinstance(masks, dict) else masks
        if not isinstance(masks, dict) and not (
            isinstance(masks, list) and len(masks) == NUM_REGIONS
        ):
            malformed.append(i)
            continue
        present = [entry for entry in listed if entry]
        if all(isinstance(e, dict) and isinstance(e.get("counts"), str) for e in present):
            people += [i] * len(present)
            entries += present
        else:
            malformed.append(i)

    def leave_out(rule: str, broken: np.ndarray, describe: Callable[[int], str]) -> None:
        report.drop_masks[broken] = True
        report.add(rule, broken, lambda i: f"{name_of(annotations[i])}: {describe(i)}")

    leave_out("masks-form", np.array(malformed, np.int64), lambda i: _mask_form(annotations[i]))
    owner = np.array(people, np.int64)
    sized = np.array([e.get("size") == list(GRID_SIZE) for e in entries], bool)
    size = {
        i: e.get("size") for i, e, right in zip(people, entries, sized, strict=True) if not right
    }
    leave_out("masks-size", np.unique(owner[~sized]), lambda i: f"got {size[i]}")
    counts = [e["counts"] for e in entries]
    filled = [
        runs_fill(counts[k : k + _MASKS_AT_ONCE]) for k in range(0, len(counts), _MASKS_AT_ONCE)
    ]
    broken = sized & ~np.concatenate([*filled, np.zeros(0, bool)]).astype(bool)
    leave_out("masks-runs", np.unique(owner[broken]), lambda i: "the string is damaged")
    masked = np.unique(owner)
    report.num_with_masks = int((~(report.drop_masks | report.drop_annotation)[masked]).sum())


def _mask_form(record: dict[str, Any]) -> str:
    masks = record["dp_masks"]
    if isinstance(masks, list) and len(masks) != NUM_REGIONS:
        return f"got {len(masks)} entries"
    if isinstance(masks, list):
        return "an entry has no text as counts"
    return f"got {type(masks).__name__}"
