"""The people found in one image, as plain NumPy arrays, to be written, evaluated and drawn.

Needs NumPy alone. Shapes: N people; person i covers a box of h_i x w_i whole pixels; K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

_OF_PEOPLE = ("boxes_xyxy_px", "scores", "labels", "uv", "masks", "keypoints_px", "confidence")
Prediction = TypeVar("Prediction", bound="ImagePrediction")


@dataclass(frozen=True)
class ImagePrediction:
    """Boxes, scores and IUV of the people of one image, best score first.

    The IUV array of person i starts at pixel (floor(x0), floor(y0)) of its box and has
    h_i = max(1, floor(y1 - y0)) rows and w_i = max(1, floor(x1 - x0)) columns.
    """

    image_id: int
    image_size: tuple[int, int]  # height, width in px
    boxes_xyxy_px: np.ndarray  # (N, 4) float32
    scores: np.ndarray  # (N,) float32
    labels: tuple[np.ndarray, ...]  # N arrays (h_i, w_i) uint8, 0 background, 1..24 parts
    uv: tuple[np.ndarray, ...]  # N arrays (2, h_i, w_i) uint8, steps of 1 / 255; 0 where background
    # N run-length masks of the whole image as pycocotools has them, {"size": [height, width],
    # "counts": bytes}; None without a mask branch
    masks: tuple[Mapping[str, Any], ...] | None = None
    # (N, K, 3) float32: x, y in px (pixel centres at half numbers) and score; None without a
    # keypoint branch
    keypoints_px: np.ndarray | None = None
    # N arrays (h_i, w_i) uint8: probability of the part of each pixel in steps of 1 / 255, 0 where
    # background; None unless it was asked for. Files of predictions do not hold it.
    confidence: tuple[np.ndarray, ...] | None = None
    # Name of the photo, where ``image_id`` is only a number that was given to it; else empty
    file_name: str = ""

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy_px)
        if not len(self.scores) == len(self.labels) == len(self.uv) == count:
            raise ValueError(
                f"image {self.image_id}: {count} boxes, {len(self.scores)} scores,"
                f" {len(self.labels)} label maps and {len(self.uv)} uv maps;"
                " every person needs one of each"
            )
        for name, branch in (
            ("masks", self.masks),
            ("keypoints_px", self.keypoints_px),
            ("confidence", self.confidence),
        ):
            if branch is not None and len(branch) != count:
                raise ValueError(
                    f"image {self.image_id}: {count} boxes but {len(branch)} entries in {name};"
                    " every person needs one"
                )

    def select(self: Prediction, index: Sequence[int] | np.ndarray) -> Prediction:
        """The people of some indices, in that order."""
        index = np.asarray(index, np.int64)

        def chosen(values: Any) -> Any:
            if isinstance(values, tuple):
                return tuple(values[i] for i in index)
            return None if values is None else values[index]

        return replace(self, **{name: chosen(getattr(self, name)) for name in _OF_PEOPLE})
