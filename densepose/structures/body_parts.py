"""The parts, regions, keypoints and grids of DensePose as plain constants; needs NumPy alone."""

from __future__ import annotations

import numpy as np

# DensePose-COCO stores points and part masks on a 256-step grid over the box. Released *metrics*
# divide by 255; evaluation uses METRIC_GRID to stay comparable with them, training divides by 256.
ANNOTATION_GRID = 256.0
METRIC_GRID = 255.0
# U and V are stored and compared as whole steps of 1 / 255.
UV_STEPS = 255.0

PART_NAMES = (
    "background",
    "torso back",
    "torso front",
    "right hand",
    "left hand",
    "left foot",
    "right foot",
    "right upper leg back",
    "left upper leg back",
    "right upper leg front",
    "left upper leg front",
    "right lower leg back",
    "left lower leg back",
    "right lower leg front",
    "left lower leg front",
    "left upper arm front",
    "right upper arm front",
    "left upper arm back",
    "right upper arm back",
    "left lower arm front",
    "right lower arm front",
    "left lower arm back",
    "right lower arm back",
    "right head",
    "left head",
)
NUM_PARTS = len(PART_NAMES) - 1

# Region of DensePose-COCO's part masks that each part lies in (data_format.md of the release).
COARSE_OF_PART = np.array(
    [0, 1, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 14]
)
# In the order of dp_masks.
REGION_NAMES = (
    "torso",
    "right hand",
    "left hand",
    "left foot",
    "right foot",
    "right upper leg",
    "left upper leg",
    "right lower leg",
    "left lower leg",
    "left upper arm",
    "right upper arm",
    "left lower arm",
    "right lower arm",
    "head",
)
NUM_REGIONS = len(REGION_NAMES)

KEYPOINT_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)


def flipped_parts() -> np.ndarray:
    """(25,) part on the other side of the body, by the names of the parts."""
    return _other_side(PART_NAMES, " ")


def flipped_keypoints() -> np.ndarray:
    """(17,) keypoint on the other side of the body, by the names of the keypoints."""
    return _other_side(KEYPOINT_NAMES, "_")


def flipped_coarse() -> np.ndarray:
    """(15,) coarse region on the other side of the body, by the parts it holds."""
    coarse = np.zeros(NUM_REGIONS + 1, np.int64)
    coarse[COARSE_OF_PART] = COARSE_OF_PART[flipped_parts()]
    return coarse


def _other_side(names: tuple[str, ...], separator: str) -> np.ndarray:
    swap = {"left": "right", "right": "left"}
    mirrored = [separator.join(swap.get(w, w) for w in name.split(separator)) for name in names]
    return np.array([names.index(name) for name in mirrored])
