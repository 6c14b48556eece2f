"""The surface a data set is scored on: what vertex (part, u, v) means, and distances between them.

DensePose-COCO is annotated and scored on the subdivided SMPL mesh, the synthetic data on the
project's own template. Evaluation asks both the same two questions.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densepose.errors import InputError

from .charts import load_template_atlas
from .geodesics import GeodesicDistances, template_geodesics

SURFACES = ("template", "smpl_27554")
_OFFICIAL = re.compile(r"smpl_(?P<vertices>[1-9]\d{0,6})")


class VertexLookup(Protocol):
    """Anything that finds the vertex of a chart position, a :class:`ChartAtlas` for example."""

    def nearest_vertex(self, part: ArrayLike, uv: ArrayLike) -> NDArray[np.int64]:
        """(P,) parts and (P, 2) coordinates -> (P,) vertices, -1 for part 0."""
        ...


@dataclass(frozen=True)
class EvaluationSurface:
    """Vertices of chart positions and distances between them."""

    name: str
    charts: VertexLookup
    distances: GeodesicDistances

    def nearest_vertex(self, part: ArrayLike, uv: ArrayLike) -> NDArray[np.int64]:
        """(P,) parts 0 to 24 and (P, 2) coordinates -> (P,) vertices, -1 for part 0."""
        return self.charts.nearest_vertex(part, uv)

    def distance_m(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """(P,) and (P,) vertices -> (P,) metres along the surface.

        Infinite where either vertex is -1: background is nowhere on the surface.
        """
        a, b = np.broadcast_arrays(np.asarray(a, np.int64), np.asarray(b, np.int64))
        distance = np.full(a.shape, np.inf, np.float32)
        known = (a != -1) & (b != -1)
        distance[known] = self.distances.lookup(a[known], b[known])
        return distance


def load_evaluation_surface(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> EvaluationSurface:
    """Make the surface called ``name`` ready for look-ups.

    Args:
        name: "template" (distances are computed once, into the cache), "smpl_27554", "smpl_V" for
            files of the official form of another mesh with V vertices, or the path of a file that
            densepose build-surface made (.npz).
        data_dir: folder of the official evaluation files; needed for "smpl_27554".
        cache_dir: where computed distances are kept; see :func:`template_geodesics`.

    Raises:
        InputError: an unknown name, no folder for the official files, or a damaged file; a file is
            missing.
    """
    if is_own_surface(name):
        # Imported here because that module, as the official one, builds an EvaluationSurface.
        from .own.surface_file import load_own_evaluation_surface

        return load_own_evaluation_surface(name, cache_dir=cache_dir)
    if name == "template":
        distances = template_geodesics(cache_dir)
        return EvaluationSurface(name, load_template_atlas(), distances)
    if official := _OFFICIAL.fullmatch(name):
        if data_dir is None:
            raise InputError(
                f"surface {name!r} needs data_dir, the folder with SMPL_subdiv.mat,"
                " SMPL_SUBDIV_TRANSFORM.mat and Pdist_matrix.pkl"
            )
        # Imported here because that module builds an EvaluationSurface.
        from .official.surface import load_official_surface

        return load_official_surface(data_dir, num_vertices=int(official["vertices"]))
    raise InputError(
        f"unknown surface {name!r}; expected one of {', '.join(SURFACES)}, smpl_V for files of that"
        " form of a mesh of V vertices, or a file of densepose build-surface (.npz)"
    )


def is_own_surface(name: str) -> bool:
    """Whether the name of a surface is the path of a file that densepose build-surface made."""
    return str(name).endswith(".npz")
