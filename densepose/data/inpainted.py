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

In training, the maps are read for the people of a record and moved with its image. Shapes: N
people, G = side of the dense labels. Affine maps as in ``person_annotations``.
"""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from densepose.errors import InputError
from densepose.files import atomic, to_json, write_text
from densepose.structures.body_parts import UV_STEPS
from densepose.structures.dense_labels import DENSE_GRID, DenseLabels

from .person_annotations import box_xywh_px, is_mirrored, move_maps

if TYPE_CHECKING:
    from densepose.surface.symmetry import ChartSymmetry


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
    """Make a folder for inpainted annotations, or continue one of the same settings.

    Args:
        folder: new, empty, or made by this function.
        settings: how the annotations are made; plain values.

    Raises:
        InputError: the folder holds other things; it was made with other settings.
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
            raise InputError(
                f"{folder}: was made with {key}={found.get(key)!r}, now {key}="
                f"{wanted.get(key)!r}; name a new folder, or empty this one"
            )
        return folder
    # Another process may be making the same folder: then the marker is on its way.
    strange = next((path for path in folder.iterdir() if MARKER not in path.name), None)
    if strange is not None:
        raise InputError(
            f"{folder}: is not a folder of inpainted annotations ({MARKER} is missing) and holds"
            f" {strange.name!r}; name a new folder, or empty this one"
        )
    write_text(marker, to_json(wanted))
    return folder


