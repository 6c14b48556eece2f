"""Inpaint a whole data set into a folder, image after image; a stopped run goes on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.body_parts import UV_STEPS
from densepose.structures.dense_labels import CONFIDENCE_STEPS

from .cells import Cells, Guess, Points, cells_of, points_of, sizes_px
from .methods import Method, Picture
from .refine import keep_points

logger = logging.getLogger(__name__)


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
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, total: items,
) -> Inpainted:
    """Write the inpainted annotations of all images that have annotated people.

    Several processes can share the work of one folder: each passes over what is there already.

    Args:
        records: dataset dicts, as ``load_densepose_coco`` gives them.
        folder: see ``open_folder``; images that are in it already are left as they are.
        method: what inpaints.
        settings: of the method, written into the folder.
        image_format: channel order of the images handed to the method.
        track: passes (items, their number) on and shows how many are done.

    Raises:
        FileExistsError: the folder holds other things.
        ValueError: the folder was made with other settings, or a record is damaged.
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
    # Each process of several in an order of its own: they hardly ever meet at an image.
    np.random.default_rng().shuffle(open_ids)
    for image_id in track(open_ids, len(open_ids)):
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
    image = read_record_image(dict(record), image_format).transpose(2, 0, 1)
    picture = Picture(record["image_id"], np.ascontiguousarray(image))
    guess = keep_points(cells, points, method(picture, people, cells, points))
    part, uv, confidence = to_maps(cells, guess)
    return InpaintedImage(
        image_id=record["image_id"],
        annotation_ids=np.array([person["id"] for person in chosen], np.int64),
        boxes_xyxy_px=people.boxes_xyxy_px.numpy(),
        part=part,
        uv=uv,
        confidence=confidence,
    )


def points_and_sizes(
    records: Sequence[Mapping[str, Any]],
) -> Iterable[tuple[Points, np.ndarray]]:
    """The annotated points of each record, and the (N,) sizes of its people in px."""
    for record in records:
        _, people, _, points = _known(record)
        yield points, sizes_px(people)


def _known(
    record: Mapping[str, Any],
) -> tuple[list[Any], DensePoseAnnotations, Cells, Points]:
    """The annotated people of a record, packed, their cells and their points."""
    chosen = [person for person in record["annotations"] if _is_annotated(person)]
    people = pack_annotations(chosen)
    cells = cells_of(people)
    return chosen, people, cells, points_of(people, cells.map_sizes)


def to_maps(
    cells: Cells, guess: Guess
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Part (h, w), uv (2, h, w) and confidence (h, w) of each person, uint8; 0 where not asked."""
    count = cells.map_sizes.prod(axis=1)
    first = count.cumsum() - count
    at = first[cells.person] + cells.index
    planes = np.zeros((4, int(count.sum())), np.uint8)
    known = guess.part > 0
    planes[0, at] = guess.part
    planes[1:3, at] = np.rint(guess.uv.T * UV_STEPS) * known
    planes[3, at] = np.rint(guess.confidence * CONFIDENCE_STEPS) * known
    ends = count.cumsum()[:-1]
    shapes = cells.map_sizes.tolist()
    maps = (
        [
            piece.reshape(4, *shape)
            for piece, shape in zip(np.split(planes, ends, axis=1), shapes, strict=True)
        ]
        if shapes
        else []
    )
    return (
        tuple(m[0] for m in maps),
        tuple(m[1:3] for m in maps),
        tuple(m[3] for m in maps),
    )


def file_sha256(path: str | Path) -> str:
    """Hash of a file, to tell from which one something was made."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _has_points(person: Mapping[str, Any]) -> bool:
    return bool(person.get("dp_I")) and not person.get("iscrowd", 0)


def has_annotated_people(record: Mapping[str, Any]) -> bool:
    """Whether a dataset dict has people who can be inpainted: with points and part masks."""
    return any(map(_is_annotated, record.get("annotations", ())))


def _is_annotated(person: Mapping[str, Any]) -> bool:
    return _has_points(person) and bool(person.get("dp_masks"))
