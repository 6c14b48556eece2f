"""Inpaint a whole data set into a folder, image after image; a stopped run is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densepose.data.inpainted import (
    InpaintedImage,
    image_path,
    missing_images,
    open_folder,
    write_inpainted,
)
from densepose.data.mapper import read_record_image
from densepose.data.person_annotations import pack_annotations
from densepose.progress import track
from densepose.structures.annotations import DensePoseAnnotations

from .cells import Cells, Guess, Points, cells_and_points, keep_points, to_maps
from .methods import nearest_point, smooth_in_part


@dataclass(frozen=True)
class Picture:
    """The stored image that is inpainted and what is known of its people."""

    image_id: int
    pixels: np.ndarray  # (3, H, W) uint8 in the model's channel order
    people: DensePoseAnnotations
    cells: Cells
    points: Points


Method = Callable[[Picture], Guess]
BASELINES: Mapping[str, Method] = {
    "nearest": lambda picture: nearest_point(picture.cells, picture.points),
    "smooth": lambda picture: smooth_in_part(picture.cells, picture.points),
}


@dataclass(frozen=True)
class Inpainted:
    """What ``inpaint_dataset`` did."""

    folder: Path
    images: int  # files written now
    people: int  # in these
    skipped: int  # images that were there already
    without_masks: int  # people with points but without part masks, who cannot be inpainted


def inpaint_dataset(
    records: Sequence[Mapping[str, Any]],
    folder: str | Path,
    method: Method,
    settings: Mapping[str, Any],
    *,
    image_format: str,
) -> Inpainted:
    """Write the inpainted annotations of all images that have annotated people.

    Several processes may work on one folder: each passes over what is there already.

    Args:
        records: dataset dicts, as ``load_densepose_coco`` gives them.
        folder: see ``open_folder``; images that are in it already stay as they are.
        method: what inpaints.
        settings: of the method, written into the folder.
        image_format: channel order of the images handed to the method.

    Raises:
        FileExistsError: the folder holds other things.
        InputError: the folder was made with other settings, or a record is damaged.
    """
    folder = open_folder(folder, settings)
    annotated = {r["image_id"]: r for r in records if has_annotated_people(r)}
    open_ids = missing_images(folder, list(annotated))
    without_masks = sum(
        _has_points(person) and not _is_annotated(person)
        for record in records
        for person in record["annotations"]
    )
    images_done = people_done = 0
    # Each process of several in another order: they hardly ever meet at an image.
    np.random.default_rng().shuffle(open_ids)
    for image_id in track(open_ids, total=len(open_ids), label="inpaint"):
        if image_path(folder, image_id).is_file():  # by another process in the meantime
            continue
        image = inpaint_image(annotated[image_id], method, image_format)
        images_done += 1
        people_done += len(image)
        write_inpainted(folder, image)
    return Inpainted(folder, images_done, people_done, len(annotated) - images_done, without_masks)


def inpaint_image(record: Mapping[str, Any], method: Method, image_format: str) -> InpaintedImage:
    """The maps of the annotated people of one record; annotated points stay what they are."""
    chosen, people, cells, points = _known(record)
    pixels = read_record_image(dict(record), image_format).transpose(2, 0, 1)
    picture = Picture(record["image_id"], np.ascontiguousarray(pixels), people, cells, points)
    maps = to_maps(cells, keep_points(cells, points, method(picture)))
    return InpaintedImage(
        image_id=record["image_id"],
        annotation_ids=np.array([person["id"] for person in chosen], np.int64),
        boxes_xyxy_px=people.boxes_xyxy_px.numpy(),
        part=tuple(planes[0] for planes in maps),
        uv=tuple(planes[1:3] for planes in maps),
        confidence=tuple(planes[3] for planes in maps),
    )


def points_of(record: Mapping[str, Any]) -> Points:
    """The annotated points of one record."""
    return _known(record)[3]


def _known(
    record: Mapping[str, Any],
) -> tuple[list[Any], DensePoseAnnotations, Cells, Points]:
    """The annotated people of a record, packed, their cells and their points."""
    chosen = [person for person in record["annotations"] if _is_annotated(person)]
    people = pack_annotations(chosen)
    return chosen, people, *cells_and_points(people)


def _has_points(person: Mapping[str, Any]) -> bool:
    return bool(person.get("dp_I")) and not person.get("iscrowd", 0)


def has_annotated_people(record: Mapping[str, Any]) -> bool:
    """Whether a dataset dict has people who can be inpainted: with points and part masks."""
    return any(map(_is_annotated, record.get("annotations", ())))


def _is_annotated(person: Mapping[str, Any]) -> bool:
    return _has_points(person) and bool(person.get("dp_masks"))
