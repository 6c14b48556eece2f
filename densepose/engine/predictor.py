"""A model that takes images as arrays and returns their instances as arrays."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import Instances

from densepose.config import check_config, find_config, is_dp_fcn, load_config
from densepose.errors import InputError
from densepose.model_zoo.files import SHIPPED, find_shipped_model, resolve_weights
from densepose.model_zoo.table import SCHEME, find, is_name
from densepose.modeling.inference import instances_to_prediction
from densepose.structures.prediction import ImagePrediction

from .checkpoint import load_for_inference
from .model import build_run_model
from .prepare import choose_device
from .weights import read_checkpoint

CONFIG = "config"  # entry of a file of weights: the text of a config, or the name of a shipped one
_RELEASED = re.compile(r"model_final_[0-9a-f]{6}\.pkl")
BESIDE = "config.yaml"  # detectron2's trainer and that of this package write it into OUTPUT_DIR


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
        half: bool = False,
        confidence: bool = False,
    ) -> None:
        """Set the model to evaluation.

        Args:
            model: a detector with a DensePose branch.
            image_format: order of channels the model expects, INPUT.FORMAT.
            min_size_px: shorter side that images are resized to; 0 leaves them.
            max_size_px: longest side after resizing.
            min_score: instances with a lower score are dropped.
            largest: keep at most this many instances of an image, those with the largest boxes.
            half: compute in half precision, which needs a GPU.
            confidence: also the probability of the part of each pixel.
        """
        self.model = model.eval()
        self.image_format = image_format
        self.resize = T.ResizeShortestEdge([min_size_px] * 2, max_size_px)
        self.min_score, self.largest = min_score, largest
        self.device = next(model.parameters()).device
        self.half, self.confidence = half, confidence
        if half and self.device.type == "cpu":
            raise InputError("half precision needs a GPU; this model is on the CPU")

    def __call__(self, image: np.ndarray, image_id: int = 0) -> ImagePrediction:
        """(H, W, 3) uint8 RGB -> instances, in px of this image."""
        return self.batch([image], [image_id])[0]

    @torch.no_grad()
    def batch(self, images: Sequence[np.ndarray], ids: Sequence[int]) -> list[ImagePrediction]:
        """Several images (H, W, 3) uint8 RGB of any sizes at once -> the instances of each."""
        with torch.autocast(self.device.type, enabled=self.half):
            outputs = self.model([self._input(image) for image in images])
        found = [output["instances"] for output in outputs]
        # Selected before the maps are resized to the boxes, most of the work after the network.
        return [
            instances_to_prediction(
                instances[self._chosen(instances)], image_id, confidence=self.confidence
            )
            for instances, image_id in zip(found, ids, strict=True)
        ]

    def _input(self, image: np.ndarray) -> dict[str, object]:
        ordered = detection_utils.convert_PIL_to_numpy(Image.fromarray(image), self.image_format)
        resize = self.resize.get_transform(ordered)
        if isinstance(resize, T.ResizeTransform):  # of a strip the short side would be nothing
            resize.new_h, resize.new_w = max(resize.new_h, 1), max(resize.new_w, 1)
        resized = resize.apply_image(ordered)
        planes = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))
        return {"image": planes, "height": image.shape[0], "width": image.shape[1]}

    def _chosen(self, found: Instances) -> torch.Tensor:
        """Indices of the instances to return."""
        index = (found.scores >= self.min_score).nonzero().flatten()
        if self.largest is not None and len(index) > self.largest:
            area = found.pred_boxes.tensor[index]
            area = (area[:, 2:] - area[:, :2]).prod(dim=1)
            index = index[area.argsort(descending=True, stable=True)[: self.largest]]
        return index


def load_predictor(
    cfg: CfgNode,
    *,
    min_score: float = 0.5,
    largest: int | None = None,
    half: bool = False,
    confidence: bool = False,
) -> Predictor:
    """Build the model of a config and load MODEL.WEIGHTS.

    Args:
        cfg: checked, with a MODEL.DEVICE that exists; MODEL.ROI_HEADS.SCORE_THRESH_TEST is not
            read, ``min_score`` stands for it.
        min_score: see ``Predictor``.
        largest: see ``Predictor``.
        half: see ``Predictor``.
        confidence: see ``Predictor``.

    Raises:
        InputError: the weights are missing or do not fill the model; it predicts no surface, or
            needs boxes.
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
        half=half,
        confidence=confidence,
    )


def model_config(
    weights: str = "", config_file: str = "", opts: Sequence[str] = ()
) -> tuple[str, CfgNode]:
    """Where the config came from, and the checked config with MODEL.WEIGHTS and a usable device.

    Args:
        weights: file, name of a released model, or an address of ``resolve_weights``. Empty: those
            of ``opts`` or ``config_file``, else those that come with the package.
        config_file: file, or name of a shipped config. Empty: that of the released model, the one
            that the weights carry, or ``config.yaml`` beside them.
        opts: KEY, VALUE, KEY, VALUE ... that replace those of the config.

    Raises:
        InputError: config or weights are missing; no such released model or key; the config of the
            weights is not known, or contradicts itself.
    """
    weights = dict(zip(opts[::2], opts[1::2], strict=False)).get("MODEL.WEIGHTS", weights)
    if not weights and not config_file:
        weights = SHIPPED
    if is_name(weights):
        weights = SCHEME + weights
    given = [*opts, *(["MODEL.WEIGHTS", weights] if weights else [])]
    if config_file:
        source, cfg = config_file, load_config(find_config(config_file), given)
    else:
        source, cfg = _config_of_weights(weights, given)
    cfg = choose_device(cfg)
    check_config(cfg)
    return source, cfg


def _config_of_weights(weights: str, opts: list[str]) -> tuple[str, CfgNode]:
    """The config that belongs to weights, and where it was found."""
    if weights.startswith(SCHEME):
        return _shipped_config(find(weights).config, opts)
    if weights.startswith(SHIPPED):
        return _shipped_config(find_shipped_model()[0], opts)
    path = resolve_weights(weights)
    text = read_checkpoint(path).get(CONFIG)
    if isinstance(text, str) and ":" not in text:
        return _shipped_config(text, opts)
    if isinstance(text, str):
        # `load_config` reads files: it follows bases and names the file of a wrong key.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"config_of_{path.stem}.yaml")
            file.write_text(text, encoding="utf-8")
            return str(path), load_config(str(file), opts)
    beside = path.with_name(BESIDE)
    if beside.is_file():
        return str(beside), load_config(str(beside), opts)
    if _RELEASED.fullmatch(path.name):
        return _shipped_config(find(path.name).config, opts)
    raise InputError(
        f"{path}: the file does not say which model it is of, and there is no {beside}; give its"
        " config too: --config-file FILE, in Python config_file"
    )


def _shipped_config(name: str, opts: list[str]) -> tuple[str, CfgNode]:
    return name, load_config(find_config(name), opts)