def read_marker(folder: str | Path) -> dict[str, Any]:
    """What a folder of inpainted annotations says about itself.

    Raises:
        InputError: it is not a folder of inpainted annotations, or of another schema.
    """
    marker = Path(folder) / MARKER
    if not marker.is_file():
        raise InputError(
            f"{folder}: is not a folder of inpainted annotations, {MARKER} is missing; `densepose"
            " inpaint` makes one, DATASETS.INPAINTED names it"
        )
    content = json.loads(marker.read_text(encoding="utf-8"))
    if content.get("schema") != SCHEMA:
        raise InputError(
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
    with atomic(path) as temporary, temporary.open("wb") as file:
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
    return path


def read_inpainted(path: str | Path) -> InpaintedImage:
    """Read the file of one image.

    Raises:
        FileNotFoundError: no such file.
        InputError: damaged, of another schema, or its arrays do not fit together.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and inpaint again") from error
    if int(arrays.get("schema", 0)) != SCHEMA:
        raise InputError(
            f"{path}: schema {arrays.get('schema')}, this version reads schema {SCHEMA}; inpaint"
            " again, or use the version that wrote the file"
        )
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise InputError(f"{path}: incomplete, key {missing[0]!r} is missing")
    sizes = arrays["map_sizes"]
    cells = sizes.prod(axis=1)
    fits = (
        len(arrays["annotation_ids"]) == len(arrays["boxes_xyxy_px"]) == len(sizes)
        and (sizes > 0).all()
        and cells.sum() == len(arrays["part"]) == len(arrays["confidence"])
        and 2 * cells.sum() == len(arrays["uv"])
    )
    if not fits:
        raise InputError(f"{path}: its arrays do not fit together; delete it and inpaint again")
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


def missing_images(folder: str | Path, image_ids: Sequence[int]) -> list[int]:
    """Those of the images that have no file in the folder."""
    present = {path.name for path in Path(folder).glob("*.npz")}
    return [number for number in image_ids if image_path(folder, number).name not in present]


logger = logging.getLogger(__name__)

ON_MISSING = ("error", "count")
# px by which the box of a file may differ from the annotation's: float32 and text.
_BOX_TOLERANCE_PX = 0.05


class InpaintedTargets:
    """Dense labels of the people of an image, from a folder that `densepose inpaint` wrote."""

    def __init__(
        self, folder: str | Path, *, on_missing: str = "error", grid: int = DENSE_GRID
    ) -> None:
        """Open a folder; files are read when their image is asked for.

        Args:
            folder: of inpainted annotations.
            on_missing: what a person with points but without inpainted annotation means: "error",
                or "count" (nothing is known about its pixels; logged once, then counted in
                ``missing``).
            grid: G.

        Raises:
            FileNotFoundError: it is not a folder of inpainted annotations.
            ValueError: another schema, or an unknown choice.
        """
        if on_missing not in ON_MISSING:
            raise InputError(f"on_missing must be one of {ON_MISSING}, got {on_missing!r}")
        self.folder = Path(folder)
        self.settings = read_marker(folder)
        self.on_missing = on_missing
        self.grid = grid
        # People so far, in this process, who have points but
        self.missing = 0  # no inpainted annotation
        self.without_masks = 0  # no part masks either, so that nothing can be inpainted

    def __call__(self, image_id: int, people: Sequence[dict[str, Any]]) -> DenseLabels:
        """Labels over the annotated boxes of N people, in the frame of the stored image.

        Args:
            image_id: of the record.
            people: annotations with ``id``, ``bbox`` and, where annotated, ``dp_I`` and
                ``dp_masks``. Nothing is known of people with points but without masks, who cannot
                be inpainted; this is logged once and counted.

        Raises:
            InputError: a person with points and masks is not in the folder, and that is an error; a
                file is damaged or belongs to other annotations.
        """
        labels = DenseLabels.empty(len(people), self.grid)
        annotated = [number for number, person in enumerate(people) if person.get("dp_I")]
        wanted = [number for number in annotated if people[number].get("dp_masks")]
        if len(wanted) < len(annotated):
            self._tell_without_masks(image_id, len(annotated) - len(wanted))
        if not wanted:
            return labels
        path = image_path(self.folder, image_id)
        image = read_inpainted(path) if path.is_file() else None
        place = {} if image is None else {n: i for i, n in enumerate(image.annotation_ids.tolist())}
        for number in wanted:
            found = place.get(people[number].get("id"))
            if found is None:
                self._tell_missing(path, people[number])
                continue
            _check_box(path, image, found, people[number])
            rows, columns = (
                ((np.arange(self.grid) + 0.5) * size / self.grid).astype(np.int64)
                for size in image.part[found].shape
            )
            chosen = np.ix_(rows, columns)
            labels.part[number] = torch.from_numpy(image.part[found][chosen])
            for axis in (0, 1):
                labels.uv[number, axis] = torch.from_numpy(image.uv[found][axis][chosen])
            labels.confidence[number] = torch.from_numpy(image.confidence[found][chosen])
        return labels

    def _tell_without_masks(self, image_id: int, number: int) -> None:
        if not self.without_masks:
            logger.warning(
                "image %d: %d people have points but no part masks and cannot be inpainted; such"
                " people are trained on their points alone",
                image_id,
                number,
            )
        self.without_masks += number

    def _tell_missing(self, path: Path, person: dict[str, Any]) -> None:
        what = f"{path}: annotation {person.get('id')} has points but no inpainted annotation"
        if self.on_missing == "error":
            raise InputError(
                f"{what}; run `densepose inpaint` for this data set, or set"
                " DATASETS.ON_MISSING_INPAINTED to count, which trains on its points alone"
            )
        self.missing += 1
        if self.missing == 1:
            logger.warning("%s; such people are trained on their points alone", what)


def _check_box(path: Path, image: InpaintedImage, found: int, person: dict[str, Any]) -> None:
    x, y, width, height = box_xywh_px(person)
    annotated = np.array([x, y, x + width, y + height], np.float32)
    if np.abs(annotated - image.boxes_xyxy_px[found]).max() > _BOX_TOLERANCE_PX:
        raise InputError(
            f"{path}: the box of annotation {person.get('id')} is {annotated.tolist()} in the"
            f" annotation file, {image.boxes_xyxy_px[found].tolist()} here (x0, y0, x1, y1); the"
            " file belongs to other annotations: inpaint this data set again"
        )


def move_labels(
    labels: DenseLabels,
    boxes_xyxy_px: Tensor,
    moved_xyxy_px: Tensor,
    affine: np.ndarray,
    symmetry: ChartSymmetry | None,
) -> DenseLabels:
    """Labels of the moved image, over the moved boxes.

    Args:
        labels: of N people, over ``boxes_xyxy_px``.
        boxes_xyxy_px: (N, 4) in px of the stored image.
        moved_xyxy_px: (N, 4) in px of the moved image.
        affine: (2, 3) map to the moved image.
        symmetry: left-right map of parts and charts, needed when the map mirrors.

    Raises:
        ValueError: the map mirrors and there is no ``symmetry``.
    """
    moved = labels.map(lambda maps: move_maps(maps, boxes_xyxy_px, moved_xyxy_px, affine))
    return _swap_sides(moved, symmetry) if is_mirrored(affine) else moved


def _swap_sides(labels: DenseLabels, symmetry: ChartSymmetry | None) -> DenseLabels:
    if symmetry is None:
        raise ValueError("the image is mirrored, but no left-right map of the charts is given")
    part = labels.part.numpy()
    person, row, column = np.nonzero(part)
    uv = labels.uv.numpy().copy()
    here = uv[person, :, row, column].astype(np.float32) / np.float32(UV_STEPS)
    there = symmetry.flip_uv(part[person, row, column], here)
    uv[person, :, row, column] = np.rint(np.clip(there, 0, 1) * UV_STEPS).astype(np.uint8)
    other_side = np.asarray(symmetry.part, np.uint8)[part]
    return DenseLabels(torch.from_numpy(other_side), torch.from_numpy(uv), labels.confidence)
