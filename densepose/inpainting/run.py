"""Inpaint a whole data set into a folder, image after image; a stopped run goes on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densepose.data.inpainted import InpaintedImage, missing_images, open_folder, write_inpainted
from densepose.data.mapper import read_record_image
from densepose.data.person_annotations import pack_annotations
from densepose.modeling.dp_fcn import DensePoseFCN
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.dense_labels import CONFIDENCE_STEPS
from densepose.structures.grids import UV_STEPS
from densepose.surface.symmetry import ChartSymmetry

from .accuracy import read_truth
from .baselines import nearest_point, smooth_in_part
from .cells import Cells, Guess, Points, cells_of, points_of, sizes_px
from .on_surface import BodyPlaces, SurfaceSettings, refine_on_surface, surface_interpolation
from .refine import RefineSettings, Scores, keep_points, refine
from .teacher import Averaging, ask

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """The stored image that is inpainted."""

    image_id: int
    pixels: np.ndarray  # (3, H, W) uint8 in the model's channel order


# (picture, people, cells, points) -> what is said about the cells
Method = Callable[[Picture, DensePoseAnnotations, Cells, Points], Guess]


@dataclass(frozen=True)
class Inpainted:
    """What ``inpaint_dataset`` did."""

    folder: Path
    images: int  # files written now
    people: int  # in these
    skipped: int  # images that were there already
    without_masks: int  # people with points but without part masks, who cannot be inpainted


def nearest(_picture: Any, people: DensePoseAnnotations, cells: Cells, points: Points) -> Guess:
    """The nearest annotated point."""
    return nearest_point(cells, points, sizes_px(people))


def smooth(_picture: Any, people: DensePoseAnnotations, cells: Cells, points: Points) -> Guess:
    """Thin-plate splines."""
    return smooth_in_part(cells, points, sizes_px(people))


BASELINES: Mapping[str, Method] = {"nearest": nearest, "smooth": smooth}


class SurfaceMethod:
    """Interpolation on the body, without a network."""

    def __init__(self, body: BodyPlaces) -> None:
        """Keep the body."""
        self.body = body

    def __call__(
        self, _picture: Any, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> Guess:
        """Guess of every cell."""
        return surface_interpolation(cells, points, sizes_px(people), self.body)


class TeacherMethod:
    """A trained network, averaged over crops, and the annotated points."""

    def __init__(
        self,
        model: DensePoseFCN,
        averaging: Averaging,
        symmetry: ChartSymmetry | None,
        settings: RefineSettings | SurfaceSettings | None,
        body: BodyPlaces | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            model: the network.
            averaging: of its predictions.
            symmetry: for mirror images.
            settings: how network and points are weighed, in the charts or on the surface of a
                body; None leaves the network's word as it is.
            body: whose surface is annotated; needed for ``SurfaceSettings``.
        """
        if isinstance(settings, SurfaceSettings) and body is None:
            raise ValueError("SurfaceSettings need the body whose surface is annotated")
        self.model = model.eval()
        self.averaging = averaging
        self.symmetry = symmetry
        self.settings = settings
        self.body = body

    def __call__(
        self, picture: Picture, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> Guess:
        """Guess of every cell."""
        at_cells, at_points = self.scores(picture.pixels, people, cells, points)
        if isinstance(self.settings, SurfaceSettings):
            sizes = sizes_px(people)
            return refine_on_surface(
                cells, points, sizes, at_cells, at_points, self.settings, self.body
            )
        return refine(cells, points, sizes_px(people), at_cells, at_points, self.settings)

    def scores(
        self, image: Any, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> tuple[Scores, Scores]:
        """What the network alone says at the cells and at the points."""
        asked = ask(
            self.model,
            torch.as_tensor(image),
            people,
            np.concatenate([cells.person, points.person]),
            np.concatenate([cells.place_px, points.place_px]),
            np.concatenate([cells.region, points.region]),
            self.averaging,
            self.symmetry,
        )
        count = len(cells.person)
        return asked[slice(0, count)], asked[slice(count, None)]


class TruthMethod:
    """No guess: the complete truth that a synthetic set has beside it."""

    def __init__(self, truth_dir: str | Path) -> None:
        """Keep the folder; see ``read_truth``."""
        self.truth_dir = truth_dir

    def __call__(
        self, picture: Picture, people: DensePoseAnnotations, cells: Cells, points: Points
    ) -> Guess:
        """What each cell shows of its person, who is the one seen in most cells of its regions."""
        iuv, instance = read_truth(self.truth_dir, picture.image_id)
        height, width = instance.shape
        column, row = np.floor(cells.place_px).astype(np.int64).T
        row, column = row.clip(0, height - 1), column.clip(0, width - 1)
        shown = instance[row, column]
        seen = np.zeros((len(people), 256), np.int64)
        np.add.at(seen, (cells.person, shown), 1)
        seen[:, 0] = 0  # nobody
        own = (shown > 0) & (shown == seen.argmax(axis=1)[cells.person])
        part = np.where(own, iuv[row, column, 0], 0).astype(np.int64)
        return Guess(part, iuv[row, column, 1:] / UV_STEPS, (part > 0).astype(np.float64))


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
    people_done = 0
    for image_id in track(open_ids, len(open_ids)):
        image = inpaint_image(annotated[image_id], method, image_format)
        people_done += len(image)
        write_inpainted(folder, image)
    return Inpainted(
        folder, len(open_ids), people_done, len(annotated) - len(open_ids), without_masks
    )


def inpaint_image(record: Mapping[str, Any], method: Method, image_format: str) -> InpaintedImage:
    """The maps of the annotated people of one record; annotated points stay what they are."""
    chosen = [person for person in record["annotations"] if _is_annotated(person)]
    people = pack_annotations(chosen)
    cells = cells_of(people)
    points = points_of(people, cells.map_sizes)
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
