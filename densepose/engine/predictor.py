"""A model that takes an image as an array and returns its instances as arrays."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import nn

from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import Instances

from densepose.config import is_dp_fcn
from densepose.errors import InputError
from densepose.modeling.inference import instances_to_prediction
from densepose.structures.prediction import ImagePrediction

from .checkpoint import load_for_inference
from .model import build_run_model


class Predictor:
    """Callable: image -> its instances, best score first; the same as in an evaluation."""

    def __init__(
        self,
        model: nn.Module,
        *,
        image_format: str,
        min_size_px: int,
        max_size_px: int,
        min_score: float = 0.0,
        largest: int | None = None,
    ) -> None:
        """Set the model to evaluation.

        Args:
            model: a detector with a DensePose branch.
            image_format: order of channels the model expects, INPUT.FORMAT.
            min_size_px: shorter side that images are resized to; 0 leaves them.
            max_size_px: longest side after resizing.
            min_score: instances with a lower score are dropped.
            largest: keep at most this many instances of an image, those with the largest boxes.
        """
        self.model = model.eval()
        self.image_format = image_format
        self.resize = T.ResizeShortestEdge([min_size_px] * 2, max_size_px)
        self.min_score, self.largest = min_score, largest

    @torch.no_grad()
    def __call__(self, image: np.ndarray, image_id: int = 0) -> ImagePrediction:
        """(H, W, 3) uint8 RGB -> instances, in px of this image."""
        height, width = image.shape[:2]
        ordered = detection_utils.convert_PIL_to_numpy(Image.fromarray(image), self.image_format)
        resized = self.resize.get_transform(ordered).apply_image(ordered)
        planes = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))
        found = self.model([{"image": planes, "height": height, "width": width}])[0]["instances"]
        # Selected before the maps are resized to the boxes, most of the work after the network.
        return instances_to_prediction(found[self._chosen(found)], image_id)

    def _chosen(self, found: Instances) -> torch.Tensor:
        """Indices of the instances to return."""
        index = (found.scores >= self.min_score).nonzero().flatten()
        if self.largest is not None and len(index) > self.largest:
            area = found.pred_boxes.tensor[index]
            area = (area[:, 2:] - area[:, :2]).prod(dim=1)
            index = index[area.argsort(descending=True, stable=True)[: self.largest]]
        return index


def load_predictor(
    cfg: CfgNode, *, min_score: float = 0.5, largest: int | None = None
) -> Predictor:
    """Build the model of a config and load MODEL.WEIGHTS.

    Args:
        cfg: checked, with a MODEL.DEVICE that exists; MODEL.ROI_HEADS.SCORE_THRESH_TEST is not
            read, ``min_score`` stands for it.
        min_score: see ``Predictor``.
        largest: see ``Predictor``.

    Raises:
        InputError: the weights are missing; the weights do not fill the model, it predicts no
            surface, or it needs boxes.
    """
    if not cfg.MODEL.DENSEPOSE_ON:
        raise InputError("MODEL.DENSEPOSE_ON is off: the model predicts boxes but no surface")
    if is_dp_fcn(cfg) and cfg.MODEL.DP_FCN.PEOPLE != "foreground":
        raise InputError(
            "a DensePoseFCN needs the boxes of people, which new photos do not have; take a config"
            " with a detector, or MODEL.DP_FCN.PEOPLE foreground"
        )
    if not cfg.MODEL.WEIGHTS:
        raise InputError("no weights: give --weights FILE, or MODEL.WEIGHTS")
    cfg = cfg.clone()
    cfg.defrost()
    # One threshold; instances below it cost no time in the DensePose branch.
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = min_score
    if not cfg.MODEL.ALLOW_RANDOM_HEAD:
        cfg.MODEL.TIMM.PRETRAINED = ""  # all of the model comes from MODEL.WEIGHTS
    cfg.freeze()
    model = build_run_model(cfg, for_inference=True)
    load_for_inference(cfg, model, cfg.MODEL.WEIGHTS)
    return Predictor(
        model,
        image_format=cfg.INPUT.FORMAT,
        min_size_px=cfg.INPUT.MIN_SIZE_TEST,
        max_size_px=cfg.INPUT.MAX_SIZE_TEST,
        min_score=min_score,
        largest=largest,
    )
