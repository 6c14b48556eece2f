"""DP-FCN: dense pose of every pixel from one fully convolutional network (Gueler et al., 2018).

A pixel is classified into 24 parts and background, and for each part a regressor gives (U, V); it
counts where the part wins. The network sees whole images, or scale-normalised crops of people.

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
from detectron2.structures import Boxes, ImageList, Instances

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import ChartOutput

from .decoder import Decoder
from .dp_fcn_people import (
    annotations_of,
    as_detections,
    detections,
    in_stored_size,
    is_annotated,
    with_annotations,
)
from .figure_ground import EXTRA_CHANNELS, inside_boxes, person_masks, region_maps, told
from .found_people import connected_foreground
from .input_layer import COLORS, mask_layer, widen_input
from .losses.chart import DensePoseChartLoss
from .person_crops import (
    CropSettings,
    crop_images,
    cut_boxes,
    half_a_cell_later,
    jittered,
    square_windows,
)
from .registry import (
    DENSEPOSE_LOSS_REGISTRY,
    DENSEPOSE_PREDICTOR_REGISTRY,
    ROI_DENSEPOSE_HEAD_REGISTRY,
)
from .roi_heads import attach_densepose

BatchedInputs = Sequence[Mapping[str, Any]]


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
            min_person_area_px: smaller connected foreground is nobody.
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
        head_keys, fcn = cfg.MODEL.ROI_DENSEPOSE_HEAD, cfg.MODEL.DP_FCN
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        levels = cfg.MODEL.ROI_HEADS.IN_FEATURES
        decoder = Decoder(cfg, shapes) if head_keys.DECODER_ON else None
        channels = decoder.out_channels if decoder else shapes[levels[0]].channels
        extra = EXTRA_CHANNELS[fcn.FIGURE_GROUND]
        head = ROI_DENSEPOSE_HEAD_REGISTRY.get(head_keys.NAME)(cfg, channels)
        predictor = DENSEPOSE_PREDICTOR_REGISTRY.get(head_keys.PREDICTOR_NAME)
        return {
            "backbone": backbone,
            "in_features": levels,
            "decoder": decoder,
            "mask_features": mask_layer(extra, channels) if extra else None,
            "head": head,
            "predictor": predictor(cfg, head.out_channels),
            "losses": DENSEPOSE_LOSS_REGISTRY.get(head_keys.LOSS_NAME)(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "stride": max(shapes[name].stride for name in levels),
            "crops": CropSettings(fcn.CROP_SIZE, fcn.CROP_MARGIN, fcn.CROP_JITTER)
            if fcn.CROPS
            else None,
            "figure_ground": fcn.FIGURE_GROUND,
            "box_map_size": fcn.BOX_MAP_SIZE,
            "min_person_area_px": fcn.MIN_PERSON_AREA,
        }

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: BatchedInputs) -> Any:
        """Losses by name in training, else a list of {"instances": Instances}, one an image."""
        images = [
            (given["image"].to(self.device).float() - self.pixel_mean) / self.pixel_std
            for given in batched_inputs
        ]
        annotated = [
            given["instances"].to(self.device) if "instances" in given else None
            for given in batched_inputs
        ]
        if self.training:
            targets = [with_annotations(people) for people in annotated]
            if self.crops is not None:
                return self._crop_losses(images, targets)
            return self._image_losses(images, targets)
        people = [
            given.get("people", known)
            for given, known in zip(batched_inputs, annotated, strict=True)
        ]
        people = [p if p is None else as_detections(p.to(self.device)) for p in people]
        predict = self._predict_images if self.crops is None else self._predict_crops
        found = predict(images, people, annotated)
        return [
            {"instances": in_stored_size(instances, given, image.shape[-2:])}
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
        people: DensePoseAnnotations,
        size_px: int,
    ) -> Tensor:
        """(N, C, S, S) input of the network for windows of normalised images.

        Args:
            images: for each image (3, H, W).
            windows: for each image (n, 4) windows in px.
            people: N people; read where the network is told of masks.
            size_px: S.
        """
        crops = crop_images(images, windows, size_px)
        if self.figure_ground == "none":
            return crops
        joined = torch.cat(list(windows))
        regions = region_maps(joined, people, (size_px, size_px))
        return told(crops, self.figure_ground, person_masks(joined, regions, people), regions)

    def _crop_losses(self, images: list[Tensor], targets: list[Instances]) -> dict[str, Tensor]:
        """Losses of a crop of each person that has an annotation."""
        chosen = [people[is_annotated(people.gt_densepose)] for people in targets]
        windows = [
            jittered(square_windows(p.gt_boxes.tensor, self.crops.margin), self.crops.jitter)
            for p in chosen
        ]
        people = DensePoseAnnotations.cat([p.gt_densepose for p in chosen])
        size = self.crops.size_px
        inputs = self.crop_inputs(images, windows, people, size)
        output = self.maps(inputs)
        side = output.part_logits.shape[-1] * output.upscale
        proposals = []
        for person, window in zip(chosen, windows, strict=True):
            boxes = Boxes(half_a_cell_later(window, (side, side)))
            matched = Instances(person.image_size, proposal_boxes=boxes)
            matched.gt_densepose = person.gt_densepose
            if person.has("gt_masks"):
                matched.gt_masks = person.gt_masks
            proposals.append(matched)
        return self.losses(proposals, output)

    def _image_losses(self, images: list[Tensor], targets: list[Instances]) -> dict[str, Tensor]:
        """Losses of whole images; nothing is asked of the boxes of people without part masks."""
        inputs, frame = self._image_inputs(images, targets)
        output = self.maps(inputs)
        height, width = output.part_logits.shape[2:]
        people = DensePoseAnnotations.cat([p.gt_densepose for p in targets])
        number = torch.tensor([len(p) for p in targets], device=self.device)
        image = torch.repeat_interleave(torch.arange(len(targets), device=self.device), number)
        windows = frame[None].expand(len(images), 4)
        full = (height * output.upscale, width * output.upscale)
        labels = region_maps(windows[image], people, (height, width)) > 0
        unknown = inside_boxes(windows[image], people.boxes_xyxy_px, (height, width))
        unknown &= ~people.has_masks[:, None, None]
        zeros = torch.zeros(len(images), height, width, device=self.device)
        is_body = zeros.index_add(0, image, labels.to(zeros)) > 0
        known = zeros.index_add(0, image, unknown.to(zeros)) == 0
        # What was added to images to make a batch is neither body nor background.
        sizes = torch.tensor([(0, 0, i.shape[2], i.shape[1]) for i in images], device=self.device)
        known = (known | is_body) & inside_boxes(windows, sizes, (height, width))
        logits = output.coarse_logits.to(torch.promote_types(zeros.dtype, torch.float32))
        coarse = self.losses.coarse_cross_entropy(logits, is_body.long())[known]
        return self.losses.losses(
            output, half_a_cell_later(windows, full), people, coarse, map_of_person=image
        )

    def _image_inputs(
        self, images: list[Tensor], annotated: Sequence[Instances | None]
    ) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) input with masks where wanted, and the (4,) px that it covers."""
        # A last column or row that is no whole cell would stretch the map over the image.
        multiple = max(self.backbone.size_divisibility, self.stride)
        batch = ImageList.from_tensors(images, multiple).tensor
        size = tuple(batch.shape[-2:])
        frame = batch.new_tensor([0, 0, size[1], size[0]])
        if self.figure_ground == "none":
            return batch, frame
        regions, figures = [], []
        for people in annotated:
            if people is None:
                raise ValueError(
                    f"MODEL.DP_FCN.FIGURE_GROUND={self.figure_ground!r} needs annotated people at"
                    " test too; the input has no instances"
                )
            window = frame[None].expand(len(people), 4)
            region = region_maps(window, people.gt_densepose, size)
            figure = person_masks(window, region, people.gt_densepose)
            # Of people who overlap the highest region counts; nobody leaves zeros.
            empty = region.new_zeros(1, *size)
            regions.append(torch.cat([empty, region]).amax(dim=0))
            figures.append(torch.cat([empty.bool(), figure]).any(dim=0))
        return told(batch, self.figure_ground, torch.stack(figures), torch.stack(regions)), frame

    def _predict_images(
        self,
        images: list[Tensor],
        people: Sequence[Instances | None],
        annotated: Sequence[Instances | None],
    ) -> list[Instances]:
        inputs, frame = self._image_inputs(images, annotated)
        output = self.maps(inputs)
        rows, columns = output.part_logits.shape[2:]
        cell_px = (float(frame[3]) / rows, float(frame[2]) / columns)
        found = []
        for number, (image, given) in enumerate(zip(images, people, strict=True)):
            if given is None:
                foreground = output.coarse_logits[number].float().softmax(dim=0)[1:].sum(dim=0)
                visible = inside_boxes(
                    frame[None], frame.new_tensor([[0, 0, *image.shape[:0:-1]]]), (rows, columns)
                )[0]
                given = detections(
                    image.shape[-2:],
                    *connected_foreground(foreground * visible, cell_px, self.min_person_area_px),
                )
            given.pred_boxes.clip(image.shape[-2:])
            cells = given.pred_boxes.tensor / frame.new_tensor([cell_px[1], cell_px[0]] * 2)
            index = torch.full((len(given),), number, device=self.device)
            given.pred_densepose = cut_boxes(output, index, cells, self.box_map_size)
            found.append(given)
        return found

    def _predict_crops(
        self,
        images: list[Tensor],
        people: Sequence[Instances | None],
        annotated: Sequence[Instances | None],
    ) -> list[Instances]:
        if any(given is None for given in people):
            raise ValueError(
                "MODEL.DP_FCN.CROPS needs boxes at test: set MODEL.DP_FCN.PEOPLE to ground_truth or"
                " to a folder of predictions"
            )
        for image, given in zip(images, people, strict=True):
            given.pred_boxes.clip(image.shape[-2:])
        boxes = [given.pred_boxes.tensor for given in people]
        windows = [square_windows(image_boxes, self.crops.margin) for image_boxes in boxes]
        known = annotations_of(boxes, annotated)
        inputs = self.crop_inputs(images, windows, known, self.crops.size_px)
        output = self.maps(inputs)
        joined, corners = torch.cat(windows), torch.cat(boxes)
        side = output.part_logits.shape[-1]
        origin, size = joined[:, :2].repeat(1, 2), (joined[:, 2:] - joined[:, :2]).repeat(1, 2)
        cells = (corners - origin) / size * side
        index = torch.arange(len(joined), device=self.device)
        cut = cut_boxes(output, index, cells, self.box_map_size)
        attach_densepose(cut, list(people))
        return list(people)
