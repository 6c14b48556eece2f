"""The picture that holds the textures of all parts, as DensePose users exchange it.

A texture picture is 6 N high and 4 N wide and holds one N x N tile for each part, column by column:
part p has tile column (p - 1) // 6 and tile row (p - 1) % 6. N is usually 200. In a tile, u grows
to the right and v grows *upwards*: texel (row, column) has its centre at u = column / (N - 1),
v = 1 - row / (N - 1), so the centres of the outermost texels lie on the border of the chart's
square. The order of the channels in the file is red, green, blue, and alpha if there is one;
without alpha, black means that nothing is known.

Inside the program a texture is (24, N, N, 4) uint8 RGBA, tile p - 1 for part p.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from densepose.structures.body_parts import NUM_PARTS

TILE_ROWS, TILE_COLUMNS = 6, 4
TILE_PX = 200
OPAQUE = 255


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
        ValueError: another shape or type.
    """
    side = picture.shape[0] // TILE_ROWS if picture.ndim == 3 else 0
    expected = (TILE_ROWS * side, TILE_COLUMNS * side)
    if side < 2 or picture.shape[:2] != expected or picture.shape[2] not in (3, 4):
        raise ValueError(
            f"{source}: a texture holds {TILE_ROWS} x {TILE_COLUMNS} square tiles, 1200 x 800 px"
            f" for example, with 3 or 4 channels; got shape {picture.shape} (height first)"
        )
    if picture.dtype != np.uint8:
        raise ValueError(f"{source}: a texture must be uint8, got {picture.dtype}")
    if picture.shape[2] == 3:
        alpha = np.where(picture.any(axis=2, keepdims=True), OPAQUE, 0).astype(np.uint8)
        picture = np.concatenate([picture, alpha], axis=2)
    grid = picture.reshape(TILE_ROWS, side, TILE_COLUMNS, side, 4).transpose(2, 0, 1, 3, 4)
    return np.ascontiguousarray(grid).reshape(NUM_PARTS, side, side, 4)


def check_tiles(tiles: np.ndarray) -> None:
    """Raise ValueError unless ``tiles`` is (24, N, N, C) with N at least 2."""
    wrong = tiles.ndim != 4 or tiles.shape[0] != NUM_PARTS or tiles.shape[1] != tiles.shape[2]
    if wrong or tiles.shape[1] < 2:
        raise ValueError(f"tiles must be (24, N, N, C) with N >= 2, got {tiles.shape}")


def read_texture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a texture picture: (24, N, N, 4) uint8 RGBA.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no picture, or not in the layout described above.
    """
    try:
        with Image.open(path) as opened:
            wanted = "RGBA" if opened.has_transparency_data else "RGB"
            picture = np.asarray(opened.convert(wanted))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a readable picture; expected a texture, PNG") from error
    return split_picture(picture, str(path))


def write_texture(path: str | os.PathLike[str], tiles: np.ndarray) -> None:
    """Write (24, N, N, 3 or 4) uint8 tiles as a PNG; an existing file is replaced at once."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        Image.fromarray(join_tiles(tiles)).save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
