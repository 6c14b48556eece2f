"""Masks of people at the size of the network's input, from polygons, run lengths or part masks.

Shapes: N people, H x W the network's input. Affine maps as in ``person_annotations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from densepose.errors import InputError
from densepose.ops.run_lengths import paint_masks, runs_fill
from densepose.structures.annotations import DensePoseAnnotations

from .person_annotations import inverse_of, sample_maps


def image_masks(
    people: Sequence[dict[str, Any]],
    affine: np.ndarray,
    image_size: tuple[int, int],
    stored_size: tuple[int, int],
    annotations: DensePoseAnnotations | None = None,
) -> Tensor:
    """One mask per person in the moved image.

    Args:
        people: N annotations with ``segmentation`` as polygons (px of the stored image) or a
            run-length mask, or an array with one element a pixel.
        affine: (2, 3) map to the moved image.
        image_size: H, W.
        stored_size: height and width of the stored image, which run lengths must fill.
        annotations: the moved DensePose annotations; their part masks serve people without
            ``segmentation``.

    Returns:
        (N, H, W) bool; empty for a person who has neither.

    Raises:
        InputError: a run-length mask is damaged.
    """
    segmentations = [_listed_or_coded(person.get("segmentation")) for person in people]
    polygons = [s if isinstance(s, list) else [] for s in segmentations]
    masks = _fill_polygons(polygons, affine, image_size)
    whole = torch.tensor([[0.0, 0.0, image_size[1], image_size[0]]])

    coded = [number for number, s in enumerate(segmentations) if isinstance(s, dict)]
    if coded:
        stored = _decode([(people[n], segmentations[n]) for n in coded], stored_size)
        frame = torch.tensor([[0.0, 0.0, stored.shape[2], stored.shape[1]]]).expand(len(coded), 4)
        window = whole.expand(len(coded), 4)
        masks[coded] = sample_maps(stored, frame, window, image_size, inverse_of(affine)) > 0

    if annotations is not None:
        lacking = torch.tensor([not s for s in segmentations], dtype=torch.bool)
        chosen = lacking & annotations.has_masks
        boxes = annotations.boxes_xyxy_px[chosen]
        window = whole.expand(len(boxes), 4)
        masks[chosen] = sample_maps(annotations.coarse[chosen], boxes, window, image_size) > 0
    return masks


def _listed_or_coded(segmentation: Any) -> Any:
    if isinstance(segmentation, np.ndarray):
        return coco_mask.encode(np.asfortranarray(segmentation, np.uint8))
    return segmentation or []


def moved_polygons(people: Sequence[dict[str, Any]], affine: np.ndarray) -> list[list[np.ndarray]]:
    """The polygons of each person in the moved image: x, y, x, y, ... in px.

    Raises:
        InputError: a person has a run-length mask.
    """
    moved = []
    for person in people:
        segmentation = person.get("segmentation") or []
        if not isinstance(segmentation, list):
            raise InputError(
                "a person has a run-length mask, which cannot become a polygon; set"
                " INPUT.MASK_FORMAT bitmask"
            )
        corners = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
        moved.append([(c @ affine[:, :2].T + affine[:, 2]).ravel() for c in corners])
    return moved


def _fill_polygons(
    polygons: Sequence[Sequence[Sequence[float]]], affine: np.ndarray, size: tuple[int, int]
) -> Tensor:
    """(N, H, W) bool union of the polygons of each person."""
    flat = list(chain.from_iterable(polygons))
    if not flat:
        return torch.zeros(len(polygons), *size, dtype=torch.bool)
    owner = np.repeat(np.arange(len(polygons)), [len(listed) for listed in polygons])
    corners = np.fromiter(chain.from_iterable(flat), np.float64).reshape(-1, 2)
    moved = (corners @ affine[:, :2].T + affine[:, 2]).ravel()
    ends = np.cumsum([len(polygon) for polygon in flat])[:-1]
    pieces = [piece.tolist() for piece in np.split(moved, ends)]
    counts = [run["counts"].decode("ascii") for run in coco_mask.frPyObjects(pieces, *size)]
    filled = paint_masks(counts, np.ones_like(owner), owner, len(polygons), size)
    return torch.from_numpy(filled) > 0


def _decode(
    people: Sequence[tuple[dict[str, Any], dict[str, Any]]], size: tuple[int, int]
) -> Tensor:
    """(K, H, W) uint8 of the run-length masks of K people in the stored image."""
    counts = []
    for person, mask in people:
        packed = mask
        if isinstance(mask["counts"], list) and sum(mask["counts"]) == size[0] * size[1]:
            packed = coco_mask.frPyObjects(mask, *size)
        if tuple(mask["size"]) != size or not _fills(packed["counts"], size):
            raise InputError(
                f"annotation {person.get('id')}: segmentation is a run-length mask of"
                f" {list(mask['size'])} that does not fill the image of {size[0]} x {size[1]} px;"
                " correct it, or take the annotation out"
            )
        counts.append(packed["counts"])
    ones = np.ones(len(counts), np.int64)
    return torch.from_numpy(paint_masks(counts, ones, np.arange(len(counts)), len(counts), size))


def _fills(counts: Any, size: tuple[int, int]) -> bool:
    return isinstance(counts, (str, bytes)) and bool(runs_fill([counts], size).all())
