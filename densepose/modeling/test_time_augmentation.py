"""A detector that predicts every test image several times and averages the maps.

Instances are found in all views that are not turned; the boxes of all of them are merged. Each view
then predicts DensePose (and masks) for the merged boxes, and the maps of all views are averaged.

As detectron2's DensePose does, except for turned views: there it rotates maps in coordinates
normalised by width and height, which shears those of boxes that are not square, and rounds boxes
to whole pixels; here every cell is read where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN, GeneralizedRCNNWithTTA, detector_postprocess
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image
from detectron2.structures import Instances

from densepose.structures.chart_output import ChartOutput
from densepose.surface.symmetry import ChartSymmetry

from .mirrored_output import mirrored
from .views import View, ViewMaker, turned_back

AVERAGED = ("coarse_logits", "part_logits", "u", "v")
# Every box of a view is above the detector's own threshold; here only zero scores are dropped.
LEAST_SCORE = 1e-8


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
            ValueError: another kind of model, or one with keypoints.
        """
        if not isinstance(model, GeneralizedRCNN):
            raise ValueError(
                f"TEST.AUG needs MODEL.META_ARCHITECTURE 'GeneralizedRCNN', the model is a"
                f" {type(model).__name__}; set TEST.AUG.ENABLED False"
            )
        if getattr(model.roi_heads, "keypoint_on", False):
            raise ValueError(
                "TEST.AUG cannot average keypoints; set TEST.AUG.ENABLED or MODEL.KEYPOINT_ON False"
            )
        views = cfg.TEST.AUG
        make_views = ViewMaker(
            min_sizes=views.MIN_SIZES,
            max_size=views.MAX_SIZE,
            flip=views.FLIP,
            angles=views.ROTATION_ANGLES,
        )
        # One view at a time: padded to a common size, maps near the border would change.
        super().__init__(cfg, model, make_views, batch_size=1)
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

    @contextmanager
    def _turn_off_roi_heads(self, attrs: Sequence[str]) -> Iterator[None]:
        """As detectron2's; the heads are on again after an error, too."""
        heads = vars(self.model.roi_heads)
        before = {name: heads[name] for name in attrs if name in heads}
        heads.update(dict.fromkeys(before, False))
        try:
            yield
        finally:
            heads.update(before)

    def _merge_detections(
        self, boxes: Tensor, scores: list[Tensor], classes: list[Tensor], size: tuple[int, int]
    ) -> Instances:
        """As detectron2's, without a loop over boxes."""
        num_classes = self.cfg.MODEL.ROI_HEADS.NUM_CLASSES
        scores_by_class = boxes.new_zeros(len(boxes), num_classes + 1)  # the last is background
        if scores:
            label = torch.stack(classes)
            scores_by_class[torch.arange(len(label), device=label.device), label] = torch.stack(
                scores
            )
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
