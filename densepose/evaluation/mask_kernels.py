"""Compiled loops over masks: drawn, zoomed and counted without a picture of the image.

Shapes: G people, D detections, N pairs of them, R run-length encodings. A crop is a rectangle of
the image outside of which a mask is empty: ``crop`` rows hold (first image row, first image column,
rows, columns, first mask row, first mask column). Masks lie one after another in a flat array, row
by row.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Functions that call one another stay in one file: the cache does not notice changes in another.
_OPTIONS = {"nogil": True, "cache": True}
# Longer numbers are in no mask; the shift below would overflow.
_MOST_DIGITS = 8


@njit(**_OPTIONS)
def draw_runs(text, grid):
    """Set the pixels of one mask in COCO's compressed form; others stay.

    Args:
        text: (L,) uint8, the characters.
        grid: (columns * rows,) uint8, column by column.

    Returns:
        Whether the runs fill the grid exactly.
    """
    place, drawn, number = 0, False, 0
    before_last, last = 0, 0
    k = 0
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
        # From the fourth on, a run is stored as the difference to the last but one.
        if number > 2:
            run += before_last
        if run < 0 or place + run > len(grid):
            return False
        if drawn:
            grid[place : place + run] = 1
        place += run
        before_last, last = last, run
        drawn, number = not drawn, number + 1
    return place == len(grid)


@njit(**_OPTIONS)
def _steps(size, new_size, low, high, low_weight, high_weight):
    """The two old places beside each new one and their weights, (new_size,) each.

    The corners of the two grids lie on one another. A last place that rounding puts beyond the old
    grid has weight 0, as in scipy.
    """
    scale = (size - 1) / (new_size - 1) if new_size > 1 else 1.0
    for k in range(new_size):
        position = k * scale
        low[k] = min(int(np.floor(position)), size - 1)
        high[k] = min(low[k] + 1, size - 1)
        fraction = position - low[k]
        outside = position > size - 1
        low_weight[k] = 0.0 if outside else 1 - fraction
        high_weight[k] = 0.0 if outside else fraction


@njit(**_OPTIONS)
def zoom_crop(grid, side, height, width, crop, pixels):
    """Draw the part of a zoomed mask that a crop shows.

    Args:
        grid: (side * side,) uint8, column by column.
        side: rows and columns of the grid.
        height: of the whole zoomed mask.
        width: of the whole zoomed mask.
        crop: (6,), its last two numbers are places in the zoomed mask.
        pixels: (rows * columns,) uint8, is filled.
    """
    rows, columns, first_row, first_column = crop[2], crop[3], crop[4], crop[5]
    y0, y1 = np.empty(height, np.int64), np.empty(height, np.int64)
    top, bottom = np.empty(height), np.empty(height)
    _steps(side, height, y0, y1, top, bottom)
    x0, x1 = np.empty(width, np.int64), np.empty(width, np.int64)
    left, right = np.empty(width), np.empty(width)
    _steps(side, width, x0, x1, left, right)
    both = np.empty(side, np.uint8)
    for c in range(columns):
        x = first_column + c
        of_left = grid[x0[x] * side : (x0[x] + 1) * side]
        of_right = grid[x1[x] * side : (x1[x] + 1) * side]
        for k in range(side):
            both[k] = of_left[k] + of_right[k]
        beyond = left[x] + right[x] == 0
        for r in range(rows):
            y = first_row + r
            a, b = y0[y], y1[y]
            neighbours = both[a] + both[b]
            inside = neighbours == 4
            if neighbours > 0 and not inside:
                # scipy's order of operations, to the last bit
                value = of_left[a] * top[y] * left[x]
                value += of_right[a] * top[y] * right[x]
                value += of_left[b] * bottom[y] * left[x]
                value += of_right[b] * bottom[y] * right[x]
                inside = value > 0.5
            pixels[r * columns + c] = inside and not beyond and top[y] + bottom[y] != 0


@njit(**_OPTIONS)
def draw_people(
    kind,
    text,
    first_character,
    first_text,
    side,
    mask_size,
    crop,
    first_pixel,
    pixels,
    area,
    broken,
):
    """Draw the crops of all people.

    Args:
        kind: (G,) 0 no mask, 1 masks on the annotation grid, zoomed to the box, 2 of the image.
        text: characters of all encodings, uint8.
        first_character: (R + 1,) where each encoding starts.
        first_text: (G + 1,) where the encodings of each person start.
        side: rows and columns of the annotation grid.
        mask_size: (G, 2) rows and columns of the zoomed mask, or of the image.
        crop: (G, 6).
        first_pixel: (G + 1,) where the pixels of each crop start.
        pixels: uint8, 0 at first; is filled with 0 and 1.
        area: (G,) is filled with the number of ones.
        broken: (G,) bool, False at first; set where an encoding does not fill its mask.
    """
    for g in range(len(kind)):
        if kind[g] == 0:
            continue
        height, width = mask_size[g]
        grid = np.zeros(side * side if kind[g] == 1 else height * width, np.uint8)
        for k in range(first_text[g], first_text[g + 1]):
            if not draw_runs(text[first_character[k] : first_character[k + 1]], grid):
                broken[g] = True
        target = pixels[first_pixel[g] : first_pixel[g + 1]]
        if kind[g] == 1:
            zoom_crop(grid, side, height, width, crop[g], target)
        else:
            columns = crop[g, 3]
            for c in range(columns):
                start = (crop[g, 5] + c) * height + crop[g, 4]
                for r in range(crop[g, 2]):
                    target[r * columns + c] = grid[start + r]
        count = 0
        for pixel in target:
            count += pixel
        area[g] = count


@njit(**_OPTIONS)
def count_foreground(labels, first_label, map_width, crop, area):
    """Fill area (D,) with the pixels of each crop (D, 6) where the map of labels is above 0."""
    for d in range(len(area)):
        count = 0
        for r in range(crop[d, 2]):
            start = first_label[d] + (crop[d, 4] + r) * map_width[d] + crop[d, 5]
            for label in labels[start : start + crop[d, 3]]:
                count += label > 0
        area[d] = count


@njit(**_OPTIONS)
def count_shared(
    detection,
    person,
    labels,
    first_label,
    map_width,
    crop,
    pixels,
    first_pixel,
    crop_of_person,
    shared,
):
    """Fill shared (N,) with the pixels that a detection labels and a person's mask covers.

    Args:
        detection: (N,).
        person: (N,).
        labels: maps of all detections, uint8.
        first_label: (D,) where each map starts.
        map_width: (D,).
        crop: (D, 6).
        pixels: masks of all people, 0 and 1.
        first_pixel: (G,) where the crop of each person starts.
        crop_of_person: (G, 6).
        shared: (N,) is filled.
    """
    for k in range(len(shared)):
        d, g = detection[k], person[k]
        top = max(crop[d, 0], crop_of_person[g, 0])
        left = max(crop[d, 1], crop_of_person[g, 1])
        bottom = min(crop[d, 0] + crop[d, 2], crop_of_person[g, 0] + crop_of_person[g, 2])
        right = min(crop[d, 1] + crop[d, 3], crop_of_person[g, 1] + crop_of_person[g, 3])
        count = 0
        for y in range(top, bottom):
            row = first_label[d] + (y - crop[d, 0] + crop[d, 4]) * map_width[d] + crop[d, 5]
            row += left - crop[d, 1]
            other = first_pixel[g] + (y - crop_of_person[g, 0]) * crop_of_person[g, 3]
            other += left - crop_of_person[g, 1]
            for x in range(right - left):
                count += (labels[row + x] > 0) & (pixels[other + x] > 0)
        shared[k] = count
