"""What the surface cases do on our side: IUV to the body, textures taken and put."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from densepose.benchmark.both_sides import serving, steps

SCENE = "scene.npz"


def prepare(case: dict[str, Any]) -> serving.Run:
    """The work that ``opts`` names, on the scene in the folder of the case; tables are warm."""
    with np.load(Path(case["folder"]) / SCENE, allow_pickle=False) as file:
        image, iuv, picture = file["image"], file["iuv"], file["texture"]
    (work,) = case["opts"]
    do = _works(image, iuv, picture)[work]
    do()

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage(work):
            do()
        return clock.seconds

    return run


def _works(
    image: np.ndarray, iuv: np.ndarray, picture: np.ndarray
) -> dict[str, Callable[[], object]]:
    from densepose.surface.charts import load_template_atlas
    from densepose.vis.texture import put_texture, take_texture
    from densepose.vis.texture_layout import split_picture
    from densepose.vis.texture_seams import template_seam_filler

    atlas, close_seams = load_template_atlas(), template_seam_filler()
    tiles = split_picture(picture)
    return {
        "triangles": lambda: atlas.surface_of(iuv),
        "vertices": lambda: atlas.vertices_of(iuv),
        "points": lambda: atlas.points_of(iuv),
        "take": lambda: close_seams(take_texture(image, iuv)),
        "put": lambda: put_texture(image, iuv, tiles),
        "put nearest": lambda: put_texture(image, iuv, tiles, sampling="nearest"),
    }
