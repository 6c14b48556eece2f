"""What a horizontal flip of the image does to parts and chart coordinates.

Shapes: P points, M chart vertices. Parts are 0 (background) to 24, coarse regions 0 to 14.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densepose.errors import InputError
from densepose.structures.body_parts import (
    NUM_PARTS,
    flipped_coarse,
    flipped_parts,
)

from .body import load_template
from .chart_search import UV_STEPS
from .charts import ChartAtlas, load_template_atlas

# Largest distance between a mirrored chart vertex and where the rule puts it: half a step of 1/255.
MIRROR_TOLERANCE = 0.5 / UV_STEPS


@dataclass(frozen=True)
class ChartSymmetry:
    """Left-right maps. (u, v) go through ``uv_table`` where there is one, else through the rule."""

    part: NDArray[np.int64]  # (25,) part on the other side
    coarse: NDArray[np.int64]  # (15,) coarse region on the other side
    uv_sign: NDArray[np.float64]  # (25, 2) -1 where a coordinate runs the other way, else 1
    uv_table: NDArray[np.float32] | None = None  # (25, H, W, 2) at [part, int(255 v), int(255 u)]

    def flip_uv(self, part: ArrayLike, uv: ArrayLike) -> NDArray[np.floating]:
        """Coordinates of the mirrored points, in the charts of the mirrored parts.

        Args:
            part: (P,) parts 0 to 24 before the flip.
            uv: (P, 2) coordinates in [0, 1] before the flip.

        Returns:
            (P, 2) floats, float32 if ``uv`` is or a table is used; background stays as it is.

        Raises:
            ValueError: a part outside 0 to 24, or coordinates outside [0, 1] for a table.
        """
        part, uv = np.asarray(part).astype(np.int64), np.asarray(uv)
        uv = uv if np.issubdtype(uv.dtype, np.floating) else uv.astype(np.float64)
        if part.ndim != 1 or uv.shape != (len(part), 2):
            raise ValueError(
                f"parts and (u, v) must have shapes (P,) and (P, 2), got {part.shape} and"
                f" {uv.shape}"
            )
        if part.size and (part.min() < 0 or part.max() > NUM_PARTS):
            raise ValueError(f"parts must be 0 to {NUM_PARTS}, got {part.min()} to {part.max()}")
        if self.uv_table is not None:
            return self._through_table(part, uv.astype(np.float32))
        sign = self.uv_sign[part].astype(uv.dtype)
        return np.where(sign < 0, 1 - uv, uv)

    def _through_table(
        self, part: NDArray[np.int64], uv: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        if uv.size and not (uv.min() >= 0 and uv.max() <= 1):
            raise ValueError(f"u and v must lie in [0, 1], got {uv.min()} to {uv.max()}")
        # Cut off, not rounded, and in float32: the way the table is read where it comes from.
        step = (uv * np.float32(UV_STEPS)).astype(np.int64)
        return np.where(part[:, None] > 0, self.uv_table[part, step[:, 1], step[:, 0]], uv)


def derive_symmetry(atlas: ChartAtlas, mirror_vertex: NDArray[np.integer]) -> ChartSymmetry:
    """Read off an atlas how (u, v) change when the body is mirrored.

    Args:
        atlas: charts of a mesh that is its own mirror image.
        mirror_vertex: (V,) vertex at the mirrored place.

    Raises:
        InputError: parts or charts are not mirror images of each other, with the worst vertex.
    """
    flip = flipped_parts()
    num_vertices = len(atlas.mesh.vertices_m)
    key = atlas.uv_part.astype(np.int64) * num_vertices + atlas.uv_vertex_mesh
    mirrored = flip[atlas.uv_part] * num_vertices + mirror_vertex[atlas.uv_vertex_mesh]
    order = np.argsort(key)
    place = np.minimum(np.searchsorted(key[order], mirrored), len(key) - 1)
    partner = order[place]
    if not np.array_equal(key[partner], mirrored):
        lost = int(np.flatnonzero(key[partner] != mirrored)[0])
        raise InputError(
            f"chart vertex {lost} of part {atlas.uv_part[lost]} has no mirror image in part"
            f" {flip[atlas.uv_part[lost]]}; the parts are not symmetric"
        )
    mirrored_uv, uv = atlas.uv[partner].astype(np.float64), atlas.uv.astype(np.float64)
    errors = np.zeros((2, NUM_PARTS + 1, 2))  # largest error of (same, turned) per part and axis
    for row, rule in enumerate((uv, 1 - uv)):
        np.maximum.at(errors[row], atlas.uv_part, np.abs(mirrored_uv - rule))
    if errors.min(axis=0).max() > MIRROR_TOLERANCE:
        part = int(errors.min(axis=0).max(axis=1).argmax())
        raise InputError(
            f"charts {part} and {flip[part]} are not mirror images: (u, v) miss both u and 1 - u"
            f" by {errors.min(axis=0)[part].max():.4f}"
        )
    sign = np.where(errors[1] < errors[0], -1.0, 1.0)
    return ChartSymmetry(flip, flipped_coarse(), sign)


@functools.lru_cache(maxsize=1)
def template_symmetry() -> ChartSymmetry:
    """Left-right maps of the body shipped with the project."""
    return derive_symmetry(load_template_atlas(), load_template().mirror_vertex)
