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

from densepose.errors import InputError

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
    characters, ends = _joined([counts[k] for k in order.tolist()])
    drawn = np.zeros(len(counts), bool)
    _draw_masks(characters, ends, planes, owner[order], label[order].astype(np.uint8), drawn)
    filled[order] = drawn
    return planes.reshape(num_people, size[1], size[0]), filled


def count_pixels(counts: Sequence[str | bytes]) -> np.ndarray:
    """(K,) int64: pixels that the runs of each string cover; -1 where it is damaged."""
    pixels = np.zeros(len(counts), np.int64)
    _count_pixels(*_joined(counts), pixels)
    return pixels


def _joined(counts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Characters of all strings, one after another, and (K + 1,) where each starts."""
    texts = [t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in counts]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), ends


def runs_fill(counts: Sequence[str | bytes], size: tuple[int, int] = GRID_SIZE) -> np.ndarray:
    """(K,) bool: True where a string decodes to runs that cover ``size`` = (H, W) exactly."""
    return count_pixels(counts) == size[0] * size[1]


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
        raise InputError(
            f"mask with label {int(label[which])} of person {int(owner[which])}: the run-length"
            f" string does not fill {size[0]} x {size[1]} pixels"
        )
    return np.ascontiguousarray(planes.transpose(0, 2, 1))


@njit(nogil=True, cache=True)
def _draw_masks(characters, ends, planes, owner, label, filled):
    runs = np.empty(len(characters), np.int64)
    for k in range(len(filled)):
        count = _read_runs(characters[ends[k] : ends[k + 1]], runs)
        filled[k] = count >= 0 and _draw_runs(runs[:count], planes[owner[k]], label[k])


@njit(nogil=True, cache=True)
def _count_pixels(characters, ends, pixels):
    runs = np.empty(len(characters), np.int64)
    for k in range(len(pixels)):
        count = _read_runs(characters[ends[k] : ends[k + 1]], runs)
        pixels[k] = runs[:count].sum() if count >= 0 else -1


@njit(nogil=True, cache=True)
def _draw_runs(runs, plane, label):
    """Write a label into every other run of a plane (W * H,); whether the runs fill it."""
    place = 0
    for number, run in enumerate(runs):
        if run > len(plane) - place:
            return False
        if number % 2 == 1:
            plane[place : place + run] = label
        place += run
    return place == len(plane)


@njit(nogil=True, cache=True)
def _read_runs(text, runs):
    """Decode one mask; the number of its runs, or -1 where it is damaged.

    A run is written in digits of five bits, the lowest first, bit 32 saying that more follow. From
    the fourth run on, the difference to the last but one is stored.

    Args:
        text: (L,) uint8, the characters.
        runs: (L,) or more, int64; the first of them are written to.
    """
    k, number = 0, 0
    while k < len(text):
        run, shift, more = 0, 0, True
        while more:
            if k >= len(text) or shift > 5 * _MOST_DIGITS:
                return -1
            digit = np.int64(text[k]) - 48
            if digit < 0 or digit > 63:
                return -1
            run |= (digit & 31) << shift
            shift += 5
            k += 1
            more = (digit & 32) != 0
            if not more and (digit & 16) != 0:
                run -= 1 << shift
        if number > 2:
            run += runs[number - 2]
        if run < 0:
            return -1
        runs[number] = run
        number += 1
    return number
