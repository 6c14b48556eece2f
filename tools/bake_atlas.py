"""Make the charts of the baked body again: run after tools/bake_template.py.

    python tools/bake_atlas.py [--picture charts.png]

Needs libigl, and matplotlib for the picture; see requirements for development.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from densepose.surface.bake_atlas import make_atlas, save_atlas
from densepose.surface.chart_quality import area_distortion, distortion_percentile, folded_share
from densepose.surface.charts import ASSET, NUM_PARTS, ChartAtlas
from densepose.surface.template import PART_NAMES, load_template


def draw_atlas(atlas: ChartAtlas, path: Path) -> None:
    """Picture of all charts, triangles coloured by area distortion (logarithm, folds black)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    factor, share = area_distortion(atlas), distortion_percentile(atlas, 95)
    figure, axes = pyplot.subplots(4, 6, figsize=(18, 13), layout="constrained")
    colours = matplotlib.colormaps["viridis"].with_extremes(over="black")
    for part, axis in zip(range(1, NUM_PARTS + 1), axes.flat, strict=True):
        mine = atlas.face_part == part
        drawn = axis.tripcolor(
            *atlas.uv.T,
            np.log2(np.minimum(factor[mine], 1e9)),
            triangles=atlas.uv_faces[mine],
            cmap=colours,
            vmin=0,
            vmax=4,
            edgecolors="white",
            linewidth=0.15,
        )
        axis.set_title(f"{part} {PART_NAMES[part]}: 95% below {share[part - 1]:.2f}", fontsize=9)
        axis.set(aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    figure.colorbar(drawn, ax=axes, shrink=0.5, label="log2 of the area factor", extend="max")
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """Bake, print what was measured, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ASSET, help="where the atlas goes")
    parser.add_argument("--picture", type=Path, help="PNG of all charts, coloured by distortion")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    template = load_template()
    atlas = make_atlas(template)
    save_atlas(arguments.output, atlas, template)
    folded, distortion = folded_share(atlas), distortion_percentile(atlas, 95)
    for part in range(NUM_PARTS):
        print(
            f"{part + 1:2d} {PART_NAMES[part + 1]:22s} folded {100 * folded[part]:.2f}%,"
            f" area factor 95% below {distortion[part]:.2f}"
        )
    if arguments.picture:
        draw_atlas(atlas, arguments.picture)


if __name__ == "__main__":
    main()
