"""The outputs of mask and keypoint branches as arrays of a prediction file.

Shapes: N people, K keypoints, M bytes of all run-length masks together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from densepose.structures.prediction import ImagePrediction


def branch_arrays(prediction: ImagePrediction) -> dict[str, np.ndarray]:
    """mask_counts, mask_lengths and keypoints_px, those of them that the prediction has.

    Raises:
        ValueError: a mask is not of the image's size, or keypoints are not (N, K, 3).
    """
    arrays = {}
    name = f"image {prediction.image_id}"
    if prediction.masks is not None:
        size = list(prediction.image_size)
        wrong = [mask["size"] for mask in prediction.masks if list(mask["size"]) != size]
        if wrong:
            raise ValueError(f"{name}: masks must be {size} px as the image, got {wrong[0]}")
        counts = [mask["counts"] for mask in prediction.masks]
        arrays["mask_counts"] = np.frombuffer(b"".join(counts), np.uint8)
        arrays["mask_lengths"] = np.array([len(each) for each in counts], np.int64)
    if prediction.keypoints_px is not None:
        keypoints = np.asarray(prediction.keypoints_px, np.float32)
        if keypoints.ndim != 3 or keypoints.shape[2] != 3:
            raise ValueError(f"{name}: keypoints must be (N, K, 3), got {keypoints.shape}")
        arrays["keypoints_px"] = keypoints
    return arrays


def branch_outputs(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, Any]:
    """``masks`` and ``keypoints_px`` of an ImagePrediction from the arrays of a file.

    Raises:
        ValueError: the arrays do not fit together.
    """
    outputs: dict[str, Any] = {}
    if "mask_lengths" in arrays:
        lengths, counts = arrays["mask_lengths"], arrays["mask_counts"].tobytes()
        if lengths.sum() != len(counts):
            raise ValueError(
                f"{source}: the masks should have {lengths.sum()} bytes, there are {len(counts)}"
            )
        size = [int(side) for side in arrays["image_size"]]
        ends = np.cumsum(lengths).tolist()
        starts = [0, *ends[:-1]]
        outputs["masks"] = tuple(
            {"size": size, "counts": counts[start:end]}
            for start, end in zip(starts, ends, strict=False)
        )
    if "keypoints_px" in arrays:
        outputs["keypoints_px"] = arrays["keypoints_px"]
    return outputs
