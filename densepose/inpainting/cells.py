"""The pixels of annotated people that are to be inpainted, and the points that are known.

Shapes: N people of one image; Q cells of all of them that lie in an annotated region; P points.
Places are in px of the stored image; lengths divided by a person's size (the longer side of the
box) say how far apart places are on people of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from densepose.structures.annotations import DensePoseAnnotations, grid_to_image
from densepose.structures.body_parts import ANNOTATION_GRID, COARSE_OF_PART

# Rows and columns of a person's maps at most: those of the annotated masks.
MAX_CELLS = int(ANNOTATION_GRID)


@dataclass(frozen=True)
class Cells:
    """Q cells of the maps of N people, person after person, row by row."""

    map_sizes: np.ndarray  # (N, 2) int64 rows, columns of each person's maps
    person: np.ndarray  # (Q,) int64
    index: np.ndarray  # (Q,) int64: row * columns + column in the person's map
    place_px: np.ndarray  # (Q, 2) float64 centre x, y
    region: np.ndarray  # (Q,) int64 1..14


@dataclass(frozen=True)
class Points:
    """P annotated points, person after person."""

    person: np.ndarray  # (P,) int64
    index: np.ndarray  # (P,) int64: cell of the person's map that the point lies in
    place_px: np.ndarray  # (P, 2) float64
    part: np.ndarray  # (P,) int64 1..24
    uv: np.ndarray  # (P, 2) float64
    # (P,) float64 squared distance from the centre of the cell, in cells
    off_centre: np.ndarray

    @property
    def region(self) -> np.ndarray:
        """(P,) annotated region that each point's part lies in."""
        return COARSE_OF_PART[self.part]


@dataclass(frozen=True)
class Guess:
    """What a method says about Q cells."""

    part: np.ndarray  # (Q,) int64 1..24, of the cell's region; 0 where nothing is known
    uv: np.ndarray  # (Q, 2) float64
    confidence: np.ndarray  # (Q,) float64 in [0, 1]


@cache
def parts_of_region() -> np.ndarray:
    """(15, 2) the parts of each region; the second is 0 where there is one only."""
    table = np.zeros((int(COARSE_OF_PART.max()) + 1, 2), np.int64)
    for region in range(1, len(table)):
        own = np.flatnonzero(COARSE_OF_PART == region)
        table[region, : len(own)] = own
    return table


def sizes_px(people: DensePoseAnnotations) -> np.ndarray:
    """(N,) float64 longer side of each box."""
    boxes = people.boxes_xyxy_px.double().numpy()
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1.0)


def cells_of(people: DensePoseAnnotations) -> Cells:
    """The cells inside the annotated regions; maps have one cell a px, but at most MAX_CELLS.

    A cell of no region that an annotated point lies in belongs to the region of the point's part,
    so that every point has a cell.
    """
    boxes = people.boxes_xyxy_px.double().numpy()
    spans = np.ceil(boxes[:, [3, 2]] - boxes[:, [1, 0]]).astype(np.int64)
    map_sizes = spans.clip(1, MAX_CELLS).reshape(-1, 2)
    count = map_sizes.prod(axis=1)
    person = np.repeat(np.arange(len(count)), count)
    index = np.arange(len(person)) - np.repeat(count.cumsum() - count, count)
    rows, columns = map_sizes[person].T
    share = np.stack([(index % columns + 0.5) / columns, (index // columns + 0.5) / rows], axis=1)
    at = (share * ANNOTATION_GRID).astype(np.int64)
    region = people.coarse.numpy()[person, at[:, 1], at[:, 0]].astype(np.int64)
    points = points_of(people, map_sizes)
    cell_of_point = (count.cumsum() - count)[points.person] + points.index
    uncovered = region[cell_of_point] == 0
    region[cell_of_point[uncovered]] = points.region[uncovered]
    inside = region > 0
    person, index, share = person[inside], index[inside], share[inside]
    low, high = boxes[person, :2], boxes[person, 2:]
    return Cells(map_sizes, person, index, low + share * (high - low), region[inside])


def points_of(people: DensePoseAnnotations, map_sizes: np.ndarray) -> Points:
    """The annotated points and the cells they lie in."""
    owner = people.owner.numpy()
    grid = people.points_grid.double()
    place = grid_to_image(grid, people.boxes_xyxy_px[people.owner].double()).numpy()
    rows_columns = map_sizes[owner]
    exact = grid.numpy() / ANNOTATION_GRID * rows_columns[:, ::-1]
    at = np.minimum(exact.astype(np.int64), rows_columns[:, ::-1] - 1).clip(min=0)
    return Points(
        person=owner,
        index=at[:, 1] * rows_columns[:, 1] + at[:, 0],
        place_px=place,
        part=people.part.numpy(),
        uv=people.uv.double().numpy(),
        off_centre=((exact - at - 0.5) ** 2).sum(axis=1),
    )
