"""The DensePose annotations of one image: packed from records, and moved with the image.

Shapes: N people, P annotated points of all of them, M = 256 steps of the annotation grid.
Frames as in ``structures.annotations``. An affine map A (2, 3) takes px of the stored image to px
of the network's input: (x, y) -> A[:, :2] (x, y) + A[:, 2].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from detectron2.data.transforms import TransformList
from detectron2.structures import BoxMode

from densepose.errors import InputError
from densepose.ops.run_lengths import paint_masks
from densepose.structures.annotations import DensePoseAnnotations, grid_to_image, image_to_grid
from densepose.structures.records import POINT_KEYS

if TYPE_CHECKING:
    from densepose.surface.symmetry import ChartSymmetry


def pack_annotations(people: Sequence[dict[str, Any]]) -> DensePoseAnnotations:
    """The raw fields of N annotations (``bbox`` in px, ``bbox_mode``, ``dp_*``) as tensors.

    A box without ``bbox_mode`` is x, y, w, h.

    Raises:
        InputError: a part mask is damaged, or the lists of points differ in length.
    """
    boxes = np.array([box_xywh_px(person) for person in people], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    # Points on vertices of a mesh alone are nothing that charts could be taught.
    charted = [person if "dp_I" in person else {} for person in people]
    counted = np.array([len(person.get("dp_x", ())) for person in charted], np.int64)
    x, y, part, u, v = (
        np.fromiter(
            chain.from_iterable(person.get(key, ()) for person in charted),
            np.float32,
            int(counted.sum()),
        )
        for key in POINT_KEYS
    )
    coarse, has_masks = _coarse_maps(people)
    return DensePoseAnnotations(
        boxes_xyxy_px=torch.from_numpy(boxes),
        coarse=torch.from_numpy(coarse),
        has_masks=torch.from_numpy(has_masks),
        points_grid=torch.from_numpy(np.stack([x, y], axis=1)),
        part=torch.from_numpy(part.astype(np.int64)),
        uv=torch.from_numpy(np.stack([u, v], axis=1)),
        owner=torch.from_numpy(np.repeat(np.arange(len(people)), counted)),
    )


def box_xywh_px(person: dict[str, Any]) -> Sequence[float]:
    """``bbox`` of an annotation as x, y, w, h in px; without ``bbox_mode`` it is that already."""
    given = person.get("bbox_mode", BoxMode.XYWH_ABS)
    return BoxMode.convert(list(person["bbox"]), given, BoxMode.XYWH_ABS)


def _coarse_maps(people: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Label maps (N, M, M) uint8 of ``dp_masks`` and which people have some (N,) bool."""
    # One mask for the whole person instead of 14: the animals of DensePose-Chimps.
    listed = [
        [masks] if isinstance(masks := person.get("dp_masks", ()), dict) else masks
        for person in people
    ]
    present = [
        (entry["counts"], region + 1, owner)
        for owner, masks in enumerate(listed)
        for region, entry in enumerate(masks)
        if entry
    ]
    counts = [entry[0] for entry in present]
    label = np.array([entry[1] for entry in present], np.int64)
    owner = np.array([entry[2] for entry in present], np.int64)
    has_masks = np.array([any(masks) for masks in listed], bool)
    return paint_masks(counts, label, owner, len(people)), has_masks


def affine_of(transforms: TransformList, height: int, width: int) -> np.ndarray:
    """The affine map (2, 3) float64 that a list of transforms of a ``height`` x ``width`` image is.

    Raises:
        InputError: the transforms are not an affine map.
    """
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    moved = np.asarray(transforms.apply_coords(corners.copy()), np.float64)
    linear = np.stack([(moved[1] - moved[0]) / width, (moved[2] - moved[0]) / height], axis=1)
    affine = np.column_stack([linear, moved[0]])
    if not np.allclose(corners @ linear.T + moved[0], moved, atol=1e-2):
        raise InputError(
            f"{transforms}: only resizing, flips, rotations and crops can move DensePose"
            " annotations; this list is not an affine map"
        )
    return affine


def is_mirrored(affine: np.ndarray) -> bool:
    """Whether an affine map (2, 3) turns left hands into right hands."""
    return bool(np.linalg.det(affine[:, :2]) < 0)


def inverse_of(affine: np.ndarray) -> np.ndarray:
    """The affine map (2, 3) back."""
    return np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]


