"""How well the charts of an atlas keep what they map: folds and areas.

Areas on the surface are those of the mesh of the atlas, in square metres. Results have one row per
part 1 to 24, in that order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import NUM_PARTS

from ..charts import ChartAtlas
from ..mesh import face_areas, plane_areas


def folded_fraction(atlas: ChartAtlas) -> NDArray[np.float64]:
    """(24,) fraction of each part's surface that its chart turns over or gives no area."""
    area = _surface_areas(atlas)
    folded = plane_areas(atlas.uv, atlas.uv_faces) <= 0
    return _ratio_by_part(atlas, area * folded, area)


def area_distortion(atlas: ChartAtlas) -> NDArray[np.float64]:
    """(F,) factor, at least 1, by which a triangle is drawn larger or smaller than its part is.

    Infinite for a triangle that is turned over.
    """
    area, drawn = _surface_areas(atlas), plane_areas(atlas.uv, atlas.uv_faces)
    scale = _ratio_by_part(atlas, drawn, area)
    ratio = drawn / (area * scale[atlas.face_part - 1])
    ratio = np.maximum(ratio, 0)
    with np.errstate(divide="ignore"):
        return np.maximum(ratio, 1 / ratio)


def distortion_percentile(atlas: ChartAtlas, percent: float = 95) -> NDArray[np.float64]:
    """(24,) factor that ``percent`` of a part's surface does not exceed; nan for a part without."""
    factor, area = area_distortion(atlas), _surface_areas(atlas)
    order = np.lexsort((factor, atlas.face_part))
    part = atlas.face_part[order].astype(np.int64)
    total = _sum_by_part(atlas, area)
    before = np.cumsum(total) - total
    reached = (np.cumsum(area[order]) - before[part - 1]) / total[part - 1]
    enough = np.flatnonzero(reached >= percent / 100 - 1e-9)
    found, first = np.unique(part[enough], return_index=True)
    result = np.full(NUM_PARTS, np.nan)
    result[found - 1] = factor[order][enough[first]]
    return result


def _surface_areas(atlas: ChartAtlas) -> NDArray[np.float64]:
    return face_areas(atlas.mesh.vertices_m.astype(np.float64), atlas.mesh.faces)


def _ratio_by_part(
    atlas: ChartAtlas, above: NDArray[np.float64], below: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(24,) ratio of the sums over each part; nan for a part without triangles."""
    above, below = _sum_by_part(atlas, above), _sum_by_part(atlas, below)
    return np.divide(above, below, out=np.full(NUM_PARTS, np.nan), where=below > 0)


def _sum_by_part(atlas: ChartAtlas, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(atlas.face_part, weights=values, minlength=NUM_PARTS + 1)[1:]
