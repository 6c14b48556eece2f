"""Taking a person's texture off a photo, and putting a texture on a person.

Photos are (H, W, 3) uint8 RGB and are not changed, IUV images as in ``iuv_image``, textures
(24, N, N, 4) uint8 RGBA as in ``texture_layout``.
"""

from __future__ import annotations

import cv2
import numpy as np

from densepose.structures.body_parts import NUM_PARTS

from . import texture_kernels
from .iuv_image import check_iuv
from .texture_layout import TILE_PX, check_tiles

SAMPLING = {
    "bilinear": texture_kernels.paint_bilinear,
    "nearest": texture_kernels.paint_nearest,
}
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
        reach: colours are carried on by this share of a tile beyond what is seen; it closes the
            pixel that is missing at the borders between parts. 1 fills every tile that has a
            colour at all.

    Returns:
        (24, N, N, 4) uint8 RGBA; transparent black where nothing is known.

    Raises:
        ValueError: sizes that differ, no IUV image, a side below 2, or shares outside 0 to 1.
    """
    _check_images(image, iuv)
    if tile_px < 2:
        raise ValueError(f"tile_px must be at least 2, got {tile_px}")
    for name, share in (("max_jump", max_jump), ("reach", reach)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is a share of a tile, 0 to 1, got {share}")
    total = np.zeros((NUM_PARTS, tile_px, tile_px, 4), np.float32)
    longest = max_jump * (tile_px - 1)
    texture_kernels.add_photo(
        np.ascontiguousarray(image), np.ascontiguousarray(iuv), longest, total
    )
    tiles = np.empty(total.shape, np.uint8)
    texture_kernels.mean_colors(total, tiles)
    return spread_colors(tiles, reach * tile_px) if reach > 0 else tiles


def spread_colors(tiles: np.ndarray, reach_texels: float) -> np.ndarray:
    """Give unknown texels the colour of the nearest known one of their tile.

    Args:
        tiles: (24, N, N, 4) uint8.
        reach_texels: those farther away stay unknown.

    Returns:
        (24, N, N, 4) uint8.
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
        ValueError: sizes that differ, no IUV image, no texture, or a value out of range.
    """
    _check_images(image, iuv)
    check_tiles(tiles)
    if tiles.shape[3] != 4 or tiles.dtype != np.uint8:
        raise ValueError(f"tiles must be RGBA uint8, got {tiles.shape} {tiles.dtype}")
    if sampling not in SAMPLING:
        raise ValueError(f"sampling must be one of {tuple(SAMPLING)}, got {sampling!r}")
    for name, share in (("opacity", opacity), ("shading", shading)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {share}")
    out, iuv = np.array(image, order="C"), np.ascontiguousarray(iuv)
    light, gain = np.zeros((0, 0), np.uint8), np.ones(256, np.float32)
    if shading > 0:
        light = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)
        on_body = light[iuv[..., 0] > 0]
        mean = max(float(on_body.mean()), 1.0) if on_body.size else 1.0
        gain = (np.arange(256) / mean).clip(_LEAST_GAIN, _LARGEST_GAIN) ** shading
    SAMPLING[sampling](
        iuv, np.ascontiguousarray(tiles), opacity, gain.astype(np.float32), light, out
    )
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
    part, uv = np.asarray(part, np.int64), np.asarray(uv, np.float64)
    if part.size and (part.min() < 1 or part.max() > NUM_PARTS):
        raise ValueError(f"parts must be 1 to {NUM_PARTS}, got {part.min()} to {part.max()}")
    if uv.shape != (len(part), 2) or (uv.size and not (uv.min() >= 0 and uv.max() <= 1)):
        raise ValueError(f"uv must be ({len(part)}, 2) in [0, 1], got shape {uv.shape}")
    colors = np.empty((len(part), 4), np.float32)
    texture_kernels.sample_tiles(np.ascontiguousarray(tiles), part, uv, colors)
    return colors


def _check_images(image: np.ndarray, iuv: np.ndarray) -> None:
    check_iuv(iuv, "iuv")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"the photo must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if image.shape != iuv.shape:
        raise ValueError(
            f"photo and IUV must have the same size, got {image.shape[1]} x {image.shape[0]} px and"
            f" {iuv.shape[1]} x {iuv.shape[0]} px"
        )