def move_boxes(boxes_xyxy_px: Tensor, affine: np.ndarray) -> Tensor:
    """(N, 4) boxes -> (N, 4) boxes around their four moved corners; not clipped to the image."""
    corners = boxes_xyxy_px[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
    moved = move_points(corners.reshape(-1, 2), affine).reshape(-1, 4, 2)
    return torch.cat([moved.amin(dim=1), moved.amax(dim=1)], dim=1)


def move_points(points_px: Tensor, affine: np.ndarray) -> Tensor:
    """(P, 2) positions -> (P, 2) positions."""
    matrix = torch.from_numpy(affine).to(points_px.dtype)
    return points_px @ matrix[:, :2].T + matrix[:, 2]


def move_annotations(
    annotations: DensePoseAnnotations,
    affine: np.ndarray,
    image_size: tuple[int, int],
    symmetry: ChartSymmetry | None,
) -> DensePoseAnnotations:
    """Annotations of the moved image.

    The box of a person becomes the box around its moved corners and may leave the image; points
    that leave the image are dropped.

    Args:
        annotations: N people, in px of the stored image.
        affine: (2, 3) map to the moved image.
        image_size: height and width of the moved image.
        symmetry: left-right map of parts and charts, needed when the map mirrors annotated people.

    Raises:
        InputError: there are points or part masks, the map mirrors, and there is no ``symmetry``.
    """
    boxes = move_boxes(annotations.boxes_xyxy_px, affine)
    owner = annotations.owner
    points = grid_to_image(annotations.points_grid, annotations.boxes_xyxy_px[owner])
    points = move_points(points, affine)
    part, uv = annotations.part, annotations.uv
    coarse = move_maps(annotations.coarse, annotations.boxes_xyxy_px, boxes, affine)
    if is_mirrored(affine) and (len(part) or annotations.has_masks.any()):
        if symmetry is None:
            raise InputError(
                "the image is mirrored, but no left-right map of the charts is given; a data set"
                " that other code registered says its surface by"
                " MetadataCatalog.get(NAME).surface = 'template' or 'smpl_27554'"
            )
        part, uv, coarse = _swap_sides(part, uv, coarse, symmetry)
    size = torch.tensor([image_size[1], image_size[0]])
    inside = ((points >= 0) & (points <= size)).all(dim=1)
    return DensePoseAnnotations(
        boxes_xyxy_px=boxes,
        coarse=coarse,
        has_masks=annotations.has_masks,
        points_grid=image_to_grid(points, boxes[owner])[inside],
        part=part[inside],
        uv=uv[inside],
        owner=owner[inside],
    )


def _swap_sides(
    part: Tensor, uv: Tensor, coarse: Tensor, symmetry: ChartSymmetry
) -> tuple[Tensor, Tensor, Tensor]:
    """Parts (P,), uv (P, 2) and label maps of the mirrored person."""
    flipped_uv = np.asarray(symmetry.flip_uv(part.numpy(), uv.numpy()), np.float32)
    flipped_part = np.asarray(symmetry.part, np.int64)[part.numpy()]
    flipped_coarse = np.asarray(symmetry.coarse, np.uint8)[coarse.numpy()]
    return (
        torch.from_numpy(flipped_part),
        torch.from_numpy(flipped_uv.reshape(-1, 2)),
        torch.from_numpy(flipped_coarse),
    )


def move_maps(maps: Tensor, boxes: Tensor, moved: Tensor, affine: np.ndarray) -> Tensor:
    """(N, ..., M, M) maps over ``boxes`` (N, 4) -> maps over the ``moved`` boxes (N, 4)."""
    (a, b), (c, d) = affine[:, :2]
    # Without rotation the box moves with its grid, and the map stays what it is but for flips.
    if abs(b) < 1e-9 and abs(c) < 1e-9:
        flipped = [dim for dim, scale in ((-1, a), (-2, d)) if scale < 0]
        return maps.flip(flipped) if flipped else maps
    return sample_maps(maps, boxes, moved, maps.shape[-2:], inverse_of(affine))


def sample_maps(
    maps: Tensor,
    boxes_xyxy_px: Tensor,
    windows_xyxy_px: Tensor,
    size: Sequence[int],
    affine: np.ndarray | None = None,
) -> Tensor:
    """Read maps at the pixels of other windows, nearest neighbour; 0 outside the maps.

    Args:
        maps: (N, ..., M, M) uint8 over ``boxes_xyxy_px``.
        boxes_xyxy_px: (N, 4).
        windows_xyxy_px: (N, 4) where to read.
        size: height and width of the result over a window.
        affine: (2, 3) map from px of the windows to px of the boxes; None is the identity.

    Returns:
        (N, ..., *size) uint8.
    """
    count, shape = len(maps), (*maps.shape[:-2], *size)
    if count == 0:
        return maps.new_zeros(shape)
    matrix = torch.from_numpy(np.eye(2, 3) if affine is None else affine).float()
    half_box, half_window = (
        (b[:, 2:] - b[:, :2]).clamp(min=1e-6) / 2 for b in (boxes_xyxy_px, windows_xyxy_px)
    )
    middle_box, middle_window = (
        (b[:, 2:] + b[:, :2]) / 2 for b in (boxes_xyxy_px, windows_xyxy_px)
    )
    linear = matrix[:, :2] * half_window[:, None, :] / half_box[:, :, None]
    shift = (middle_window @ matrix[:, :2].T + matrix[:, 2] - middle_box) / half_box
    theta = torch.cat([linear, shift[:, :, None]], dim=2)
    # align_corners=False: -1 and 1 are the outer edges, as boxes are.
    where = F.affine_grid(theta, [count, 1, *size], align_corners=False)
    planes = maps.reshape(count, -1, *maps.shape[-2:]).float()
    read = F.grid_sample(planes, where, mode="nearest", align_corners=False)
    return read.reshape(shape).to(torch.uint8)
