"""DensePose annotations of the instances of one image, packed; and the frames of their coordinates.

Shapes: N people, P annotated points of all of them together, M = 256 steps of the annotation grid.
Frames:
    image px: continuous, (0, 0) is the outer corner of the top-left pixel; pixel (i, j) covers
        [i, i + 1) x [j, j + 1) and has its centre at (i + 0.5, j + 0.5).
    annotation grid: DensePose-COCO places points on a 256-step grid over the person's box:
        x_px = x0 + x_grid * width / 256.
    uv: chart coordinates in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from densepose.structures.body_parts import ANNOTATION_GRID, UV_STEPS

from .dense_labels import DenseLabels


def grid_to_image(
    points_grid: Tensor, boxes_xyxy_px: Tensor, grid: float = ANNOTATION_GRID
) -> Tensor:
    """(P, 2) grid positions and (P, 4) boxes of their owners -> (P, 2) positions in image px."""
    origin = boxes_xyxy_px[:, :2]
    return origin + points_grid / grid * (boxes_xyxy_px[:, 2:] - origin)


def image_to_grid(
    points_px: Tensor, boxes_xyxy_px: Tensor, grid: float = ANNOTATION_GRID
) -> Tensor:
    """(P, 2) positions in image px and (P, 4) boxes of their owners -> (P, 2) grid positions."""
    origin = boxes_xyxy_px[:, :2]
    size = (boxes_xyxy_px[:, 2:] - origin).clamp(min=torch.finfo(points_px.dtype).eps)
    return (points_px - origin) / size * grid


def quantize_uv(uv: Tensor) -> Tensor:
    """Chart coordinates, any shape -> uint8 steps of 1 / 255; clamped to [0, 1]."""
    return (uv * UV_STEPS).clamp(0, UV_STEPS).to(torch.uint8)


@dataclass(frozen=True)
class DensePoseAnnotations:
    """Points and part masks of N people; lives in ``Instances.gt_densepose``.

    A person without DensePose annotation keeps its place: it owns no points and ``has_masks``
    is False.
    """

    # (N, 4) float: the box that points and masks are relative to (may leave the image)
    boxes_xyxy_px: Tensor
    # (N, M, M) uint8: 0 background, 1..14 the annotated regions, on the grid over the box
    coarse: Tensor
    has_masks: Tensor  # (N,) bool: False where the person has no part masks (coarse is all 0 then)
    points_grid: Tensor  # (P, 2) float: x, y on the annotation grid of the owner's box, in [0, 256]
    part: Tensor  # (P,) int64: 1..24
    uv: Tensor  # (P, 2) float in [0, 1]
    owner: Tensor  # (P,) int64 in [0, N), ascending
    # Of N people, over the same boxes; None where no inpainted annotations are used.
    dense: DenseLabels | None = None

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.owner.device

    @property
    def num_points(self) -> Tensor:
        """(N,) int64: points of each person."""
        # Unlike bincount, this does not wait for a GPU.
        return self.owner.new_zeros(len(self)).index_add_(
            0, self.owner, torch.ones_like(self.owner)
        )

    @property
    def is_annotated(self) -> Tensor:
        """(N,) bool: people with points or part masks."""
        return self.has_masks | (self.num_points > 0)

    def __getitem__(self, index: slice | Tensor) -> DensePoseAnnotations:
        """Select people by slice, bool mask (N,) or indices (K,); repeats repeat their points."""
        people = torch.arange(len(self), device=self.owner.device)[index]
        if people.ndim != 1:
            raise IndexError(
                "DensePoseAnnotations are indexed with a slice, a mask or a vector of indices"
            )
        count = self.num_points
        first = count.cumsum(0) - count
        taken = count[people]
        owner = torch.repeat_interleave(torch.arange(len(people), device=people.device), taken)
        within = torch.arange(len(owner), device=people.device) - (taken.cumsum(0) - taken)[owner]
        point = first[people][owner] + within
        return DensePoseAnnotations(
            boxes_xyxy_px=self.boxes_xyxy_px[people],
            coarse=self.coarse[people],
            has_masks=self.has_masks[people],
            points_grid=self.points_grid[point],
            part=self.part[point],
            uv=self.uv[point],
            owner=owner,
            dense=None if self.dense is None else self.dense[people],
        )

    def to(self, device: torch.device | str) -> DensePoseAnnotations:
        """The same annotations with every tensor on ``device``."""
        tensors = {name: getattr(self, name).to(device) for name in _TENSORS}
        dense = None if self.dense is None else self.dense.map(lambda values: values.to(device))
        return replace(self, **tensors, dense=dense)

    @staticmethod
    def cat(parts: Sequence[DensePoseAnnotations]) -> DensePoseAnnotations:
        """People of several images one after another; owners are renumbered. At least one part."""
        shift = 0
        owners = []
        for part in parts:
            owners.append(part.owner + shift)
            shift += len(part)
        fields = [name for name in _TENSORS if name != "owner"]
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in fields}
        return DensePoseAnnotations(owner=torch.cat(owners), dense=_cat_dense(parts), **joined)

    @staticmethod
    def empty(
        num_people: int = 0, grid: int = 256, device: torch.device | str = "cpu"
    ) -> DensePoseAnnotations:
        """``num_people`` people without any DensePose annotation."""
        zeros = partial(torch.zeros, device=device)
        return DensePoseAnnotations(
            boxes_xyxy_px=zeros(num_people, 4),
            coarse=zeros(num_people, grid, grid, dtype=torch.uint8),
            has_masks=zeros(num_people, dtype=torch.bool),
            points_grid=zeros(0, 2),
            part=zeros(0, dtype=torch.int64),
            uv=zeros(0, 2),
            owner=zeros(0, dtype=torch.int64),
        )


_TENSORS = tuple(name for name in DensePoseAnnotations.__dataclass_fields__ if name != "dense")


def _cat_dense(parts: Sequence[DensePoseAnnotations]) -> DenseLabels | None:
    """Dense labels of all people; empty ones for parts that have none, None if no part has any."""
    known = [part.dense for part in parts if part.dense is not None]
    if not known:
        return None
    grid, device = known[0].part.shape[-1], known[0].part.device
    return DenseLabels.cat(
        [
            DenseLabels.empty(len(part), grid).map(lambda values: values.to(device))
            if part.dense is None
            else part.dense
            for part in parts
        ]
    )
