"""Textures: taken off a photo, put on people, without seams, in the layout people exchange.

A texture is (24, N, N, 4) uint8 RGBA, tile p - 1 for part p. In a tile, u grows to the right and v
grows *upwards*: texel (row, column) has its centre at u = column / (N - 1), v = 1 - row / (N - 1),
so the centres of the outermost texels lie on the border of the chart's square.

A texture *picture* is 6 N high and 4 N wide: part p has tile column (p - 1) // 6 and tile row
(p - 1) % 6. N is usually 200. Its channels are red, green, blue, and alpha if there is one; without
alpha, black means that nothing is known.

Photos are (H, W, 3) uint8 RGB and are not changed, IUV images as in ``iuv_image``.
"""

from __future__ import annotations

import os

import cv2
import numpy as np
from PIL import Image

from densepose.errors import InputError
from densepose.files import atomic
from densepose.structures.body_parts import NUM_PARTS
from densepose.surface.charts import ChartAtlas
from densepose.surface.seams import points_beyond_seams

from . import texture_kernels
from .iuv_image import check_iuv, open_picture

TILE_ROWS, TILE_COLUMNS = 6, 4
TILE_PX = 200
SAMPLING = ("bilinear", "nearest")
# Light and shade of the photo change the texture by no more than these factors.
_LEAST_GAIN, _LARGEST_GAIN = 0.25, 2.5


def take_texture(
    image: np.ndarray,
    iuv: np.ndarray,
    *,
    tile_px: int = TILE_PX,
    max_jump: float = 0.2,
    reach: float = 0.03,
) -> np.ndarray:
    """What a photo shows of the body's surface.

    Neighbouring pixels of one part are joined, so tiles have no holes where the person is seen in
    fewer pixels than the tile has texels. What several pixels show is averaged, so an IUV image
    should hold one person.

    Args:
        image: (H, W, 3) RGB.
        iuv: (H, W, 3) uint8 in the order I, U, V.
        tile_px: N, side of a tile.
        max_jump: neighbours farther apart in u or v than this do not belong together and are not
            joined.
        reach: colours are extended by this fraction of a tile beyond what is seen; it closes the
            pixel that is missing at the borders between parts. 1 fills every tile that has a
            colour at all.

    Returns:
        (24, N, N, 4) uint8 RGBA; transparent black where nothing is known.

    Raises:
        InputError: sizes that differ, no IUV image, a side below 2, or fractions outside 0 to 1.
    """
    _check_images(image, iuv)
    if tile_px < 2:
        raise InputError(f"tile_px must be at least 2, got {tile_px}")
    _check_fractions(max_jump=max_jump, reach=reach)
    total = np.zeros((NUM_PARTS, tile_px, tile_px, 4), np.float32)
    longest = max_jump * (tile_px - 1)
    texture_kernels.add_photo(
        np.ascontiguousarray(image), np.ascontiguousarray(iuv), longest, total
    )
    tiles = np.zeros(total.shape, np.uint8)
    texture_kernels.mean_colors(total, tiles)
    return spread_colors(tiles, reach * tile_px) if reach > 0 else tiles


