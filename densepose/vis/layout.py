"""Put images beside each other, with titles. Images are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_PAPER = 255
_INK = 30
_GAP_PX = 6
_TITLE_PX = 22


def side_by_side(images: Sequence[np.ndarray], titles: Sequence[str] = ()) -> np.ndarray:
    """One row on white; lower images are scaled to the height of the tallest.

    Raises:
        ValueError: no image, or as many titles as images are not given.
    """
    return contact_sheet(images, titles, columns=max(1, len(images)))


def contact_sheet(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), *, columns: int = 4
) -> np.ndarray:
    """Rows of ``columns`` images on white, each in a cell of the size of the largest.

    Args:
        images: (H, W, 3) uint8 each; they are scaled to the height of the tallest.
        titles: one per image, or none.
        columns: images in a row.

    Raises:
        ValueError: no image, ``columns`` below 1, or titles that are not one per image.
    """
    if not images or columns < 1:
        raise ValueError(f"expected images and columns >= 1, got {len(images)} and {columns}")
    if titles and len(titles) != len(images):
        raise ValueError(f"expected a title for each of {len(images)} images, got {len(titles)}")
    height = max(image.shape[0] for image in images)
    scaled = [_scale_to_height(image, height) for image in images]
    width = max(image.shape[1] for image in scaled)
    top = _TITLE_PX if titles else 0
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    cell_height, cell_width = top + height + _GAP_PX, width + _GAP_PX
    size = (rows * cell_height + _GAP_PX, columns * cell_width + _GAP_PX, 3)
    sheet = np.full(size, _PAPER, np.uint8)
    for index, image in enumerate(scaled):
        y = _GAP_PX + index // columns * cell_height
        x = _GAP_PX + index % columns * cell_width
        sheet[y + top : y + top + height, x : x + image.shape[1]] = image
    if titles:
        canvas = Image.fromarray(sheet)
        draw = ImageDraw.Draw(canvas)
        for index, title in enumerate(titles):
            y = _GAP_PX + index // columns * cell_height
            x = _GAP_PX + index % columns * cell_width
            draw.text((x, y), title, fill=(_INK,) * 3, font=_font(15))
        sheet = np.array(canvas)
    return sheet


def _scale_to_height(image: np.ndarray, height: int) -> np.ndarray:
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def put_label(image: np.ndarray, text: str, corner_px: tuple[int, int]) -> None:
    """Write white on black with the upper left corner of the text at (x, y), in place."""
    font = _font(12)
    left, top, right, bottom = font.getbbox(text)
    label = Image.new("RGB", (int(right - left) + 6, int(bottom - top) + 5), (0, 0, 0))
    ImageDraw.Draw(label).text((3 - left, 2 - top), text, fill=(255, 255, 255), font=font)
    x, y = corner_px
    target = image[y : y + label.height, x : x + label.width]
    target[:] = np.asarray(label)[: target.shape[0], : target.shape[1]]


@functools.lru_cache
def _font(size_px: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(size_px)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()
