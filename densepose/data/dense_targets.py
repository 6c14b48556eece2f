"""Inpainted annotations as training targets: read for the people of a record, moved with its image.

Shapes: N people, G = side of the dense labels. Affine maps as in ``person_annotations``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from densepose.structures.body_parts import UV_STEPS
from densepose.structures.dense_labels import DENSE_GRID, DenseLabels

from .inpainted import InpaintedImage, image_path, read_inpainted, read_marker
from .person_annotations import box_xywh_px, inverse_of, is_mirrored, sample_masks

if TYPE_CHECKING:
    from densepose.surface.symmetry import ChartSymmetry

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
                or "count" (nothing is known about its pixels; told once, then counted in
                ``missing``).
            grid: G.

        Raises:
            FileNotFoundError: it is no such folder.
            ValueError: another schema, or an unknown choice.
        """
        if on_missing not in ON_MISSING:
            raise ValueError(f"on_missing must be one of {ON_MISSING}, got {on_missing!r}")
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
                be inpainted; this is told once and counted.

        Raises:
            FileNotFoundError: a person with points and masks is not in the folder, and that is an
                error.
            ValueError: a file is damaged or belongs to other annotations.
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
            raise FileNotFoundError(
                f"{what}; run `densepose inpaint` for this data set, or set"
                " DATASETS.ON_MISSING_INPAINTED to count, which trains on its points alone"
            )
        self.missing += 1
        if self.missing == 1:
            logger.warning("%s; such people are trained on their points alone", what)


def _check_box(path: Path, image: InpaintedImage, found: int, person: dict[str, Any]) -> None:
    x, y, width, height = box_xywh_px(person)
    own = np.array([x, y, x + width, y + height], np.float32)
    if np.abs(own - image.boxes_xyxy_px[found]).max() > _BOX_TOLERANCE_PX:
        raise ValueError(
            f"{path}: annotation {person.get('id')} has the box {own.tolist()} in the annotation"
            f" file, {image.boxes_xyxy_px[found].tolist()} here (x0, y0, x1, y1); the file belongs"
            " to other annotations: inpaint this data set anew"
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
    (a, b), (c, d) = affine[:, :2]
    if abs(b) < 1e-9 and abs(c) < 1e-9:
        flipped = [dim for dim, scale in ((-1, a), (-2, d)) if scale < 0]
        moved = labels.map(lambda values: values.flip(flipped)) if flipped else labels
    else:
        back = inverse_of(affine)

        def read(values: Tensor) -> Tensor:
            size = values.shape[-2:]
            return sample_masks(values, boxes_xyxy_px, moved_xyxy_px, size, back)

        planes = [read(labels.uv[:, axis]) for axis in (0, 1)]
        moved = DenseLabels(read(labels.part), torch.stack(planes, 1), read(labels.confidence))
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
