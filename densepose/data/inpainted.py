"""Inpainted annotations on disk: what a teacher says about every pixel of annotated people.

A folder holds ``densepose_inpainted.json`` (what the folder is and how it was made) and one file
``<image id, 12 digits>.npz`` for each image that has annotated people:

===============  ==================  ==========================================================
key              shape, dtype        meaning
===============  ==================  ==========================================================
schema           () int64            number of this layout
image_id         () int64
annotation_ids   (N,) int64          the people, as the annotation file numbers them
boxes_xyxy_px    (N, 4) float32      their annotated boxes, over which the maps spread
map_sizes        (N, 2) int64        rows, columns of each person's maps
part             (L,) uint8          maps of all people, row by row; 0 nothing known, 1..24
uv               (2 L,) uint8        of each person all U, then all V, in steps of 1 / 255
confidence       (L,) uint8          of the teacher in part and place, in steps of 1 / 255
===============  ==================  ==========================================================

Cell (r, c) of a map of h x w cells over the box (x0, y0, x1, y1) has its centre at
x0 + (c + 0.5) / w * (x1 - x0), y0 + (r + 0.5) / h * (y1 - y0). Each value reaches exactly what was
annotated at the cells where annotated points lie.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
MARKER = "densepose_inpainted.json"
_KEYS = (
    "image_id",
    "annotation_ids",
    "boxes_xyxy_px",
    "map_sizes",
    "part",
    "uv",
    "confidence",
)


@dataclass(frozen=True)
class InpaintedImage:
    """The maps of the N annotated people of one image."""

    image_id: int
    annotation_ids: np.ndarray  # (N,) int64
    boxes_xyxy_px: np.ndarray  # (N, 4) float32
    part: tuple[np.ndarray, ...]  # N arrays (h_i, w_i) uint8
    uv: tuple[np.ndarray, ...]  # N arrays (2, h_i, w_i) uint8
    confidence: tuple[np.ndarray, ...]  # N arrays (h_i, w_i) uint8

    def __len__(self) -> int:
        return len(self.annotation_ids)


def image_path(folder: str | Path, image_id: int) -> Path:
    """The file of one image."""
    return Path(folder) / f"{image_id:012d}.npz"


def open_folder(folder: str | Path, settings: Mapping[str, Any]) -> Path:
    """Make a folder for inpainted annotations, or go on with one of the same settings.

    Args:
        folder: new, empty, or made by this function.
        settings: how the annotations are made; plain values.

    Raises:
        FileExistsError: the folder holds other things.
        ValueError: it was made with other settings.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"format": "inpainted DensePose annotations", "schema": SCHEMA, **settings}
    wanted = json.loads(json.dumps(wanted))
    marker = folder / MARKER
    if marker.is_file():
        found = read_marker(folder)
        changed = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        if changed:
            key = changed[0]
            raise ValueError(
                f"{folder}: was made with {key}={found.get(key)!r}, now {key}="
                f"{wanted.get(key)!r}; name a new folder, or empty this one"
            )
        return folder
    # Another process may be making the same folder: then the marker is on its way.
    strange = next((path for path in folder.iterdir() if MARKER not in path.name), None)
    if strange is not None:
        raise FileExistsError(
            f"{folder}: is no folder of inpainted annotations ({MARKER} is missing) and holds"
            f" {strange.name!r}; name a new folder, or empty this one"
        )
    _replace(marker, json.dumps(wanted, indent=1).encode())
    return folder


def read_marker(folder: str | Path) -> dict[str, Any]:
    """What a folder of inpainted annotations says about itself.

    Raises:
        FileNotFoundError: no such folder, or it is no such folder.
        ValueError: another schema.
    """
    marker = Path(folder) / MARKER
    if not marker.is_file():
        raise FileNotFoundError(
            f"{folder}: is no folder of inpainted annotations, {MARKER} is missing; `densepose"
            " inpaint` makes one, DATASETS.INPAINTED names it"
        )
    content = json.loads(marker.read_text(encoding="utf-8"))
    if content.get("schema") != SCHEMA:
        raise ValueError(
            f"{marker}: schema {content.get('schema')}, this version reads schema {SCHEMA};"
            " inpaint again, or use the version that wrote the folder"
        )
    return content