def spread_colors(tiles: np.ndarray, reach_texels: float) -> np.ndarray:
    """A copy whose unknown texels have the colour of the nearest known one of their tile.

    Args:
        tiles: (24, N, N, 4) uint8.
        reach_texels: those farther away stay unknown.
    """
    check_tiles(tiles)
    spread = tiles.copy()
    for tile in spread:
        known = tile[..., 3] > 0
        if not known.any() or known.all():
            continue
        distance, label = cv2.distanceTransformWithLabels(
            (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        flat = tile.reshape(-1, 4)
        place = np.zeros(label.max() + 1, np.int64)
        place[label[known]] = np.flatnonzero(known)
        near = np.flatnonzero(((distance <= reach_texels) & ~known).ravel())
        flat[near] = flat[place[label.ravel()[near]]]
    return spread


def put_texture(
    image: np.ndarray,
    iuv: np.ndarray,
    tiles: np.ndarray,
    *,
    opacity: float = 1.0,
    shading: float = 0.0,
    sampling: str = "bilinear",
) -> np.ndarray:
    """Dress the people of a photo in a texture.

    Args:
        image: (H, W, 3) RGB.
        iuv: (H, W, 3) uint8 in the order I, U, V; any number of people.
        tiles: (24, N, N, 4) uint8 RGBA; where they are transparent the photo stays.
        opacity: 0 leaves the photo, 1 hides it.
        shading: 0 paints the texture as it is; up to 1, light and folds of the photo stay on it:
            the colour is multiplied by (lightness of the pixel / mean of all people) to this power.
        sampling: "bilinear", or "nearest" for the texel detectron2's DensePose takes.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: sizes that differ, no IUV image, no texture, or a value out of range.
    """
    _check_images(image, iuv)
    check_tiles(tiles)
    if tiles.shape[3] != 4 or tiles.dtype != np.uint8:
        raise InputError(f"tiles must be RGBA uint8, got {tiles.shape} {tiles.dtype}")
    if sampling not in SAMPLING:
        raise InputError(f"sampling must be one of {SAMPLING}, got {sampling!r}")
    _check_fractions(opacity=opacity, shading=shading)
    out, iuv = np.array(image, order="C"), np.ascontiguousarray(iuv)
    light, gain = np.zeros(out.shape[:2], np.uint8), np.ones(256, np.float32)
    if shading > 0 and iuv[..., 0].any():
        light = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)
        mean = max(float(light[iuv[..., 0] > 0].mean()), 1.0)
        gain = ((np.arange(256) / mean).clip(_LEAST_GAIN, _LARGEST_GAIN) ** shading).astype("f4")
    texels = np.ascontiguousarray(tiles)
    texture_kernels.paint(iuv, texels, sampling == "bilinear", opacity, gain, light, out)
    return out


def sample_texture(tiles: np.ndarray, part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Colours at any places, interpolated between texels.

    Args:
        tiles: (24, N, N, 4) uint8.
        part: (P,) 1 to 24.
        uv: (P, 2) in [0, 1].

    Returns:
        (P, 4) float32 RGBA, 0 to 255; texels that are transparent do not colour the others.
    """
    part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float32)
    if part.size and (part.min() < 1 or part.max() > NUM_PARTS):
        raise InputError(f"parts must be 1 to {NUM_PARTS}, got {part.min()} to {part.max()}")
    if uv.shape != (len(part), 2) or (uv.size and not (uv.min() >= 0 and uv.max() <= 1)):
        raise InputError(f"uv must be ({len(part)}, 2) in [0, 1], got shape {uv.shape}")
    colors = np.empty((len(part), 4), np.float32)
    texture_kernels.sample_tiles(np.ascontiguousarray(tiles), part, uv, colors)
    return colors


class SeamFiller:
    """Fills the rim around the charts of one atlas with what the neighbouring part shows there.

    Interpolating at the border of a chart reads texels on both sides of it; those outside would
    otherwise be empty or repeat the border.
    """

    def __init__(self, atlas: ChartAtlas, tile_px: int = TILE_PX, *, reach: float = 0.03) -> None:
        """Work out where the surface continues behind each texel of the rim.

        Args:
            atlas: the charts that the IUV image was made with.
            tile_px: N.
            reach: width of the rim as a fraction of a tile. The default is enough for
                interpolation and for pictures that are scaled down by four.
        """
        self.tile_px = tile_px
        self._points, step = points_beyond_seams(atlas, tile_px - 1, reach)
        self._row, self._column = tile_px - 1 - step[:, 1], step[:, 0]

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """A copy with the rim filled where the neighbour is known.

        Raises:
            InputError: tiles of another size.
        """
        check_tiles(tiles)
        if tiles.shape[1] != self.tile_px:
            raise InputError(
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


def join_tiles(tiles: np.ndarray) -> np.ndarray:
    """(24, N, N, C) tiles -> (6 N, 4 N, C) picture."""
    check_tiles(tiles)
    _, side, _, channels = tiles.shape
    grid = tiles.reshape(TILE_COLUMNS, TILE_ROWS, side, side, channels)
    picture = grid.transpose(1, 2, 0, 3, 4)
    return picture.reshape(TILE_ROWS * side, TILE_COLUMNS * side, channels)


def split_picture(picture: np.ndarray, source: str = "texture") -> np.ndarray:
    """(6 N, 4 N, 3 or 4) uint8 picture -> (24, N, N, 4) tiles.

    Without an alpha channel, black becomes transparent.

    Raises:
        InputError: another shape or type.
    """
    side = picture.shape[0] // TILE_ROWS if picture.ndim == 3 else 0
    expected = (TILE_ROWS * side, TILE_COLUMNS * side)
    if side < 2 or picture.shape[:2] != expected or picture.shape[2] not in (3, 4):
        raise InputError(
            f"{source}: a texture holds {TILE_ROWS} x {TILE_COLUMNS} square tiles, 1200 x 800 px"
            f" for example, with 3 or 4 channels; got shape {picture.shape} (height first)"
        )
    if picture.dtype != np.uint8:
        raise InputError(f"{source}: a texture must be uint8, got {picture.dtype}")
    if picture.shape[2] == 3:
        alpha = np.where(picture.any(axis=2, keepdims=True), 255, 0).astype(np.uint8)
        picture = np.concatenate([picture, alpha], axis=2)
    grid = picture.reshape(TILE_ROWS, side, TILE_COLUMNS, side, 4).transpose(2, 0, 1, 3, 4)
    return np.ascontiguousarray(grid).reshape(NUM_PARTS, side, side, 4)


def read_texture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a texture picture: (24, N, N, 4) uint8 RGBA.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a picture, or not in the layout described above.
    """
    opened = open_picture(path, "a texture, PNG")
    wanted = "RGBA" if opened.has_transparency_data else "RGB"
    return split_picture(np.asarray(opened.convert(wanted)), str(path))


def write_texture(path: str | os.PathLike[str], tiles: np.ndarray) -> None:
    """Write (24, N, N, 3 or 4) uint8 tiles as a PNG; an existing file is replaced at once."""
    with atomic(path) as temporary:
        Image.fromarray(join_tiles(tiles)).save(temporary, format="PNG")


def check_tiles(tiles: np.ndarray) -> None:
    """Raise InputError unless ``tiles`` is (24, N, N, C) with N at least 2."""
    wrong = tiles.ndim != 4 or tiles.shape[0] != NUM_PARTS or tiles.shape[1] != tiles.shape[2]
    if wrong or tiles.shape[1] < 2:
        raise InputError(f"tiles must be (24, N, N, C) with N >= 2, got {tiles.shape}")


def _check_fractions(**fractions: float) -> None:
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise InputError(f"{name} must be from 0 to 1, got {value}")


def _check_images(image: np.ndarray, iuv: np.ndarray) -> None:
    check_iuv(iuv, "iuv")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"the photo must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if image.shape != iuv.shape:
        raise InputError(
            f"photo and IUV must have the same size, got {image.shape[1]} x {image.shape[0]} px and"
            f" {iuv.shape[1]} x {iuv.shape[0]} px"
        )
