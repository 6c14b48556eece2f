"""Pictures of annotated points beside what was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densepose.data.inpainted import InpaintedImage, image_path, read_inpainted
from densepose.data.mapper import read_record_image
from densepose.data.person_annotations import pack_annotations
from densepose.files import atomic
from densepose.structures.annotations import grid_to_image
from densepose.vis.draw import draw, draw_points

PICTURES = 8
FOLDER = "preview"


def write_previews(
    folder: str | Path, records: Sequence[Mapping[str, Any]], most: int = PICTURES
) -> Path:
    """One JPEG for each of some images: points, parts, charts; the folder they are in.

    Args:
        folder: of inpainted annotations, with the images of the records.
        records: dataset dicts; the pictures are spread over them.
        most: number of pictures.
    """
    into = Path(folder) / FOLDER
    for number in np.unique(np.linspace(0, len(records) - 1, most).round().astype(int)):
        record = records[number]
        drawn = draw_preview(record, read_inpainted(image_path(folder, record["image_id"])))
        with atomic(into / f"{record['image_id']:012d}.jpg") as temporary:
            Image.fromarray(drawn).save(temporary, format="JPEG", quality=92)
    return into


def draw_preview(record: Mapping[str, Any], inpainted: InpaintedImage) -> np.ndarray:
    """(H, 3 W, 3) uint8: the photo with its annotated points, the parts, and the charts on it."""
    photo = read_record_image(dict(record), "RGB")
    people = pack_annotations(record["annotations"])
    points = grid_to_image(people.points_grid, people.boxes_xyxy_px[people.owner]).numpy()
    iuv = to_iuv_image(inpainted, photo.shape[:2])
    drawn = [draw(photo, iuv), draw(photo, iuv, style="contour")]
    return np.concatenate([draw_points(photo, points, people.part.numpy()), *drawn], axis=1)


def to_iuv_image(inpainted: InpaintedImage, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 part, U, V of an image of ``size`` = (H, W); later people lie on top."""
    iuv = np.zeros((*size, 3), np.uint8)
    for box, part, uv in zip(inpainted.boxes_xyxy_px, inpainted.part, inpainted.uv, strict=True):
        (rows, row), (columns, column) = (
            _pixels_and_cells(box[axis], box[axis + 2], cells, size[1 - axis])
            for axis, cells in ((1, part.shape[0]), (0, part.shape[1]))
        )
        read = np.ix_(row, column)
        person = np.stack([part[read], uv[0][read], uv[1][read]], axis=-1)
        window = iuv[rows, columns]
        window[person[..., 0] > 0] = person[person[..., 0] > 0]
    return iuv


def _pixels_and_cells(
    low_px: float, high_px: float, cells: int, size_px: int
) -> tuple[slice, np.ndarray]:
    """Pixels of the image whose centre lies in the box along one axis, and the cells these read."""
    first, last = max(int(np.ceil(low_px - 0.5)), 0), min(int(np.ceil(high_px - 0.5)), size_px)
    last = max(first, last)
    fraction = (np.arange(first, last) + 0.5 - low_px) / (high_px - low_px)
    return slice(first, last), (fraction * cells).astype(np.int64).clip(0, cells - 1)
