"""The surface that points are placed on, and the regions of it that annotators delineate."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import COARSE_OF_PART, REGION_NAMES
from densepose.surface.charts import ChartAtlas, load_template_atlas
from densepose.surface.evaluation_surface import EvaluationSurface, load_evaluation_surface
from densepose.surface.own.surface_file import read_own_surface

TEMPLATE = "template"


@dataclass(frozen=True)
class Body:
    """A surface with charts; regions are numbered from 1."""

    source: str  # "template", or the path of a file of densepose build-surface
    name: str
    atlas: ChartAtlas
    region_names: tuple[str, ...]
    region_of_part: NDArray[np.int64]  # (25,)

    @property
    def is_template(self) -> bool:
        """Whether it is the body of the package, with the 14 regions of DensePose-COCO."""
        return self.source == TEMPLATE

    @property
    def ref_model(self) -> str:
        """What ``ref_model`` of an annotation calls it: name and number of vertices."""
        return f"{self.name}_{self.atlas.mesh.num_vertices}"

    @functools.cached_property
    def evaluation(self) -> EvaluationSurface:
        """Vertices and distances; the latter are computed once, into the cache."""
        return load_evaluation_surface(self.source)

    def distance_m(
        self, first: tuple[NDArray, NDArray], second: tuple[NDArray, NDArray]
    ) -> NDArray[np.float32]:
        """(P,) metres between the places (part (P,), uv (P, 2)) and the others."""
        a, b = (self.evaluation.nearest_vertex(*place) for place in (first, second))
        return self.evaluation.distance_m(a, b)


def load_body(source: str | os.PathLike[str] = TEMPLATE) -> Body:
    """The package's body, or a mesh of the user's, whose regions are its parts.

    Args:
        source: "template", or a file of densepose build-surface.

    Raises:
        InputError: no such file, or it is not a file of a surface.
    """
    if source == TEMPLATE:
        return Body(TEMPLATE, TEMPLATE, load_template_atlas(), REGION_NAMES, COARSE_OF_PART)
    own = read_own_surface(source)
    parts = np.unique(own.atlas.face_part)
    region_of_part = np.zeros(len(own.part_names), np.int64)
    region_of_part[parts] = np.arange(1, len(parts) + 1)
    names = tuple(own.part_names[part] or f"part {part}" for part in parts)
    return Body(os.fspath(source), own.name, own.atlas, names, region_of_part)
