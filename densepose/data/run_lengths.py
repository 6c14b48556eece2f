"""COCO's run-length masks, decoded for many masks at once.

A mask is a string: alternating runs of background and foreground down the columns. The part masks
of DensePose-COCO (``dp_masks``) have 256 x 256 pixels. Shapes: K masks, R runs of all of them, N
people, height H and width W of the masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densepose.structures.body_parts import ANNOTATION_GRID

GRID_SIZE = (int(ANNOTATION_GRID), int(ANNOTATION_GRID))
# Six groups of five bits count any image; longer numbers are in damaged strings only.
_MAX_GROUPS = 6


def decode_runs(counts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expand run-length strings.

    A number is stored in groups of five bits, lowest first, bit 32 saying that more follow; from
    the fourth number on, the difference to the last but one is stored.

    Args:
        counts: K run-length strings.

    Returns:
        runs (R,) int64 lengths; mask (R,) int64 in [0, K), ascending; well_formed (K,) bool, False
        where a string is empty, cut off or holds a character that is not part of the code.
    """
    length = np.fromiter((len(text) for text in counts), np.int64, len(counts))
    code = np.frombuffer("".join(counts).encode("utf-32-le"), np.uint32).astype(np.int64) - ord("0")
    of_char = np.repeat(np.arange(len(counts)), length)
    well_formed = length > 0
    well_formed[of_char[(code < 0) | (code > 63)]] = False
    is_end = (code & 32) == 0
    last_char = length.cumsum()[length > 0] - 1
    well_formed[of_char[last_char[~is_end[last_char]]]] = False
    is_end[last_char] = True

    end = np.flatnonzero(is_end)
    start = np.concatenate([[0], end[:-1] + 1]) if len(end) else end
    groups = end - start + 1
    position = np.arange(len(code)) - np.repeat(start, groups)
    mask = of_char[end]
    well_formed[mask[groups > _MAX_GROUPS]] = False
    shifted = (code & 31) << (5 * position.clip(max=_MAX_GROUPS))
    value = np.add.reduceat(shifted, start) if len(start) else start
    negative = (code[end] & 16) > 0
    value = value - (negative.astype(np.int64) << (5 * groups.clip(max=_MAX_GROUPS)))
    return _undo_differences(value, mask, len(counts)), mask, well_formed


def _undo_differences(value: np.ndarray, mask: np.ndarray, num_masks: int) -> np.ndarray:
    """Running sums of the odd and of the even numbers of each mask; the first stands alone."""
    count = np.bincount(mask, minlength=num_masks)
    within = np.arange(len(value)) - np.repeat(count.cumsum() - count, count)
    chain = 3 * mask + np.where(within == 0, 0, 1 + within % 2)
    order = np.argsort(chain, kind="stable")
    total = value[order].cumsum()
    is_first = np.diff(chain[order], prepend=-1) > 0
    before = np.where(is_first, total - value[order], 0)
    base = before[np.flatnonzero(is_first)[is_first.cumsum() - 1]]
    runs = np.empty_like(value)
    runs[order] = total - base
    return runs


def runs_fill(counts: Sequence[str], size: tuple[int, int] = GRID_SIZE) -> np.ndarray:
    """(K,) bool: True where a string decodes to runs that cover ``size`` = (H, W) exactly."""
    return _fills(*decode_runs(counts), size)


def _fills(
    runs: np.ndarray, mask: np.ndarray, well_formed: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """(K,) bool: which masks, decoded, cover (H, W) exactly."""
    total = np.zeros(len(well_formed), np.int64)
    np.add.at(total, mask, runs)
    whole = well_formed & (total == size[0] * size[1])
    whole[mask[runs < 0]] = False
    return whole


def paint_masks(
    counts: Sequence[str],
    label: np.ndarray,
    owner: np.ndarray,
    num_people: int,
    size: tuple[int, int] = GRID_SIZE,
) -> np.ndarray:
    """Merge the masks of all people into one label map per person.

    Args:
        counts: K run-length strings.
        label: (K,) value to write where a mask is set, 1..255; the highest wins where masks meet.
        owner: (K,) person of each mask, in [0, N).
        num_people: N.
        size: H, W of all masks.

    Returns:
        (N, H, W) uint8, 0 where no mask is set.

    Raises:
        ValueError: a string does not decode to H x W pixels.
    """
    order = np.argsort(label, kind="stable")
    counts = [counts[k] for k in order]
    runs, mask, well_formed = decode_runs(counts)
    bad = np.flatnonzero(~_fills(runs, mask, well_formed, size))
    if len(bad):
        which = order[bad[0]]
        raise ValueError(
            f"mask with label {int(label[which])} of person {int(owner[which])}: the run-length"
            f" string does not fill {size[0]} x {size[1]} pixels"
        )
    pixels = size[0] * size[1]
    # Every mask is full, so the running sum over all runs is (mask number) * pixels + pixel.
    first = runs.cumsum() - runs - mask * pixels
    count = np.bincount(mask, minlength=len(counts))
    within = np.arange(len(runs)) - np.repeat(count.cumsum() - count, count)
    inside = within % 2 == 1
    runs, first, mask = runs[inside], first[inside], mask[inside]
    target = np.repeat(owner[order][mask] * pixels + first - (runs.cumsum() - runs), runs)
    painted = np.zeros(num_people * pixels, np.uint8)
    painted[target + np.arange(len(target))] = np.repeat(label[order][mask], runs)
    columns = painted.reshape(num_people, size[1], size[0])
    return np.ascontiguousarray(columns.transpose(0, 2, 1))
