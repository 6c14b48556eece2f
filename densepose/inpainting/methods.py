"""What can inpaint: a teacher, methods without a network, a synthetic set's own truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densepose.modeling.dp_fcn import DensePoseFCN
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import UV_STEPS
from densepose.surface.symmetry import ChartSymmetry

from .accuracy import read_truth
from .baselines import nearest_point, smooth_in_part
from .cells import Cells, Guess, Points, sizes_px
from .on_surface import BodyPlaces, SurfaceSettings, refine_on_surface, surface_interpolation
from .refine import RefineSettings, Scores, refine
from .teacher import Averaging, ask


@dataclass(frozen=True)
class Picture:
    """The stored image that is inpainted."""

    image_id: int
    pixels: np.ndarray  # (3, H, W) uint8 in the model's channel order


# (picture, people, cells, points) -> what is said about the cells
Method = Callable[[Picture, DensePoseAnnotations, Cells, Points], Guess]


def nearest(_picture: Any, people: DensePoseAnnotations, cells: Cells, points: Points) -> Guess:
    """The nearest annotated point."""
    return nearest_point(cells, points, sizes_px(people))


def smooth(_picture: Any, people: DensePoseAnnotations, cells: Cells, points: Points) -> Guess:
    """Thin-plate splines."""
    return smooth_in_part(cells, points, sizes_px(people))


BASELINES: Mapping[str, Method] = {"nearest": nearest, "smooth": smooth}


class SurfaceMethod:
    """Interpolation on the body, without a network."""

    def __init__(self, body: BodyPlaces, smoothing: float = 0.0) -> None:
        """Keep the body, and by how much points that are not exact are smoothed."""
        self.body = body
        self.smoothing = smoothing

    def __call__(
        self, _picture: Any, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> Guess:
        """Guess of every cell."""
        return surface_interpolation(cells, points, sizes_px(people), self.body, self.smoothing)


class TeacherMethod:
    """A trained network, averaged over crops, and the annotated points."""

    def __init__(
        self,
        model: DensePoseFCN,
        averaging: Averaging,
        symmetry: ChartSymmetry | None,
        settings: RefineSettings | SurfaceSettings | None,
        body: BodyPlaces | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            model: the network.
            averaging: of its predictions.
            symmetry: for mirror images.
            settings: how network and points are weighed, in the charts or on the surface of a
                body; None leaves the network's word as it is.
            body: whose surface is annotated; needed for ``SurfaceSettings``.
        """
        if isinstance(settings, SurfaceSettings) and body is None:
            raise ValueError("SurfaceSettings need the body whose surface is annotated")
        self.model = model.eval()
        self.averaging = averaging
        self.symmetry = symmetry
        self.settings = settings
        self.body = body

    def __call__(
        self, picture: Picture, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> Guess:
        """Guess of every cell."""
        at_cells, at_points = self.scores(picture.pixels, people, cells, points)
        if isinstance(self.settings, SurfaceSettings):
            sizes = sizes_px(people)
            return refine_on_surface(
                cells, points, sizes, at_cells, at_points, self.settings, self.body
            )
        return refine(cells, points, sizes_px(people), at_cells, at_points, self.settings)

    def scores(
        self, image: Any, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> tuple[Scores, Scores]:
        """What the network alone says at the cells and at the points."""
        asked = ask(
            self.model,
            torch.as_tensor(image),
            people,
            np.concatenate([cells.person, points.person]),
            np.concatenate([cells.place_px, points.place_px]),
            np.concatenate([cells.region, points.region]),
            self.averaging,
            self.symmetry,
        )
        count = len(cells.person)
        return asked[slice(0, count)], asked[slice(count, None)]


class TruthMethod:
    """No guess: the complete truth that a synthetic set has beside it."""

    def __init__(self, truth_dir: str | Path) -> None:
        """Keep the folder; see ``read_truth``."""
        self.truth_dir = truth_dir

    def __call__(
        self, picture: Picture, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> Guess:
        """What each cell shows of its person, who is the one seen in most cells of its regions."""
        iuv, instance = read_truth(self.truth_dir, picture.image_id)
        height, width = instance.shape
        column, row = np.floor(cells.place_px).astype(np.int64).T
        row, column = row.clip(0, height - 1), column.clip(0, width - 1)
        shown = instance[row, column]
        seen = np.zeros((len(people), 256), np.int64)
        np.add.at(seen, (cells.person, shown), 1)
        seen[:, 0] = 0  # nobody
        own = (shown > 0) & (shown == seen.argmax(axis=1)[cells.person])
        part = np.where(own, iuv[row, column, 0], 0).astype(np.int64)
        return Guess(part, iuv[row, column, 1:] / UV_STEPS, (part > 0).astype(np.float64))
