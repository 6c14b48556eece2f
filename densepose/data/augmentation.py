"""The augmentations a config asks for, in the order they are applied."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.data import transforms as T


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
        augmentations += [kind(low, high) for kind in COLOR_CHANGES]
    return augmentations


COLOR_CHANGES = (T.RandomBrightness, T.RandomContrast, T.RandomSaturation)
