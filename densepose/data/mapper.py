"""From a dataset dict to what the network is trained on or tested with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks

from densepose.errors import InputError

from .inpainted import InpaintedTargets, move_labels
from .masks import image_masks, moved_polygons
from .person_annotations import (
    affine_of,
    is_mirrored,
    move_annotations,
    move_boxes,
    pack_annotations,
)
from .registration import find_data, symmetry_from_config

if TYPE_CHECKING:
    from densepose.surface.symmetry import ChartSymmetry


logger = logging.getLogger(__name__)

# Narrower boxes are dropped, as in detectron2.
MIN_BOX_SIDE_PX = 1e-5


class DensePoseMapper:
    """Reads the image of a dataset dict, augments it and moves its annotations along.

    A training record becomes ``image`` (3, H, W) uint8, ``height``, ``width``, ``image_id``,
    ``file_name`` and ``instances`` with ``gt_boxes``, ``gt_classes``, ``gt_densepose`` and, when
    asked for, ``gt_masks`` and ``gt_keypoints``. Crowds are dropped. A test record has
    ``instances`` only for networks that are given the boxes of people.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
        symmetry: ChartSymmetry | None = None,
        use_densepose: bool = True,
        use_masks: bool = False,
        mask_format: str = "bitmask",
        keypoint_flip: Sequence[int] | None = None,
        tight_boxes: bool = False,
        people_at_test: bool = False,
        inpainted: InpaintedTargets | None = None,
    ) -> None:
        """Build a mapper.

        Args:
            is_train: False keeps the image only.
            augmentations: detectron2 augmentations; together an affine map and changes of colour.
            image_format: "BGR", "RGB", "L" or another of detectron2's ``read_image``.
            symmetry: left-right map of the charts; needed when an augmentation mirrors.
            use_densepose: give ``gt_densepose``.
            use_masks: give ``gt_masks``.
            mask_format: "bitmask", or "polygon" for data sets without run-length masks.
            keypoint_flip: (K,) number of each keypoint's mirror image; None drops keypoints.
            tight_boxes: boxes from the masks, for people who are cut by a crop.
            people_at_test: give test records ``instances`` too, for networks that are given where
                people are.
            inpainted: dense labels beside the points.
        """
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.symmetry = symmetry
        self.use_densepose = use_densepose
        self.use_masks = use_masks
        self.mask_format = mask_format
        self.keypoint_flip = None if keypoint_flip is None else np.asarray(keypoint_flip)
        self.tight_boxes = tight_boxes
        self.people_at_test = people_at_test
        self.inpainted = inpainted
        kind = "training" if is_train else "test"
        logger.info("Augmentations in %s: %s", kind, list(augmentations))

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        use_masks = cfg.MODEL.MASK_ON or (
            cfg.MODEL.DENSEPOSE_ON and cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS
        )
        settings: dict[str, Any] = {
            "is_train": is_train,
            "augmentations": augmentations_from_config(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
            "use_densepose": cfg.MODEL.DENSEPOSE_ON,
            "use_masks": use_masks,
            "mask_format": cfg.INPUT.MASK_FORMAT,
            "tight_boxes": use_masks and cfg.INPUT.CROP.ENABLED,
        }
        if is_train and cfg.MODEL.KEYPOINT_ON:
            settings["keypoint_flip"] = detection_utils.create_keypoint_hflip_indices(
                cfg.DATASETS.TRAIN
            )
        if is_train and cfg.MODEL.DENSEPOSE_ON and cfg.INPUT.RANDOM_FLIP != "none":
            settings["symmetry"] = symmetry_from_config(cfg)
        if is_train and cfg.MODEL.DENSEPOSE_ON and cfg.DATASETS.INPAINTED:
            missing = cfg.DATASETS.ON_MISSING_INPAINTED
            folder = find_data(cfg.DATASETS.INPAINTED)
            settings["inpainted"] = InpaintedTargets(folder, on_missing=missing)
        if cfg.MODEL.META_ARCHITECTURE == "DensePoseFCN":
            fcn = cfg.MODEL.DP_FCN
            settings["people_at_test"] = fcn.PEOPLE == "ground_truth" or fcn.FIGURE_GROUND != "none"
        return settings

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map one dataset dict; it is not changed.

        Raises:
            InputError: the image is missing; the image cannot be decoded; the image has another
                size than the record says, a training record has no annotations, or these are
                damaged.
        """
        image = read_record_image(record, self.image_format)
        height, width = image.shape[:2]
        mapped = {key: value for key, value in record.items() if key != "annotations"}
        augmented = T.AugInput(image)
        transforms = self.augmentations(augmented)
        pixels = np.ascontiguousarray(augmented.image.transpose(2, 0, 1))
        mapped["image"] = torch.from_numpy(pixels)
        if self.is_train or self.people_at_test:
            where = f"{record['file_name']}: image {record.get('image_id')}"
            if "annotations" not in record:
                raise InputError(
                    f"{where} has no annotations; a data set without truth can neither be in"
                    " DATASETS.TRAIN, nor be tested with MODEL.DP_FCN.PEOPLE 'ground_truth' or a"
                    " MODEL.DP_FCN.FIGURE_GROUND"
                )
            people = [person for person in record["annotations"] if not person.get("iscrowd", 0)]
            affine = affine_of(transforms, height, width)
            try:
                size = tuple(pixels.shape[1:])
                mapped["instances"] = self._instances(
                    people, affine, size, (height, width), record.get("image_id")
                )
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
        return mapped

    def _instances(
        self,
        people: list[dict[str, Any]],
        affine: np.ndarray,
        image_size: tuple[int, int],
        stored_size: tuple[int, int],
        image_id: int | None,
    ) -> Instances:
        packed = pack_annotations(people if self.use_densepose else _boxes_only(people))
        boxes = move_boxes(packed.boxes_xyxy_px, affine)
        instances = Instances(image_size)
        instances.gt_boxes = Boxes(boxes)
        instances.gt_boxes.clip(image_size)
        classes = [person["category_id"] for person in people]
        instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
        moved = None
        if self.use_densepose:
            moved = move_annotations(packed, affine, image_size, self.symmetry)
            if self.inpainted is not None:
                labels = self.inpainted(image_id, people)
                where = (packed.boxes_xyxy_px, moved.boxes_xyxy_px, affine, self.symmetry)
                moved = replace(moved, dense=move_labels(labels, *where))
            instances.gt_densepose = moved
            if len(moved.part) < len(packed.part):
                logger.debug(
                    "%d of %d points left the image",
                    len(packed.part) - len(moved.part),
                    len(packed.part),
                )
        if self.keypoint_flip is not None:
            keypoints = _move_keypoints(people, affine, image_size, self.keypoint_flip)
            instances.gt_keypoints = Keypoints(keypoints)
        keep = instances.gt_boxes.nonempty(MIN_BOX_SIDE_PX)
        if self.use_masks:
            if self.mask_format == "polygon":
                instances.gt_masks = PolygonMasks(moved_polygons(people, affine))
            else:
                instances.gt_masks = BitMasks(
                    image_masks(people, affine, image_size, stored_size, moved)
                )
            keep &= instances.gt_masks.nonempty()
        if not keep.all():
            instances = instances[keep]
        if self.tight_boxes:
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return instances


def _boxes_only(people: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("bbox", "bbox_mode")
    return [{key: person[key] for key in kept if key in person} for person in people]


def read_record_image(record: dict[str, Any], image_format: str) -> np.ndarray:
    """The image of a dataset dict, (H, W, C) uint8, turned as its EXIF entry says.

    Raises:
        InputError: the file is missing; it cannot be decoded; it has another size than ``height``
            and ``width`` of the record.
    """
    path = record["file_name"]
    where = f"{path}: image {record.get('image_id')}"
    try:
        image = detection_utils.read_image(path, format=image_format)
    except FileNotFoundError:
        raise InputError(
            f"{where} is missing; put it there, or take its records out of the annotation file"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{where} cannot be decoded ({error}); expected a whole JPEG or PNG: download it again,"
            " or take its records out of the annotation file"
        ) from error
    got = image.shape[:2]
    expected = (record.get("height", got[0]), record.get("width", got[1]))
    if got != expected:
        turned = " (an EXIF entry that turns it counts)" if got == expected[::-1] else ""
        raise InputError(
            f"{where}: expected height x width {expected[0]} x {expected[1]} px as annotated, got"
            f" {got[0]} x {got[1]}{turned}; correct the annotation file or the image"
        )
    return image


def _move_keypoints(
    people: Sequence[dict[str, Any]],
    affine: np.ndarray,
    image_size: tuple[int, int],
    flip: np.ndarray,
) -> Tensor:
    """(N, K, 3) float32 x, y in px and visibility; zeros where not labelled or out of the image."""
    absent = [0.0] * (3 * len(flip))
    raw = [person.get("keypoints", absent) for person in people]
    lengths = {len(values) for values in raw} - {len(absent)}
    if lengths:
        raise InputError(f"expected {len(flip)} keypoints, got {max(lengths) / 3:g}")
    keypoints = np.array(raw, np.float64).reshape(len(people), len(flip), 3)
    position = keypoints[..., :2] @ affine[:, :2].T + affine[:, 2]
    inside = ((position >= 0) & (position <= (image_size[1], image_size[0]))).all(axis=-1)
    visibility = np.where(inside, keypoints[..., 2], 0)
    moved = np.concatenate([position, visibility[..., None]], axis=-1)
    moved[visibility == 0] = 0
    if is_mirrored(affine):
        moved = moved[:, flip]
    return torch.from_numpy(moved.astype(np.float32))


def augmentations_from_config(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """Crop, resize, flip, rotation and colour for training; resize alone for a test.

    Read are INPUT.CROP, MIN_SIZE_*, MAX_SIZE_*, RANDOM_FLIP, ROTATION_ANGLES (degrees, one is
    drawn) and COLOR_JITTER (0 is none; s changes brightness, contrast and saturation by factors
    between 1 - s and 1 + s).
    """
    augmentations = detection_utils.build_augmentation(cfg, is_train)
    if not is_train:
        return augmentations
    if cfg.INPUT.CROP.ENABLED:
        augmentations.insert(0, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
    angles = list(cfg.INPUT.ROTATION_ANGLES)
    if any(angle % 360 for angle in angles):
        augmentations.append(T.RandomRotation(angles, expand=False, sample_style="choice"))
    jitter = cfg.INPUT.get("COLOR_JITTER", 0.0)
    if jitter:
        low, high = 1 - jitter, 1 + jitter
        kinds = (T.RandomBrightness, T.RandomContrast, T.RandomSaturation)
        augmentations += [kind(low, high) for kind in kinds]
    return augmentations
