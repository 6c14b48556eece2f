"""The people found in one image, as plain NumPy arrays, to be written, evaluated and drawn.

Needs NumPy alone. Shapes: N people; person i covers a box of h_i x w_i whole pixels; K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from densepose.errors import InputError

from .body_parts import NUM_PARTS

# Larger maps are mistakes, or meant to fill the memory from a small file.
MOST_MAP_PIXELS = 2**28  # of all people of an image together
_LARGEST_MAP = 2  # sides of the image
_FARTHEST_PX = 1e9
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
    # Where it was read, for messages; empty if a model has made it
    source: str = ""

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

    @property
    def name(self) -> str:
        """What a message calls it."""
        where = f"{self.source}: " if self.source else ""
        return f"{where}prediction of image {self.image_id}"

    def select(self: Prediction, index: Sequence[int] | np.ndarray) -> Prediction:
        """The people of some indices, in that order."""
        index = np.asarray(index, np.int64)

        def chosen(values: Any) -> Any:
            if isinstance(values, tuple):
                return tuple(values[i] for i in index)
            return None if values is None else values[index]

        return replace(self, **{name: chosen(getattr(self, name)) for name in _OF_PEOPLE})


def check_map_sizes(sizes: np.ndarray, image_size: Sequence[int], name: str) -> None:
    """Refuse maps that are empty or too large, before they take memory.

    Args:
        sizes: (N, 2) int64 rows and columns.
        image_size: height and width in px.
        name: of what has them, for the message.

    Raises:
        InputError: see above.
    """
    most = _LARGEST_MAP * np.array(image_size)
    wrong = ((sizes < 1) | (sizes > most)).any(axis=1)
    if wrong.any():
        raise InputError(
            f"{name}, person {int(wrong.argmax())}: a map of {sizes[wrong.argmax()].tolist()} px"
            f" (height, width); expected 1 to {most.tolist()}, {_LARGEST_MAP} times the image"
        )
    if (total := int(sizes.prod(axis=1).sum())) > MOST_MAP_PIXELS:
        raise InputError(f"{name}: maps of {total:,} px; at most {MOST_MAP_PIXELS:,} are read")


def check_prediction(prediction: ImagePrediction) -> None:
    """Refuse values that nothing can be computed of.

    Width and height of a box are differences in float32, as networks put boxes out. The maps must
    have that size in whole pixels, at least 1 x 1.

    Raises:
        InputError: values that are not finite, maps of another size than their box, or a label
            above 24.
    """
    name = prediction.name
    corners = np.asarray(prediction.boxes_xyxy_px, np.float32).reshape(-1, 4)
    finite = (np.abs(corners) <= _FARTHEST_PX).all(axis=1) & np.isfinite(prediction.scores)
    if not finite.all():
        worst = int(finite.argmin())
        raise InputError(
            f"{name}, person {worst}: box {corners[worst].tolist()}, score"
            f" {prediction.scores[worst]}: a box or a score is not a finite number"
        )
    sizes = corners[:, :1:-1] - corners[:, 1::-1]
    wanted = np.maximum(sizes, 1).astype(np.int64).tolist()
    for index, (label, uv, size) in enumerate(
        zip(prediction.labels, prediction.uv, wanted, strict=True)
    ):
        if list(label.shape) != size or list(uv.shape) != [2, *size]:
            raise InputError(
                f"{name}, person {index}: box {corners[index].tolist()} (x0, y0, x1, y1) asks for"
                f" maps of {size} px, got labels {label.shape} and uv {uv.shape}"
            )
        # NumPy's maximum is faster than packing the maps first.
        if (highest := label.max()) > NUM_PARTS:
            raise InputError(f"{name}, person {index}: label {highest}; parts are 0 to {NUM_PARTS}")
