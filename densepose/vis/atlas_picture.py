"""A picture of the charts of an atlas, and of the body with its parts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from densepose.files import atomic
from densepose.structures.body_parts import NUM_PARTS, PART_NAMES
from densepose.surface.charts import ChartAtlas
from densepose.surface.mesh import face_normals
from densepose.surface.own.quality import area_distortion, distortion_percentile, folded_fraction

from .styles import PART_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, ROWS = 6, 4


def draw_atlas(
    atlas: ChartAtlas,
    path: str | os.PathLike[str],
    *,
    names: tuple[str, ...] = PART_NAMES,
    up: int = 1,
) -> None:
    """Write a PNG: the body from two sides in the colours of its parts, then every chart.

    Charts are coloured by the factor by which a triangle is drawn too small or too large, with the
    colour of the part in their corner. Triangles that are folded over are black.

    Args:
        atlas: any.
        path: of the picture; replaced at once.
        names: of parts 0 to 24, "" for those that have none.
        up: axis that points up in the picture.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    factor, share = area_distortion(atlas), distortion_percentile(atlas, 95)
    folded = folded_fraction(atlas)
    figure = Figure(figsize=(24, 13), layout="constrained")
    body, charts = figure.subfigures(1, 2, width_ratios=(1, 3))
    for axis, side in zip(body.subplots(2, 1), (1, -1), strict=True):
        _draw_body(axis, atlas, up, side)
    colours = colormaps["viridis"].with_extremes(over="black")
    axes = charts.subplots(ROWS, COLUMNS)
    drawn = None
    for part, axis in zip(range(1, NUM_PARTS + 1), axes.flat, strict=True):
        own = atlas.face_part == part
        axis.set(aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        if not own.any():
            axis.set_axis_off()
            continue
        drawn = axis.tripcolor(
            *atlas.uv.T,
            np.log2(np.minimum(factor[own], 1e9)),
            triangles=atlas.uv_faces[own],
            cmap=colours,
            vmin=0,
            vmax=4,
            edgecolors="white",
            linewidth=0.15,
        )
        fold = f", {100 * folded[part - 1]:.1f}% folded" if folded[part - 1] else ""
        title = f"{part} {names[part]}: 95% below {share[part - 1]:.2f}{fold}"
        axis.set_title(title, fontsize=9, color="red" if fold else "black")
        axis.add_patch(
            Rectangle((-0.02, -0.02), 0.08, 0.08, fc=PART_COLORS[part] / 255, ec="black", lw=0.5)
        )
    charts.colorbar(drawn, ax=axes, shrink=0.5, label="log2 of the area factor", extend="max")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def _draw_body(axis: Axes, atlas: ChartAtlas, up: int, side: int) -> None:
    """Triangles that face one side of the body, nearest last, shaded by their slope."""
    from matplotlib.collections import PolyCollection

    # The view goes along the horizontal axis across which the body is thinner.
    flat = [a for a in range(3) if a != up]
    size = np.ptp(atlas.mesh.vertices_m, axis=0)
    ahead = min(flat, key=lambda a: size[a])
    across = next(a for a in flat if a != ahead)
    vertices = atlas.mesh.vertices_m.astype(np.float64)
    normal = face_normals(vertices, atlas.mesh.faces)[:, ahead] * side
    seen = np.flatnonzero(normal > 0)
    depth = vertices[atlas.mesh.faces, ahead].mean(axis=1) * side
    seen = seen[np.argsort(depth[seen])]
    # As seen by somebody who looks at this side, in a right-handed frame.
    handed = 1 if (across, up, ahead) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1
    place = vertices[:, [across, up]] * [handed * side, 1]
    shade = (0.45 + 0.55 * normal[seen])[:, None]
    colors = PART_COLORS[atlas.face_part[seen]] / 255 * shade
    shown = PolyCollection(place[atlas.mesh.faces[seen]], facecolors=colors, edgecolors="none")
    axis.add_collection(shown)
    low, high = place.min(axis=0), place.max(axis=0)
    axis.set(aspect="equal", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axis.set_axis_off()
    axis.set_title(f"from {'-' if side < 0 else '+'}{'xyz'[ahead]}", fontsize=9)
