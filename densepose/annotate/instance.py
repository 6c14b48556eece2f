"""One annotated instance: its box, regions and points, and what a record of a file says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import ANNOTATION_GRID

from .body import Body
from .events import Answered, Box, Stroke
from .regions import canvas_from_grid, draw_stroke, grid_from_masks

NOBODY = ""  # the annotator of what came from a file
POINT_KEYS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_vertex", "ref_model")
# Regions of a mesh of the user's: as dp_masks, but one for each of its parts.
PART_MASKS = "part_masks"


@dataclass
class Point:
    """A point of an instance; of the answers to it the last one counts."""

    region: int
    x: float
    y: float
    answers: dict[str, Answered] = field(default_factory=dict)  # by annotator
    is_confirmed: bool = False

    @property
    def answer(self) -> Answered | None:
        """The last answer of anybody."""
        return next(reversed(self.answers.values()), None)


@dataclass
class Instance:
    """One person, or whatever the surface is of."""

    id: int
    image: str
    box: Box
    source: str  # of the box: "annotator", "file" or "model"
    record: dict[str, Any]  # of the file it came from; empty for a new one
    grid: NDArray[np.uint8] | None = None  # regions before all strokes, over grid_box
    grid_box: Box = (0.0, 0.0, 1.0, 1.0)
    started_from: str = ""  # where grid is from: "file" or "model"
    strokes: list[Stroke] = field(default_factory=list)
    points: dict[int, Point] = field(default_factory=dict)
    next_point: int = 0  # numbers of points are not used again
    sampled_regions: int = -1  # checksum of the regions that the points were chosen from
    is_finished: bool = False
    is_changed: bool = False  # by an annotator
    version: int = 0  # counts up with every event
    _canvas: tuple[int, NDArray[np.uint8]] | None = None

    def canvas(self) -> NDArray[np.uint8]:
        """Regions over the box, see ``regions``; not to be written to."""
        if self._canvas is None or self._canvas[0] != self.version:
            canvas = canvas_from_grid(self.grid, self.grid_box, self.box)
            for stroke in self.strokes:
                draw_stroke(canvas, stroke, self.box)
            self._canvas = self.version, canvas
        return self._canvas[1]

    def read_record(self, body: Body) -> None:
        """Take regions and points out of the record, which keeps the rules of check-data."""
        record = self.record
        masks = record.get(PART_MASKS) or record.get("dp_masks")
        if isinstance(masks, list):
            self.grid, self.grid_box = grid_from_masks(masks), self.box
            self.started_from = "file"
        self.is_finished = "dp_masks" in record or "dp_x" in record
        if "dp_I" in record:
            part = np.array(record["dp_I"], np.int64)
            uv = np.array([record["dp_U"], record["dp_V"]], np.float64).T
        elif "dp_vertex" in record:
            part, uv = body.atlas.from_vertices(np.array(record["dp_vertex"], np.int64))
        else:
            return
        vertex = record.get("dp_vertex") or [-1] * len(part)
        grid_xy = np.array([record["dp_x"], record["dp_y"]], np.float64).T
        xy = np.array(self.box[:2]) + grid_xy / ANNOTATION_GRID * self.box[2:]
        for k, (x, y) in enumerate(xy.tolist()):
            u, v = uv[k].tolist()
            answer = Answered(
                instance=self.id, point=k, part=int(part[k]), u=u, v=v, vertex=int(vertex[k])
            )
            region = int(body.region_of_part[part[k]])
            self.points[k] = Point(region, x, y, answers={NOBODY: answer})
        self.next_point = len(part)

    def placed(self) -> list[tuple[int, Point, Answered]]:
        """The points that were found on the surface, with their answers."""
        answered = ((number, point, point.answer) for number, point in self.points.items())
        return [(n, p, a) for n, p, a in answered if a is not None and a.kind == "placed"]
