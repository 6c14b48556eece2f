"""The detections of one image in the form the scores need them: checked, best score first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densepose.structures.prediction import ImagePrediction

from .foreground import MaskCrop, place_in_image
from .gps import NUM_PARTS


@dataclass(frozen=True)
class ImageDetections:
    """D detections of one image, scores descending."""

    boxes_xywh_px: np.ndarray  # (D, 4) float64
    scores: np.ndarray  # (D,) float64
    labels: tuple[np.ndarray, ...]  # D label maps (h, w) uint8
    uv: tuple[np.ndarray, ...]  # D uv maps (2, h, w) uint8

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_prediction(
        cls, prediction: ImagePrediction, image_size: tuple[int, int]
    ) -> ImageDetections:
        """Check a prediction and sort it; equal scores keep their order.

        Width and height of a box are differences in float32, as networks put boxes out; the maps
        must have that size in whole pixels, at least 1 x 1.

        Raises:
            ValueError: another image size, values that are not finite, maps of another size than
                their box, or a label above 24.
        """
        name = f"prediction of image {prediction.image_id}"
        if tuple(prediction.image_size) != tuple(image_size):
            raise ValueError(
                f"{name}: made for an image of {tuple(prediction.image_size)} px (height, width),"
                f" the annotation file says {tuple(image_size)}"
            )
        corners = np.asarray(prediction.boxes_xyxy_px, np.float32).reshape(-1, 4)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        boxes = boxes.astype(np.float64)
        scores = np.asarray(prediction.scores, np.float64)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError(f"{name}: a box or a score is not a finite number")
        sizes = np.maximum(boxes[:, 3:1:-1].astype(np.int64), 1)
        for index, (label, uv, size) in enumerate(
            zip(prediction.labels, prediction.uv, sizes.tolist(), strict=True)
        ):
            if list(label.shape) != size or list(uv.shape) != [2, *size]:
                raise ValueError(
                    f"{name}, person {index}: box {prediction.boxes_xyxy_px[index].tolist()} asks"
                    f" for maps of {size} px, got labels {label.shape} and uv {uv.shape}"
                )
            if label.max() > NUM_PARTS:
                raise ValueError(f"{name}, person {index}: label {label.max()}; parts are 0 to 24")
        everything = cls(boxes, scores, tuple(prediction.labels), tuple(prediction.uv))
        return everything._take(np.argsort(-scores, kind="stable"))

    def keep(self, where: np.ndarray) -> ImageDetections:
        """Those selected by a mask (D,)."""
        return self._take(np.flatnonzero(where))

    def best(self, count: int) -> ImageDetections:
        """The first ``count``."""
        return self._take(np.arange(min(count, len(self))))

    def crops(self, image_size: tuple[int, int], *, towards_zero: bool) -> list[MaskCrop]:
        """Foreground masks (any part) in the image; ``towards_zero`` as in ``place_in_image``."""
        return [
            place_in_image(label > 0, box, image_size, towards_zero=towards_zero)
            for label, box in zip(self.labels, self.boxes_xywh_px, strict=True)
        ]

    def _take(self, index: np.ndarray) -> ImageDetections:
        return ImageDetections(
            self.boxes_xywh_px[index],
            self.scores[index],
            tuple(self.labels[i] for i in index),
            tuple(self.uv[i] for i in index),
        )
