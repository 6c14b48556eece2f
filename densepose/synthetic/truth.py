"""The complete truth about one rendered image, which annotations are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densepose.structures.grids import UV_STEPS
from densepose.surface.symmetry import COARSE_OF_PART

# Annotated region (1..14, the order of dp_masks) of each part (0..24).
REGION_OF_PART = COARSE_OF_PART.astype(np.uint8)
NUM_REGIONS = 14


@dataclass(frozen=True)
class Truth:
    """Per-pixel truth, H x W, and the keypoints of the N people of an image."""

    instance: np.ndarray  # (H, W) uint8: 0 nobody, else 1 + index of the person
    part: np.ndarray  # (H, W) uint8 0..24
    uv: np.ndarray  # (H, W, 2) float32 in [0, 1]
    keypoints_px: np.ndarray  # (N, 17, 2)
    keypoint_visibility: np.ndarray  # (N, 17) COCO: 0 outside, 1 hidden, 2 visible

    @property
    def num_people(self) -> int:
        """N."""
        return len(self.keypoints_px)

    def iuv_image(self) -> np.ndarray:
        """(H, W, 3) uint8: part, U * 255, V * 255 rounded to the nearest step."""
        image = np.zeros((*self.part.shape, 3), np.uint8)
        body = self.part > 0
        image[body, 0] = self.part[body]
        image[body, 1:] = np.rint(self.uv[body] * UV_STEPS)
        return image
