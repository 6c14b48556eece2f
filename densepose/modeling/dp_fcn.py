"""DP-FCN: dense pose of every pixel from one fully convolutional network (Gueler et al., 2018).

A pixel is classified into 24 parts and background, and for each part a regressor gives (U, V); it
counts where the part wins. The network reads whole images, or scale-normalised crops of people.

Shapes: B images, N people of all of them, K maps (B images or N crops) of h x w cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.modeling import Backbone, build_backbone
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances

from densepose.errors import InputError
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import ChartOutput

from .decoder import Decoder
from .input_layer import COLORS, mask_layer, widen_input
from .losses.chart import DensePoseChartLoss
from .losses.targets import UNKNOWN, with_annotations
from .person_crops import (
    EXTRA_CHANNELS,
    CropSettings,
    annotations_of,
    connected_foreground,
    crop_images,
    cut_boxes,
    half_a_cell_later,
    inside_boxes,
    jittered,
    masked_input,
    person_masks,
    region_maps,
    square_windows,
)
from .registry import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
)
from .roi_heads import attach_densepose


class DensePoseFCN(nn.Module):
    """Backbone, merged or single feature level, head and predictor, all convolutional.

    In training an input has ``image`` (3, H, W) and ``instances`` with ``gt_boxes`` and
    ``gt_densepose``; the result are the losses. At test people come from ``people`` (Instances with
    ``pred_boxes`` and ``scores``) if the input has it, else from ``instances`` (annotated people,
    score 1), else they are connected foreground; the result has ``instances`` with ``pred_boxes``,
    ``scores``, ``pred_classes`` and ``pred_densepose``, as DensePose-RCNN's.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: Sequence[str],
        head: nn.Module,
        predictor: nn.Module,
        losses: DensePoseChartLoss,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        stride: int,
        mask_features: nn.Module | None = None,
        decoder: Decoder | None = None,
        crops: CropSettings | None = None,
        figure_ground: str = "none",
        box_map_size: int = 112,
        min_person_area_px: float = 64.0,
    ) -> None:
        """Keep the parts.

        Args:
            backbone: its first convolution is widened for masks that are further channels.
            in_features: levels of the backbone; one of them, unless there is a decoder.
            head: feature map to head features of the same size.
            predictor: head features to ChartOutput.
            losses: of maps and people.
            pixel_mean: of each colour, as the backbone was trained.
            pixel_std: likewise.
            stride: px along a cell of the coarsest level that is read.
            mask_features: masks of the size of the feature map to what is added to it; None where
                masks are no channels of the input.
            decoder: merges the levels.
            crops: how people are cropped; None takes whole images.
            figure_ground: how masks enter the network, a key of EXTRA_CHANNELS.
            box_map_size: side of the maps of each person at test.
            min_person_area_px: smaller connected foreground is not a person.
        """
        super().__init__()
        widen_input(backbone, EXTRA_CHANNELS[figure_ground])
        self.backbone = backbone
        self.in_features = list(in_features)
        self.stride = stride
        self.decoder = decoder
        self.mask_features = mask_features
        self.head = head
        self.predictor = predictor
        self.losses = losses
        self.crops = crops
        self.figure_ground = figure_ground
        self.box_map_size = box_map_size
        self.min_person_area_px = min_person_area_px
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of ``__init__``; head, predictor and losses from MODEL.ROI_DENSEPOSE_HEAD."""
        keys, fcn = cfg.MODEL.ROI_DENSEPOSE_HEAD, cfg.MODEL.DP_FCN
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        levels = cfg.MODEL.ROI_HEADS.IN_FEATURES
        decoder = Decoder(cfg, shapes) if keys.DECODER_ON else None
        channels = decoder.out_channels if decoder else shapes[levels[0]].channels
        extra = EXTRA_CHANNELS[fcn.FIGURE_GROUND]
        crops = CropSettings(fcn.CROP_SIZE, fcn.CROP_MARGIN, fcn.CROP_JITTER)
        head = ROI_DENSEPOSE_HEAD_REGISTRY.get(keys.NAME)(cfg, channels)
        predictor = DENSEPOSE_PREDICTOR_REGISTRY.get(keys.PREDICTOR_NAME)
        return {
            "backbone": backbone,
            "in_features": levels,
            "decoder": decoder,
            "mask_features": mask_layer(extra, channels) if extra else None,
            "head": head,
            "predictor": predictor(cfg, head.out_channels),
            "losses": DENSEPOSE_LOSS_REGISTRY.get(keys.LOSS_NAME)(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "stride": max(shapes[name].stride for name in levels),
            "crops": crops if fcn.CROPS else None,
            "figure_ground": fcn.FIGURE_GROUND,
            "box_map_size": fcn.BOX_MAP_SIZE,
            "min_person_area_px": fcn.MIN_PERSON_AREA,
        }

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> Any:
        """Losses by name in training, else a list of {"instances": Instances}, one an image."""
        images = [
            (given["image"].to(self.device).float() - self.pixel_mean) / self.pixel_std
            for given in batched_inputs
        ]
        annotated = [
            with_annotations(given["instances"].to(self.device)) if "instances" in given else None
            for given in batched_inputs
        ]
        if self.training:
            losses = self._image_losses if self.crops is None else self._crop_losses
            return losses(images, annotated)
        people = [
            given["people"].to(self.device) if "people" in given else known
            for given, known in zip(batched_inputs, annotated, strict=True)
        ]
        people = [None if given is None else _as_detections(given) for given in people]
        found = self._predict(images, people, annotated)
        return [
            {
                "instances": detector_postprocess(
                    instances,
                    given.get("height", image.shape[-2]),
                    given.get("width", image.shape[-1]),
                )
            }
            for instances, given, image in zip(found, batched_inputs, images, strict=True)
        ]

    def maps(self, inputs: Tensor) -> ChartOutput:
        """(K, C, H, W) normalised input -> K maps over it."""
        features = self.backbone(inputs)
        levels = [features[name] for name in self.in_features]
        merged = levels[0] if self.decoder is None else self.decoder(levels)
        if self.mask_features is not None:
            # Through the backbone alone, masks are learnt slowly and lose their place.
            masks = F.adaptive_avg_pool2d(inputs[:, COLORS:], merged.shape[-2:])
            merged = merged + self.mask_features(masks)
        return self.predictor(self.head(merged))

    def crop_inputs(
        self,
        images: Sequence[Tensor],
        windows: Sequence[Tensor],
        annotations: DensePoseAnnotations,
        size_px: int,
    ) -> Tensor:
        """(N, C, S, S) input of the network for windows of normalised images.

        Args:
            images: for each image (3, H, W).
            windows: for each image (n, 4) windows in px.
            annotations: of N people; read where masks are input.
            size_px: S.
        """
        crops = crop_images(images, windows, size_px)
        if self.figure_ground == "none":
            return crops
        joined = torch.cat(list(windows))
        regions = region_maps(joined, annotations, (size_px, size_px))
        figures = person_masks(joined, regions, annotations)
        return masked_input(crops, self.figure_ground, figures, regions)

    def image_inputs(
        self, images: list[Tensor], annotated: Sequence[Instances | None]
    ) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) input of the network, and the (B, 4) windows in px that it covers."""
        # A last column or row that is no whole cell would stretch the map over the image.
        multiple = max(self.backbone.size_divisibility, self.stride)
        batch = ImageList.from_tensors(images, multiple).tensor
        size = tuple(batch.shape[-2:])
        windows = batch.new_tensor([0, 0, size[1], size[0]]).expand(len(images), 4)
        if self.figure_ground == "none":
            return batch, windows
        regions, figures = [], []
        for window, people in zip(windows, annotated, strict=True):
            if people is None:
                raise InputError(
                    f"MODEL.DP_FCN.FIGURE_GROUND={self.figure_ground!r} needs annotated people at"
                    " test too; the input has no instances"
                )
            window = window.expand(len(people), 4)
            region = region_maps(window, people.gt_densepose, size)
            figure = person_masks(window, region, people.gt_densepose)
            # Of people who overlap the highest region counts; an image without people gets zeros.
            empty = region.new_zeros(1, *size)
            regions.append(torch.cat([empty, region]).amax(dim=0))
            figures.append(torch.cat([empty.bool(), figure]).any(dim=0))
        figures, regions = torch.stack(figures), torch.stack(regions)
        return masked_input(batch, self.figure_ground, figures, regions), windows

    def _crop_losses(self, images: list[Tensor], targets: list[Instances]) -> dict[str, Tensor]:
        """Losses of a crop of each person that has an annotation."""
        chosen = [t[t.gt_densepose.is_annotated.nonzero()[:, 0]] for t in targets]
        windows = [
            jittered(square_windows(p.gt_boxes.tensor, self.crops.margin), self.crops.jitter)
            for p in chosen
        ]
        annotations = DensePoseAnnotations.cat([p.gt_densepose for p in chosen])
        output = self.maps(self.crop_inputs(images, windows, annotations, self.crops.size_px))
        for people, window in zip(chosen, windows, strict=True):
            people.proposal_boxes = Boxes(half_a_cell_later(window, output.full_size))
        return self.losses(chosen, output)

    def _image_losses(self, images: list[Tensor], targets: list[Instances]) -> dict[str, Tensor]:
        """Losses of whole images; nothing is asked of the boxes of people without part masks."""
        inputs, windows = self.image_inputs(images, targets)
        output = self.maps(inputs)
        annotations = DensePoseAnnotations.cat([people.gt_densepose for people in targets])
        image = _owners(targets, self.device)
        is_body = region_maps(windows[image], annotations, output.size) > 0
        has_no_masks = ~annotations.has_masks[:, None, None]
        in_box = inside_boxes(windows[image], annotations.boxes_xyxy_px, output.size)
        zeros = windows.new_zeros(len(images), *output.size)
        body = zeros.index_add(0, image, is_body.to(zeros)) > 0
        unknown = zeros.index_add(0, image, (in_box & has_no_masks).to(zeros)) > 0
        # What was added to images to make a batch is neither body nor background.
        known = (body | ~unknown) & self._inside_images(images, windows, output.size)
        labels = torch.where(known, body.long(), UNKNOWN)
        frames = half_a_cell_later(windows, output.full_size)
        return self.losses.of_shared_maps(output, frames, annotations, image, labels)

    def _predict(
        self,
        images: list[Tensor],
        people: list[Instances | None],
        annotated: Sequence[Instances | None],
    ) -> list[Instances]:
        """The people of each image with ``pred_densepose``."""
        for given, image in zip(people, images, strict=True):
            if given is not None:
                given.pred_boxes.clip(image.shape[-2:])
            elif self.crops is not None:
                raise InputError(
                    "MODEL.DP_FCN.CROPS needs boxes at test: set MODEL.DP_FCN.PEOPLE to"
                    " ground_truth or to a folder of predictions"
                )
        if self.crops is None:
            inputs, windows = self.image_inputs(images, annotated)
            output = self.maps(inputs)
            foreground = output.coarse_logits.float().softmax(dim=1)[:, 1:].sum(dim=1)
            foreground = foreground * self._inside_images(images, windows, output.size)
            people = [
                self._connected(f, window, image) if given is None else given
                for given, f, window, image in zip(people, foreground, windows, images, strict=True)
            ]
            map_index = _owners(people, self.device)
        else:
            boxes = [given.pred_boxes.tensor for given in people]
            crops = [square_windows(of_image, self.crops.margin) for of_image in boxes]
            annotations = annotations_of(boxes, annotated)
            output = self.maps(self.crop_inputs(images, crops, annotations, self.crops.size_px))
            windows = torch.cat(crops)
            map_index = torch.arange(len(windows), device=self.device)
        boxes = torch.cat([given.pred_boxes.tensor for given in people])
        attach_densepose(cut_boxes(output, map_index, windows, boxes, self.box_map_size), people)
        return people

    def _inside_images(
        self, images: list[Tensor], windows: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """(B, h, w) bool: cells that are not padding."""
        sizes = [(0, 0, image.shape[2], image.shape[1]) for image in images]
        return inside_boxes(windows, torch.tensor(sizes, device=self.device), size)

    def _connected(self, foreground: Tensor, window: Tensor, image: Tensor) -> Instances:
        """People of one image as its connected foreground."""
        rows, columns = foreground.shape
        cell_px = (float(window[3]) / rows, float(window[2]) / columns)
        found = connected_foreground(foreground, cell_px, self.min_person_area_px)
        people = _detections(image.shape[-2:], *found)
        people.pred_boxes.clip(image.shape[-2:])
        return people


def _detections(image_size: Sequence[int], boxes: Tensor, scores: Tensor) -> Instances:
    """(N, 4) boxes and (N,) scores as detections of class 0."""
    classes = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return Instances(
        tuple(image_size), pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes
    )


def _as_detections(people: Instances) -> Instances:
    """Given people as detections, score 1 where they have none."""
    boxes = (people.pred_boxes if people.has("pred_boxes") else people.gt_boxes).tensor.clone()
    scores = people.scores if people.has("scores") else boxes.new_ones(len(boxes))
    return _detections(people.image_size, boxes, scores)


def _owners(people: Sequence[Instances], device: torch.device) -> Tensor:
    """(N,) int64 image of each person."""
    return torch.cat([torch.full((len(p),), i, device=device) for i, p in enumerate(people)])
