"""A detector that predicts every test image several times and averages the maps.

Instances are found in all views that are not turned; the boxes of all of them are merged. Each view
then predicts DensePose (and masks) for the merged boxes, and the maps of all views are averaged.

As detectron2's DensePose does, except for turned views: there it rotates maps in coordinates
normalised by width and height, which shears those of boxes that are not square, and rounds boxes
to whole pixels; here every cell is read where it lies.

Shapes: N instances, C = 25 channels of parts, D coarse channels, Z = side of the maps. Boxes are
(x0, y0, x1, y1) px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from fvcore.transforms.transform import HFlipTransform, TransformList
from torch import Tensor
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.data.transforms import ResizeTransform, RotationTransform
from detectron2.modeling import GeneralizedRCNN, GeneralizedRCNNWithTTA, detector_postprocess
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from detectron2.structures import Boxes, Instances

from densepose.errors import InputError
from densepose.structures.body_parts import UV_STEPS
from densepose.structures.chart_output import MAP_FIELDS, ChartOutput
from densepose.surface.symmetry import ChartSymmetry

AVERAGED = ("coarse_logits", "part_logits", "u", "v")
# Every box of a view is above the detector's own threshold; here only zero scores are dropped.
LEAST_SCORE = 1e-8


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


class ViewMaker(DatasetMapperTTA):
    """Makes the views of TEST.AUG: resized and mirrored as detectron2's, then turned ones."""

    @configurable
    def __init__(self, *, angles: Sequence[float], **resized: Any) -> None:
        """Keep what to make.

        Args:
            angles: degrees counter-clockwise; each turns the image as it is given, at its size.
            resized: ``min_sizes`` and ``max_size`` in px and ``flip``, as detectron2's.

        Raises:
            InputError: there is no view that is not turned.
        """
        super().__init__(**resized)
        if not self.min_sizes:
            raise InputError(
                "TEST.AUG.MIN_SIZES is empty: instances are found in the views that are not turned;"
                " give at least one size in px"
            )
        self.angles = [angle for angle in angles if angle % 360]
        self.as_given = len(self.angles) < len(angles)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of ``__init__`` from TEST.AUG."""
        return {**super().from_config(cfg), "angles": cfg.TEST.AUG.ROTATION_ANGLES}

    def __call__(self, record: Mapping[str, Any]) -> list[View]:
        """Views of one image, the first one neither mirrored nor turned.

        Args:
            record: ``image`` (3, H, W), and ``height`` and ``width`` of the annotated image.
        """
        image = record["image"].to(torch.uint8)
        found = super().__call__({**record, "image": image})
        views = [View(view["image"], view["transforms"]) for view in found]
        size, annotated = tuple(image.shape[1:]), (record["height"], record["width"])
        given = TransformList([ResizeTransform(*annotated, *size)] if size != annotated else [])
        if self.as_given:
            views.append(View(image, given))
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
        for angle in self.angles:
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
    fraction = torch.stack(torch.meshgrid(cell, cell, indexing="xy"), dim=-1)  # (Z, Z, 2) x, y
    low, size = _corner_and_size(boxes)
    position = (low + fraction * size) @ affine[:, :2].T + affine[:, 2]
    low, size = _corner_and_size(boxes_in_view)
    grid = (2 * (position - low) / size - 1).to(maps.dtype)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)


def _corner_and_size(boxes: Boxes) -> tuple[Tensor, Tensor]:
    """(N, 1, 1, 2) upper left corners and sizes, at least a thousandth of a pixel."""
    corners = boxes.tensor[:, None, None].float()
    return corners[..., :2], (corners[..., 2:] - corners[..., :2]).clamp(min=1e-3)


def mirrored(output: ChartOutput, symmetry: ChartSymmetry) -> ChartOutput:
    """Exchange left and right: places, parts, coarse regions, and what U and V mean.

    Confidences change place alone: theirs belong to the parts they were predicted for.

    Args:
        output: of a mirrored image. Full maps if the symmetry reads U and V from a table, since
            reading and up-sampling cannot change places.
        symmetry: of the surface that the charts lie on.

    Raises:
        ValueError: the maps have other parts or regions than the symmetry knows, or small maps for
            a table.
    """
    parts, regions = output.part_logits.shape[1], output.coarse_logits.shape[1]
    if parts != len(symmetry.part) or regions not in (2, len(symmetry.coarse)):
        raise InputError(
            f"the left-right map knows {len(symmetry.part) - 1} parts and"
            f" {len(symmetry.coarse) - 1} coarse regions, the predictor gives {parts - 1} and"
            f" {regions - 1}; set TEST.AUG.FLIP False"
        )
    if symmetry.uv_table is not None and output.upscale != 1:
        raise ValueError("a left-right map in form of a table needs the full maps")
    maps = {name: getattr(output, name) for name in MAP_FIELDS}
    maps = {name: value.flip(3) for name, value in maps.items() if value is not None}
    maps["u"], maps["v"] = _moved(maps["u"], maps["v"], symmetry)
    for name in ("part_logits", "u", "v"):
        maps[name] = maps[name][:, torch.from_numpy(symmetry.part)]
    if regions > 2:
        maps["coarse_logits"] = maps["coarse_logits"][:, torch.from_numpy(symmetry.coarse)]
    return replace(output, **maps)


def _moved(u: Tensor, v: Tensor, symmetry: ChartSymmetry) -> tuple[Tensor, Tensor]:
    """U and V of every channel (N, C, Z, Z) in the charts of the other side."""
    if symmetry.uv_table is None:
        flips = torch.from_numpy(symmetry.uv_sign < 0).to(u.device)[:, :, None, None]
        return torch.where(flips[:, 0], 1 - u, u), torch.where(flips[:, 1], 1 - v, v)
    table = torch.from_numpy(symmetry.uv_table).to(u.device)
    # Cut off, not rounded: the way the table is read where it comes from.
    column, row = ((maps.clamp(0, 1) * UV_STEPS).long() for maps in (u, v))
    part = torch.arange(u.shape[1], device=u.device)[:, None, None]
    found = table[part, row, column].to(u.dtype)
    on_body = part > 0
    return torch.where(on_body, found[..., 0], u), torch.where(on_body, found[..., 1], v)


class DensePoseGeneralizedRCNNWithTTA(GeneralizedRCNNWithTTA):
    """detectron2's, with DensePose and turned views.

    Confidences are those of the first view, which is neither mirrored nor turned.
    """

    def __init__(
        self, cfg: CfgNode, model: GeneralizedRCNN, symmetry: ChartSymmetry | None
    ) -> None:
        """Keep the parts.

        Args:
            cfg: of the model; TEST.AUG has the views.
            model: with DensePose heads; keypoints cannot be averaged.
            symmetry: left-right map of the charts; None when no view is mirrored.

        Raises:
            InputError: another kind of model, or one with keypoints.
        """
        if not isinstance(model, GeneralizedRCNN):
            raise InputError(
                f"TEST.AUG needs MODEL.META_ARCHITECTURE 'GeneralizedRCNN', the model is a"
                f" {type(model).__name__}; set TEST.AUG.ENABLED False"
            )
        if getattr(model.roi_heads, "keypoint_on", False):
            raise InputError(
                "TEST.AUG cannot average keypoints; set TEST.AUG.ENABLED or MODEL.KEYPOINT_ON False"
            )
        # One view at a time: padded to a common size, maps near the border would change.
        super().__init__(cfg, model, ViewMaker(cfg), batch_size=1)
        self.symmetry = symmetry

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Instances]]:
        """What ``GeneralizedRCNN`` gives; records need ``image`` alone, unlike detectron2's."""
        return [self._inference_one_image(record) for record in records]

    def _inference_one_image(self, record: Mapping[str, Any]) -> dict[str, Instances]:
        """Post-processed detections of one image with ``height`` and ``width``."""
        height, width = record["image"].shape[1:]
        size = (record.get("height", height), record.get("width", width))
        views = self.tta_mapper({**record, "height": size[0], "width": size[1]})
        upright = [view for view in views if not view.turned]
        with self._turn_off_roi_heads(["mask_on", "keypoint_on", "densepose_on"]):
            found = self._get_augmented_boxes(
                [{"image": view.image} for view in upright], [view.transforms for view in upright]
            )
        instances = self._average(views, self._merge_detections(*found, size))
        return {"instances": detector_postprocess(instances, *size)}

    def _merge_detections(
        self, boxes: Tensor, scores: list[Tensor], classes: list[Tensor], size: tuple[int, int]
    ) -> Instances:
        """As detectron2's, without a loop over boxes."""
        num_classes = self.cfg.MODEL.ROI_HEADS.NUM_CLASSES
        scores_by_class = boxes.new_zeros(len(boxes), num_classes + 1)  # the last is background
        if scores:
            label = torch.stack(classes)[:, None]
            scores_by_class.scatter_(1, label, torch.stack(scores)[:, None])
        nms, most = self.cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST, self.cfg.TEST.DETECTIONS_PER_IMAGE
        return fast_rcnn_inference_single_image(
            boxes, scores_by_class, size, LEAST_SCORE, nms, most
        )[0]

    def _average(self, views: Sequence[View], instances: Instances) -> Instances:
        """The instances with the mean of what all views predict for their boxes."""
        first: ChartOutput | None = None
        sums: dict[str, Tensor] = {}
        # Reading from a table and turning need full maps; else the small ones carry everything.
        table = self.symmetry is not None and self.symmetry.uv_table is not None
        full = table or any(view.turned for view in views)
        for view in views:
            seen = self._predict(view, instances)
            maps: dict[str, Tensor] = {}
            if seen.has("pred_masks"):
                maps["masks"] = seen.pred_masks.flip(3) if view.mirrored else seen.pred_masks
            if seen.has("pred_densepose"):
                output = seen.pred_densepose.upsampled() if full else seen.pred_densepose
                if view.mirrored:
                    output = mirrored(output, self.symmetry)
                maps |= {name: getattr(output, name) for name in AVERAGED}
                first = output if first is None else first
            for name, values in maps.items():
                if view.turned:
                    values = turned_back(values, view, instances.pred_boxes, seen.pred_boxes)
                sums[name] = sums[name].add_(values) if name in sums else values.clone()
        means = {name: total / len(views) for name, total in sums.items()}
        if "masks" in means:
            instances.pred_masks = means.pop("masks")
        if first is not None:
            instances.pred_densepose = replace(first, **means)
        return instances

    def _predict(self, view: View, instances: Instances) -> Instances:
        given = Instances(tuple(view.image.shape[1:]), **instances.get_fields())
        given.pred_boxes = view.to_view(instances.pred_boxes)
        (seen,) = self._batch_inference([{"image": view.image}], [given])
        return seen
