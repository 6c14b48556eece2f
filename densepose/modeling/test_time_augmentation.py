"""A detector that looks at every test image several times and averages what it sees.

People are found in all views that are not turned; the boxes of all of them are merged. Each view
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
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.modeling import GeneralizedRCNN, detector_postprocess
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image
from detectron2.structures import Boxes, Instances

from densepose.structures.chart_output import ChartOutput
from densepose.surface.symmetry import ChartSymmetry

from .mirrored_output import mirrored
from .views import View, ViewMaker, turned_back

AVERAGED = ("coarse_logits", "part_logits", "u", "v")
# Every box of a view is above the detector's own threshold; here only zero scores are left out.
LEAST_SCORE = 1e-8


class DensePoseGeneralizedRCNNWithTTA(nn.Module):
    """Takes and gives what ``GeneralizedRCNN`` does in inference.

    Confidences are those of the first view, which is neither mirrored nor turned.
    """

    @configurable
    def __init__(
        self,
        model: GeneralizedRCNN,
        *,
        make_views: ViewMaker,
        symmetry: ChartSymmetry | None,
        num_classes: int,
        nms_threshold: float,
        max_detections: int,
    ) -> None:
        """Keep the parts.

        Args:
            model: with DensePose heads; keypoints cannot be averaged.
            make_views: makes the views of an image.
            symmetry: left-right map of the charts; None when no view is mirrored.
            num_classes: of the box head, without background.
            nms_threshold: overlap from which on the weaker of two boxes is dropped.
            max_detections: best boxes of an image that are kept.

        Raises:
            ValueError: another kind of model, or one with keypoints.
        """
        super().__init__()
        if not isinstance(model, GeneralizedRCNN):
            raise ValueError(
                f"TEST.AUG needs MODEL.META_ARCHITECTURE 'GeneralizedRCNN', the model is a"
                f" {type(model).__name__}; set TEST.AUG.ENABLED False"
            )
        if getattr(model.roi_heads, "keypoint_on", False):
            raise ValueError(
                "TEST.AUG cannot average keypoints; set TEST.AUG.ENABLED or MODEL.KEYPOINT_ON False"
            )
        self.model = model
        self.make_views = make_views
        self.symmetry = symmetry
        self.num_classes = num_classes
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections

    @classmethod
    def from_config(
        cls, cfg: CfgNode, model: GeneralizedRCNN, symmetry: ChartSymmetry | None
    ) -> dict[str, Any]:
        """Arguments of ``__init__`` from TEST."""
        views = cfg.TEST.AUG
        return {
            "model": model,
            "make_views": ViewMaker(
                min_sizes=views.MIN_SIZES,
                max_size=views.MAX_SIZE,
                flip=views.FLIP,
                angles=views.ROTATION_ANGLES,
            ),
            "symmetry": symmetry,
            "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "nms_threshold": cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    def forward(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Instances]]:
        """Post-processed detections of each image.

        Args:
            records: with ``image`` (3, H, W) and, if it was resized, ``height`` and ``width`` of
                the annotated image.
        """
        return [{"instances": self._one_image(record)} for record in records]

    def _one_image(self, record: Mapping[str, Any]) -> Instances:
        height, width = record["image"].shape[1:]
        size = (record.get("height", height), record.get("width", width))
        views = self.make_views({**record, "height": size[0], "width": size[1]})
        people = self._find_people(views, size)
        people = self._average(views, people)
        return detector_postprocess(people, *size)

    def _find_people(self, views: Sequence[View], size: tuple[int, int]) -> Instances:
        """Boxes of all upright views, merged, in the annotated image."""
        found = []
        with _boxes_alone(self.model.roi_heads):
            for view in views:
                if not view.turned:
                    (image,) = self.model.inference([{"image": view.image}], do_postprocess=False)
                    found.append((view.from_view(image.pred_boxes), image))
        boxes = torch.cat([corners for corners, _ in found])
        score = torch.cat([image.scores for _, image in found])
        label = torch.cat([image.pred_classes for _, image in found])
        scores = score.new_zeros(len(score), self.num_classes + 1)  # the last one is background
        scores[torch.arange(len(score), device=label.device), label] = score
        merged, _ = fast_rcnn_inference_single_image(
            boxes, scores, size, LEAST_SCORE, self.nms_threshold, self.max_detections
        )
        return merged

    def _average(self, views: Sequence[View], people: Instances) -> Instances:
        """The people with the mean of what all views predict for their boxes."""
        first: ChartOutput | None = None
        sums: dict[str, Tensor] = {}
        # Reading from a table and turning need full maps; else the small ones carry everything.
        table = self.symmetry is not None and self.symmetry.uv_table is not None
        full = table or any(view.turned for view in views)
        for view in views:
            seen = self._predict(view, people)
            if seen.has("pred_masks"):
                masks = seen.pred_masks.flip(3) if view.mirrored else seen.pred_masks
                _add(sums, "masks", _upright(masks, view, people.pred_boxes, seen.pred_boxes))
            if not seen.has("pred_densepose"):
                continue
            output = seen.pred_densepose.upsampled() if full else seen.pred_densepose
            if view.mirrored:
                output = mirrored(output, self.symmetry)
            for name in AVERAGED:
                maps = getattr(output, name)
                _add(sums, name, _upright(maps, view, people.pred_boxes, seen.pred_boxes))
            first = output if first is None else first
        means = {name: total / len(views) for name, total in sums.items()}
        if "masks" in means:
            people.pred_masks = means.pop("masks")
        if first is not None:
            people.pred_densepose = replace(first, **means)
        return people

    def _predict(self, view: View, people: Instances) -> Instances:
        given = Instances(tuple(view.image.shape[1:]), **people.get_fields())
        given.pred_boxes = view.to_view(people.pred_boxes)
        (seen,) = self.model.inference([{"image": view.image}], [given], do_postprocess=False)
        return seen


def _add(sums: dict[str, Tensor], name: str, maps: Tensor) -> None:
    sums[name] = sums[name].add_(maps) if name in sums else maps.clone()


def _upright(maps: Tensor, view: View, boxes: Boxes, boxes_in_view: Boxes) -> Tensor:
    return turned_back(maps, view, boxes, boxes_in_view) if view.turned else maps


@contextmanager
def _boxes_alone(roi_heads: nn.Module) -> Iterator[None]:
    """Switch off what hangs on the boxes for the time being."""
    names = [n for n in ("mask_on", "keypoint_on", "densepose_on") if hasattr(roi_heads, n)]
    before = {name: getattr(roi_heads, name) for name in names}
    try:
        for name in names:
            setattr(roi_heads, name, False)
        yield
    finally:
        for name, value in before.items():
            setattr(roi_heads, name, value)
