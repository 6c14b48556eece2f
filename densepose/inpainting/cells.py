"""The pixels of annotated people that are to be inpainted, and the points that are known.

Shapes: N people of one image; Q cells of all of them that lie in an annotated region; P points.
Places are in px of the stored image, or in units of the person's size, the longer side of the box:
these say how far apart places are on people of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from densepose.structures.annotations import DensePoseAnnotations, grid_to_image
from densepose.structures.body_parts import ANNOTATION_GRID, COARSE_OF_PART, UV_STEPS
from densepose.structures.dense_labels import CONFIDENCE_STEPS

# Rows and columns of a person's maps at most: those of the annotated masks.
MAX_CELLS = int(ANNOTATION_GRID)


@dataclass(frozen=True)
class _Places:
    person: np.ndarray  # (Q,) int64
    index: np.ndarray  # (Q,) int64: row * columns + column of a cell in the person's map
    place_px: np.ndarray  # (Q, 2) float64 x, y
    size_px: np.ndarray  # (Q,) float64 of the person

    @property
    def place(self) -> np.ndarray:
        """(Q, 2) in units of the person's size."""
        return self.place_px / self.size_px[:, None]

    def group(self, kind: np.ndarray) -> np.ndarray:
        """(Q,) one number for each pair of a person and a part or region."""
        return self.person * 100 + kind


@dataclass(frozen=True)
class Cells(_Places):
    """Q cells of the maps of N people, person after person, row by row; places are centres."""

    region: np.ndarray  # (Q,) int64 1..14
    map_sizes: np.ndarray  # (N, 2) int64 rows, columns of each person's maps


@dataclass(frozen=True)
class Points(_Places):
    """P annotated points, person after person; ``index`` is the cell that a point lies in."""

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


def cells_and_points(people: DensePoseAnnotations) -> tuple[Cells, Points]:
    """The cells inside the annotated regions, and the annotated points.

    Maps have one cell a px, but at most MAX_CELLS rows and columns. A cell of no region that an
    annotated point lies in belongs to the region of the point's part, so that every point has a
    cell.
    """
    boxes = people.boxes_xyxy_px.double().numpy()
    low, span = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    size_px = span.max(axis=1, initial=1.0)
    map_sizes = np.ceil(span[:, ::-1]).astype(np.int64).clip(1, MAX_CELLS).reshape(-1, 2)
    count = map_sizes.prod(axis=1)
    first = count.cumsum() - count
    person = np.repeat(np.arange(len(count)), count)
    index = np.arange(len(person)) - first[person]
    rows, columns = map_sizes[person].T
    fraction = np.stack(
        [(index % columns + 0.5) / columns, (index // columns + 0.5) / rows], axis=1
    )
    at = (fraction * ANNOTATION_GRID).astype(np.int64)
    region = people.coarse.numpy()[person, at[:, 1], at[:, 0]].astype(np.int64)
    points = _points(people, map_sizes, size_px)
    cell_of_point = first[points.person] + points.index
    uncovered = region[cell_of_point] == 0
    region[cell_of_point[uncovered]] = points.region[uncovered]
    inside = region > 0
    person, index = person[inside], index[inside]
    place_px = low[person] + fraction[inside] * span[person]
    return Cells(person, index, place_px, size_px[person], region[inside], map_sizes), points


def _points(people: DensePoseAnnotations, map_sizes: np.ndarray, size_px: np.ndarray) -> Points:
    owner = people.owner.numpy()
    grid = people.points_grid.double()
    rows_columns = map_sizes[owner]
    exact = grid.numpy() / ANNOTATION_GRID * rows_columns[:, ::-1]
    at = np.minimum(exact.astype(np.int64), rows_columns[:, ::-1] - 1).clip(min=0)
    return Points(
        person=owner,
        index=at[:, 1] * rows_columns[:, 1] + at[:, 0],
        place_px=grid_to_image(grid, people.boxes_xyxy_px[people.owner].double()).numpy(),
        size_px=size_px[owner],
        part=people.part.numpy(),
        uv=people.uv.double().numpy(),
        off_centre=((exact - at - 0.5) ** 2).sum(axis=1),
    )


def keep_points(cells: Cells, points: Points, guess: Guess) -> Guess:
    """The guess with the annotation itself at the cells that annotated points lie in.

    Of several points in a cell, the one nearest to its centre counts.
    """
    most = int(cells.map_sizes.prod(axis=1).max(initial=1))
    # Ascending, and every point has a cell.
    at = np.searchsorted(cells.person * most + cells.index, points.person * most + points.index)
    # Written from the farthest to the nearest, so the nearest stays.
    order = np.argsort(-points.off_centre, kind="stable")
    at = at[order]
    part, uv, confidence = guess.part.copy(), guess.uv.copy(), guess.confidence.copy()
    part[at], uv[at], confidence[at] = points.part[order], points.uv[order], 1.0
    return Guess(part, uv, confidence)


def to_maps(cells: Cells, guess: Guess) -> list[np.ndarray]:
    """(4, h, w) uint8 part, U, V and confidence of each person; 0 where there is no cell."""
    count = cells.map_sizes.prod(axis=1)
    at = (count.cumsum() - count)[cells.person] + cells.index
    planes = np.zeros((4, int(count.sum())), np.uint8)
    known = guess.part > 0
    planes[0, at] = guess.part
    planes[1:3, at] = np.rint(guess.uv.T * UV_STEPS) * known
    planes[3, at] = np.rint(guess.confidence * CONFIDENCE_STEPS) * known
    pieces = np.split(planes, count.cumsum()[:-1], axis=1) if len(count) else []
    return [
        piece.reshape(4, *size)
        for piece, size in zip(pieces, cells.map_sizes.tolist(), strict=True)
    ]