def write_inpainted(folder: str | Path, image: InpaintedImage) -> Path:
    """Write the file of one image, whole or not at all; its path."""
    path = image_path(folder, image.image_id)
    count = len(image)
    for number, (part, uv, confidence) in enumerate(
        zip(image.part, image.uv, image.confidence, strict=True)
    ):
        shapes = (part.shape, uv.shape, confidence.shape)
        kinds = {part.dtype, uv.dtype, confidence.dtype}
        if shapes != (part.shape, (2, *part.shape), part.shape) or kinds != {np.dtype(np.uint8)}:
            raise ValueError(
                f"image {image.image_id}, person {number}: part (h, w), uv (2, h, w) and"
                f" confidence (h, w) must be uint8, got {shapes} of {sorted(map(str, kinds))}"
            )
    nothing = np.zeros(0, np.uint8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                schema=np.int64(SCHEMA),
                image_id=np.int64(image.image_id),
                annotation_ids=np.asarray(image.annotation_ids, np.int64),
                boxes_xyxy_px=np.asarray(image.boxes_xyxy_px, np.float32).reshape(count, 4),
                map_sizes=np.array([p.shape for p in image.part], np.int64).reshape(count, 2),
                part=np.concatenate([nothing, *(p.ravel() for p in image.part)]),
                uv=np.concatenate([nothing, *(uv.ravel() for uv in image.uv)]),
                confidence=np.concatenate([nothing, *(c.ravel() for c in image.confidence)]),
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_inpainted(path: str | Path) -> InpaintedImage:
    """Read the file of one image.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, of another schema, or its arrays do not fit together.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error}); delete it and inpaint again") from error
    if int(arrays.get("schema", 0)) != SCHEMA:
        raise ValueError(
            f"{path}: schema {arrays.get('schema')}, this version reads schema {SCHEMA}; inpaint"
            " again, or use the version that wrote the file"
        )
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise ValueError(f"{path}: incomplete, key {missing[0]!r} is missing")
    sizes = arrays["map_sizes"]
    cells = sizes.prod(axis=1)
    fits = (
        len(arrays["annotation_ids"]) == len(arrays["boxes_xyxy_px"]) == len(sizes)
        and (sizes > 0).all()
        and cells.sum() == len(arrays["part"]) == len(arrays["confidence"])
        and 2 * cells.sum() == len(arrays["uv"])
    )
    if not fits:
        raise ValueError(f"{path}: its arrays do not fit together; delete it and inpaint again")
    return InpaintedImage(
        image_id=int(arrays["image_id"]),
        annotation_ids=arrays["annotation_ids"],
        boxes_xyxy_px=arrays["boxes_xyxy_px"],
        part=_maps(arrays["part"], sizes, cells),
        uv=_maps(arrays["uv"], sizes, cells, 2),
        confidence=_maps(arrays["confidence"], sizes, cells),
    )


def _maps(
    flat: np.ndarray, sizes: np.ndarray, cells: np.ndarray, planes: int = 0
) -> tuple[np.ndarray, ...]:
    ends = np.cumsum(cells * max(planes, 1))[:-1]
    lead = (planes,) if planes else ()
    pieces = np.split(flat, ends) if len(sizes) else []
    return tuple(
        piece.reshape(*lead, *size) for piece, size in zip(pieces, sizes.tolist(), strict=True)
    )


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def missing_images(folder: str | Path, image_ids: Sequence[int]) -> list[int]:
    """Those of the images that have no file in the folder."""
    present = {path.name for path in Path(folder).glob("*.npz")}
    return [number for number in image_ids if image_path(folder, number).name not in present]
