"""Make the charts of the baked body again: run after tools/bake_template.py.

python tools/bake_atlas.py [--picture charts.png]

"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from densepose.surface.bake_atlas import make_atlas, save_atlas
from densepose.surface.chart_quality import distortion_percentile, folded_share
from densepose.surface.charts import ASSET, NUM_PARTS
from densepose.surface.template import PART_NAMES, load_template
from densepose.vis.atlas_picture import draw_atlas


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
