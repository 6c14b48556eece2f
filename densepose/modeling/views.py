"""Several views of one test image: resized, mirrored, turned; and maps brought back from them.

Shapes: N instances, Z = side of the maps. Boxes are (x0, y0, x1, y1) px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fvcore.transforms.transform import HFlipTransform, TransformList
from torch import Tensor
from torch.nn import functional as F

from detectron2.data.transforms import ResizeTransform, RotationTransform
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from detectron2.structures import Boxes


@dataclass(frozen=True)
class View:
    """An image resized, mirrored or turned."""

    image: Tensor  # (3, h, w) uint8
    transforms: TransformList  # from the image as it is annotated to this view

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return any(isinstance(t, HFlipTransform) for t in self.transforms.transforms)

    @property
    def turned(self) -> bool:
        """Whether upright boxes become larger boxes here."""
        return any(isinstance(t, RotationTransform) for t in self.transforms.transforms)

    def to_view(self, boxes: Boxes) -> Boxes:
        """Boxes of the annotated image -> the upright boxes around them here."""
        corners = self.transforms.apply_box(boxes.tensor.cpu().numpy())
        return Boxes(torch.from_numpy(corners).to(boxes.device, torch.float32))

    def affine(self) -> np.ndarray:
        """(2, 3) map from positions in the annotated image to positions here, in px."""
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        origin, along_x, along_y = self.transforms.apply_coords(corners)
        return np.stack([along_x - origin, along_y - origin, origin], axis=1)


class ViewMaker:
    """Makes the views of TEST.AUG."""

    def __init__(
        self, *, min_sizes: Sequence[int], max_size: int, flip: bool, angles: Sequence[float]
    ) -> None:
        """Keep what to make.

        Args:
            min_sizes: px, shorter side of the resized views.
            max_size: px, largest longer side.
            flip: mirror each of them, too.
            angles: degrees counter-clockwise; each turns the image as it is given, at its size.

        Raises:
            ValueError: there is no view that is not turned.
        """
        if not min_sizes:
            raise ValueError(
                "TEST.AUG.MIN_SIZES is empty: instances are found in the views that are not turned;"
                " give at least one size in px"
            )
        self._resized = DatasetMapperTTA(list(min_sizes), max_size, flip)
        self._angles = [angle for angle in angles if angle % 360]
        self._as_given = len(self._angles) < len(angles)

    def __call__(self, record: Mapping[str, Any]) -> list[View]:
        """Views of one image, the first one neither mirrored nor turned.

        Args:
            record: ``image`` (3, H, W), and ``height`` and ``width`` of the annotated image.
        """
        image = record["image"].to(torch.uint8)
        found = self._resized({**record, "image": image})
        views = [View(view["image"], view["transforms"]) for view in found]
        sizes = (record["height"], record["width"]), tuple(image.shape[1:])
        given = TransformList(
            [ResizeTransform(*sizes[0], *sizes[1])] if sizes[0] != sizes[1] else []
        )
        if self._as_given:
            views.append(View(image, given))
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
        for angle in self._angles:
            turn = RotationTransform(*pixels.shape[:2], angle, expand=True)
            turned = np.ascontiguousarray(turn.apply_image(pixels).transpose(2, 0, 1))
            views.append(View(torch.from_numpy(turned), given + TransformList([turn])))
        return views


def turned_back(maps: Tensor, view: View, boxes: Boxes, boxes_in_view: Boxes) -> Tensor:
    """Read maps of a turned view where the cells of the upright maps lie.

    A map covers its box from 0 to Z, cell i has its centre at i + 0.5.

    Args:
        maps: (N, C, Z, Z), of ``boxes_in_view``.
        view: where the maps were predicted.
        boxes: N boxes of the annotated image.
        boxes_in_view: the boxes around them in the view.

    Returns:
        (N, C, Z, Z), of ``boxes``.
    """
    if len(maps) == 0:
        return maps
    affine = torch.from_numpy(view.affine()).to(maps.device, torch.float32)
    side = maps.shape[-1]
    cell = (torch.arange(side, device=maps.device, dtype=torch.float32) + 0.5) / side
    share = torch.stack(torch.meshgrid(cell, cell, indexing="xy"), dim=-1)  # (Z, Z, 2) x, y
    low, size = _corner_and_size(boxes)
    position = (low + share * size) @ affine[:, :2].T + affine[:, 2]
    low, size = _corner_and_size(boxes_in_view)
    grid = (2 * (position - low) / size - 1).to(maps.dtype)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)


def _corner_and_size(boxes: Boxes) -> tuple[Tensor, Tensor]:
    """(N, 1, 1, 2) upper left corners and sizes, at least a thousandth of a pixel."""
    corners = boxes.tensor[:, None, None].float()
    return corners[..., :2], (corners[..., 2:] - corners[..., :2]).clamp(min=1e-3)
