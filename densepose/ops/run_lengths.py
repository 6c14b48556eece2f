"""COCO's run-length masks, checked and drawn by one compiled loop.

A mask is a string: alternating runs of background and foreground down the columns. pycocotools
draws the same pixels, but writes beyond its memory where the runs do not fill the mask. The part
masks of DensePose-COCO (``dp_masks``) have 256 x 256 pixels. Shapes: K masks, N people, height H
and width W of the masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

GRID_SIZE = (256, 256)
# Longer numbers are in damaged strings only; shifting them would overflow.
_MOST_DIGITS = 8


def draw_masks(
    counts: Sequence[str | bytes],
    label: np.ndarray,
    owner: np.ndarray,
    num_people: int,
    size: tuple[int, int] = GRID_SIZE,
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the masks of all people into one label map per person.

    Args:
        counts: K run-length strings.
        label: (K,) value to write where a mask is set, 1..255; the highest wins where masks meet.
        owner: (K,) person of each mask, in [0, N).
        num_people: N.
        size: H, W of all masks.

    Returns:
        (N, W, H) uint8, columns before rows, 0 where no mask is set; (K,) bool, False where a
        string is damaged or its runs do not fill H x W pixels exactly.
    """
    planes = np.zeros((num_people, size[1] * size[0]), np.uint8)
    filled = np.zeros(len(counts), bool)
    order = np.argsort(label, kind="stable")
    texts = [text.encode() if isinstance(text, str) else text for text in counts]
    texts = [texts[k] for k in order.tolist()]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    characters = np.frombuffer(b"".join(texts), np.uint8)
    drawn = np.zeros(len(counts), bool)
    _draw_masks(characters, ends, planes, owner[order], label[order].astype(np.uint8), drawn)
    filled[order] = drawn
    return planes.reshape(num_people, size[1], size[0]), filled


def runs_fill(counts: Sequence[str | bytes], size: tuple[int, int] = GRID_SIZE) -> np.ndarray:
    """(K,) bool: True where a string decodes to runs that cover ``size`` = (H, W) exactly."""
    ones = np.ones(len(counts), np.int64)
    return draw_masks(counts, ones, ones - 1, 1, size)[1]


def paint_masks(
    counts: Sequence[str | bytes],
    label: np.ndarray,
    owner: np.ndarray,
    num_people: int,
    size: tuple[int, int] = GRID_SIZE,
) -> np.ndarray:
    """The label maps of ``draw_masks`` as (N, H, W) uint8.

    Raises:
        ValueError: a string does not decode to H x W pixels.
    """
    planes, filled = draw_masks(counts, label, owner, num_people, size)
    if not filled.all():
        which = int(filled.argmin())
        raise ValueError(
            f"mask with label {int(label[which])} of person {int(owner[which])}: the run-length"
            f" string does not fill {size[0]} x {size[1]} pixels"
        )
    return np.ascontiguousarray(planes.transpose(0, 2, 1))


@njit(nogil=True, cache=True)
def _draw_masks(characters, ends, planes, owner, label, filled):
    for k in range(len(filled)):
        text = characters[ends[k] : ends[k + 1]]
        filled[k] = _draw_runs(text, planes[owner[k]], label[k])


@njit(nogil=True, cache=True)
def _draw_runs(text, plane, label):
    """Write a label where one mask is set; whether its runs fill the plane.

    A run is written in digits of five bits, the lowest first, bit 32 saying that more follow. From
    the fourth run on, the difference to the last but one is stored.

    Args:
        text: (L,) uint8, the characters.
        plane: (W * H,) uint8, column by column.
        label: what to write.
    """
    k, place, number, before_last, last = 0, 0, 0, 0, 0
    while k < len(text):
        run, shift, more = 0, 0, True
        while more:
            if k >= len(text) or shift > 5 * _MOST_DIGITS:
                return False
            digit = np.int64(text[k]) - 48
            if digit < 0 or digit > 63:
                return False
            run |= (digit & 31) << shift
            shift += 5
            k += 1
            more = (digit & 32) != 0
            if not more and (digit & 16) != 0:
                run -= 1 << shift
        if number > 2:
            run += before_last
        if run < 0 or place + run > len(plane):
            return False
        if number % 2 == 1:
            plane[place : place + run] = label
        place += run
        before_last, last = last, run
        number += 1
    return place == len(plane)
