"""The detections of several images in the form the scores need them: checked, best score first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from densepose.structures.body_parts import NUM_PARTS
from densepose.structures.prediction import ImagePrediction


@dataclass(frozen=True)
class PackedDetections:
    """D detections of several images, image after image, scores descending in each."""

    image: np.ndarray  # (D,) int64 index of the image, ascending
    boxes_xywh_px: np.ndarray  # (D, 4) float64
    scores: np.ndarray  # (D,) float64
    labels: tuple[np.ndarray, ...]  # D label maps (h, w) uint8
    uv: tuple[np.ndarray, ...]  # D uv maps (2, h, w) uint8

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def map_sizes(self) -> np.ndarray:
        """(D, 2) int64: rows and columns of each map."""
        return np.array([label.shape for label in self.labels], np.int64).reshape(-1, 2)

    def keep(self, where: np.ndarray) -> PackedDetections:
        """Those selected by a mask (D,)."""
        return self._take(np.flatnonzero(where))

    def best(self, count: int) -> PackedDetections:
        """The first ``count`` of each image."""
        first = np.searchsorted(self.image, self.image)
        return self.keep(np.arange(len(self)) - first < count)

    def _take(self, index: np.ndarray) -> PackedDetections:
        if len(index) == len(self) and (index == np.arange(len(self))).all():
            return self
        return PackedDetections(
            self.image[index],
            self.boxes_xywh_px[index],
            self.scores[index],
            tuple(self.labels[i] for i in index.tolist()),
            tuple(self.uv[i] for i in index.tolist()),
        )


def pack_detections(
    predictions: Sequence[ImagePrediction], image_sizes: Sequence[tuple[int, int]]
) -> PackedDetections:
    """Check predictions and sort them; equal scores keep their order.

    Width and height of a box are differences in float32, as networks put boxes out; the maps must
    have that size in whole pixels, at least 1 x 1.

    Args:
        predictions: of I images.
        image_sizes: I heights and widths in px, as the annotation file has them.

    Raises:
        ValueError: another image size, values that are not finite, maps of another size than their
            box, or a label above 24.
    """
    for prediction, size in zip(predictions, image_sizes, strict=True):
        if tuple(prediction.image_size) != tuple(size):
            raise ValueError(
                f"{_name(prediction)}: made for an image of {tuple(prediction.image_size)} px"
                f" (height, width), the annotation file says {tuple(size)}"
            )
    image = np.repeat(np.arange(len(predictions)), [len(p.scores) for p in predictions])
    none = np.zeros(0, np.float32)
    corners = [np.asarray(p.boxes_xyxy_px, np.float32).reshape(-1, 4) for p in predictions]
    corners = np.concatenate([*corners, none.reshape(0, 4)])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    everything = PackedDetections(
        image,
        boxes.astype(np.float64),
        np.concatenate([*(p.scores for p in predictions), none]).astype(np.float64),
        tuple(chain.from_iterable(p.labels for p in predictions)),
        tuple(chain.from_iterable(p.uv for p in predictions)),
    )
    _check(everything, predictions)
    return everything._take(np.lexsort((-everything.scores, image)))


def _name(prediction: ImagePrediction) -> str:
    return f"prediction of image {prediction.image_id}"


def _check(found: PackedDetections, predictions: Sequence[ImagePrediction]) -> None:
    finite = np.isfinite(found.boxes_xywh_px).all(axis=1) & np.isfinite(found.scores)
    if not finite.all():
        name = _name(predictions[found.image[~finite][0]])
        raise ValueError(f"{name}: a box or a score is not a finite number")
    sizes = np.maximum(found.boxes_xywh_px[:, 3:1:-1].astype(np.int64), 1).tolist()
    for index, (label, uv, size) in enumerate(zip(found.labels, found.uv, sizes, strict=True)):
        if list(label.shape) != size or list(uv.shape) != [2, *size]:
            box = found.boxes_xywh_px[index].tolist()
            raise ValueError(
                f"{_name_of_person(found, predictions, index)}: box {box} (x, y, width, height)"
                f" asks for maps of {size} px, got labels {label.shape} and uv {uv.shape}"
            )
    # A loop over maps, not pixels: NumPy's maximum is faster than packing them first.
    highest = np.array([label.max() for label in found.labels] or [0])
    if (highest > NUM_PARTS).any():
        index = int(highest.argmax())
        name = _name_of_person(found, predictions, index)
        raise ValueError(f"{name}: label {highest[index]}; parts are 0 to 24")


def _name_of_person(
    found: PackedDetections, predictions: Sequence[ImagePrediction], index: int
) -> str:
    image = int(found.image[index])
    person = index - int(np.searchsorted(found.image, image))
    return f"{_name(predictions[image])}, person {person}"
