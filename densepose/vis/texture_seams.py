"""Textures without seams: texels beyond the border of a chart show what the neighbour shows there.

A texture is (24, N, N, 4) uint8 RGBA as in ``texture_layout``. Interpolating at the border of a
chart reads texels on both sides of it; those outside would otherwise be empty or repeat the border.
"""

from __future__ import annotations

import functools

import numpy as np

from densepose.surface.charts import ChartAtlas, load_template_atlas
from densepose.surface.seams import points_beyond_seams

from .texture import sample_texture
from .texture_layout import TILE_PX, check_tiles

# Of a tile: far enough for interpolation and for pictures that are scaled down by four.
REACH = 0.03


class SeamFiller:
    """Fills the rim around the charts of one atlas, for one size of tiles."""

    def __init__(self, atlas: ChartAtlas, tile_px: int = TILE_PX, *, reach: float = REACH) -> None:
        """Work out where the surface goes on behind each texel of the rim.

        Args:
            atlas: the charts that the IUV image was made with.
            tile_px: N.
            reach: width of the rim, a share of a tile.
        """
        self.tile_px = tile_px
        self._points, step = points_beyond_seams(atlas, tile_px - 1, reach)
        self._row, self._column = tile_px - 1 - step[:, 1], step[:, 0]

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """A copy with the rim filled where the neighbour is known.

        Raises:
            ValueError: tiles of another size.
        """
        check_tiles(tiles)
        if tiles.shape[1] != self.tile_px:
            raise ValueError(
                f"made for tiles of {self.tile_px} px, got {tiles.shape[1]} px; make another"
            )
        color = sample_texture(tiles, self._points.other_part, self._points.other_uv)
        known = color[:, 3] >= 127.5
        color[:, 3] = 255
        filled = tiles.copy()
        filled[self._points.part[known] - 1, self._row[known], self._column[known]] = np.rint(
            color[known]
        )
        return filled


@functools.lru_cache(maxsize=2)
def template_seam_filler(tile_px: int = TILE_PX) -> SeamFiller:
    """For the body shipped with the project; made once a size, then shared."""
    return SeamFiller(load_template_atlas(), tile_px)
