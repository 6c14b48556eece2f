"""Box, mask and keypoint AP of COCO by pycocotools, the reference implementation.

Masks are scored twice where there is a mask branch: "segm" takes what the DensePose branch says
(where any part is predicted), "mask_branch" what the mask branch says. Limits are COCO's own: 100
detections an image (20 for keypoints), areas small, medium and large (no small for keypoints).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densepose.structures.prediction import ImagePrediction

from . import run_kernels
from .detections import PackedDetections
from .foreground import crops_in_image
from .ground_truth import GroundTruth

logger = logging.getLogger(__name__)

# Order of COCOeval.stats.
METRICS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# COCO knows how precisely its own 17 keypoints can be annotated.
NUM_KEYPOINTS = 17


class DetectionCollector:
    """Gathers boxes, masks and keypoints image by image; masks are kept run-length encoded."""

    def __init__(self) -> None:
        self._boxes: list[dict[str, Any]] = []
        self._masks: list[dict[str, Any]] = []
        # None until a prediction shows that the model has such a branch.
        self._branch_masks: list[dict[str, Any]] | None = None
        self._keypoints: list[dict[str, Any]] | None = None

    def add(
        self,
        image_ids: Sequence[int],
        image_sizes: Sequence[tuple[int, int]],
        detections: PackedDetections,
    ) -> None:
        """Add the detections of I images with their ids, heights and widths in px."""
        sizes = np.array(image_sizes, np.int64).reshape(-1, 2)[detections.image]
        boxes_xywh_px = detections.boxes_xywh_px
        crops = crops_in_image(boxes_xywh_px, detections.map_sizes, sizes, towards_zero=False)
        columns = (detections.image, boxes_xywh_px, detections.scores, sizes)
        for label, crop, image, box, score, size in zip(
            detections.labels, crops, *(column.tolist() for column in columns), strict=True
        ):
            common = {"image_id": image_ids[image], "score": score, "iscrowd": 0}
            runs, area = encode_crop(label, crop, size)
            self._boxes.append({**common, "bbox": box, "area": box[2] * box[3]})
            self._masks.append({**common, "segmentation": runs, "area": area})

    def add_branches(self, prediction: ImagePrediction) -> None:
        """Add what the mask and the keypoint branch say about one image, if there are any.

        Raises:
            ValueError: keypoints are not (N, 17, 3), or not finite.
        """
        name = f"prediction of image {prediction.image_id}"
        scores = np.asarray(prediction.scores, np.float64).tolist()
        common = [{"image_id": prediction.image_id, "score": s, "iscrowd": 0} for s in scores]
        if prediction.masks is not None:
            areas = [float(area) for area in coco_mask.area(list(prediction.masks))]
            self._branch_masks = self._branch_masks or []
            self._branch_masks += [
                {**entry, "segmentation": dict(mask), "area": area}
                for entry, mask, area in zip(common, prediction.masks, areas, strict=True)
            ]
        if prediction.keypoints_px is not None:
            self._keypoints = self._keypoints or []
            fields = _keypoint_fields(np.asarray(prediction.keypoints_px, np.float64), name)
            self._keypoints += [
                {**entry, **more} for entry, more in zip(common, fields, strict=True)
            ]

    def scores(self, truth: GroundTruth) -> dict[str, dict[str, float]]:
        """Tables "bbox", "segm", and "mask_branch" and "keypoints" where there are such branches.

        Returns:
            Table -> name -> percent; NaN where there is nobody to find.
        """
        people = _people(truth)
        drawn = [person for person in people if person["segmentation"]]
        if len(drawn) < len(people):
            logger.warning(
                "%s: %d of %d people have no segmentation; mask AP leaves them out",
                truth.source,
                len(people) - len(drawn),
                len(people),
            )
        tables = {
            "bbox": _coco_scores(truth, people, self._boxes, "bbox"),
            "segm": _coco_scores(truth, drawn, self._masks, "segm"),
        }
        if self._branch_masks is not None:
            tables["mask_branch"] = _coco_scores(truth, drawn, self._branch_masks, "segm")
        if self._keypoints is not None:
            tables["keypoints"] = _coco_scores(truth, people, self._keypoints, "keypoints")
        return tables


def encode_crop(
    labels: np.ndarray, crop: np.ndarray, image_size: Sequence[int]
) -> tuple[dict[str, Any], float]:
    """Foreground of a label map as a run-length encoded mask of the whole image, and its area.

    Args:
        labels: (h, w) uint8.
        crop: (6,) where it lies, see ``crops_in_image``.
        image_size: height, width in px.
    """
    height, width = image_size
    counts, area = run_kernels.encode_runs(np.ascontiguousarray(labels), crop, height, width)
    return {"size": [height, width], "counts": counts.tobytes()}, float(area)


def _people(truth: GroundTruth) -> list[dict[str, Any]]:
    """Annotations with ids of their own: COCOeval takes id 0 for "no match" and ids for unique."""
    people = []
    for image_id in truth.image_ids:
        for record in truth.records(image_id):
            people.append(
                {
                    "image_id": image_id,
                    "bbox": record["bbox"],
                    "area": record["area"],
                    "iscrowd": int(record.get("iscrowd", 0)),
                    "segmentation": record.get("segmentation"),
                    **_annotated_keypoints(
                        record, f"{truth.source}: annotation {record.get('id')}"
                    ),
                }
            )
    return people


def _annotated_keypoints(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``keypoints`` and the number of labelled ones; COCO ignores people without any."""
    keypoints = record.get("keypoints") or [0] * (3 * NUM_KEYPOINTS)
    if len(keypoints) != 3 * NUM_KEYPOINTS:
        raise ValueError(
            f"{name}: keypoints must be {NUM_KEYPOINTS} times x, y, visibility, got"
            f" {len(keypoints)} values"
        )
    return {"keypoints": keypoints, "num_keypoints": sum(v > 0 for v in keypoints[2::3])}


def _keypoint_fields(keypoints_px: np.ndarray, name: str) -> list[dict[str, Any]]:
    """(N, 17, 3) keypoints -> ``keypoints``, ``bbox`` and ``area`` of each person, as COCO's."""
    if keypoints_px.shape[1:] != (NUM_KEYPOINTS, 3) or not np.isfinite(keypoints_px).all():
        raise ValueError(
            f"{name}: COCO's keypoint scores need finite keypoints of the shape"
            f" (N, {NUM_KEYPOINTS}, 3), got {keypoints_px.shape}"
        )
    # COCO counts pixels: the centre of the first one is 0.
    counted = keypoints_px - (0.5, 0.5, 0.0)
    low, high = counted[..., :2].min(axis=1), counted[..., :2].max(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)
    return [
        {"keypoints": of_one, "bbox": box, "area": area}
        for of_one, box, area in zip(
            counted.reshape(len(counted), 3 * NUM_KEYPOINTS).tolist(),
            boxes.tolist(),
            boxes[:, 2:].prod(axis=1).tolist(),
            strict=True,
        )
    ]


def _coco_scores(
    truth: GroundTruth,
    people: list[dict[str, Any]],
    detections: list[dict[str, Any]],
    kind: str,
) -> dict[str, float]:
    metrics = KEYPOINT_METRICS if kind == "keypoints" else METRICS
    if not truth.image_ids or not people:
        return dict.fromkeys(metrics, float("nan"))
    # pycocotools prints its progress and its table.
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(_index(truth, people), _index(truth, detections), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = np.where(run.stats < 0, np.nan, run.stats * 100)
    return dict(zip(metrics, stats.tolist(), strict=True))


def _index(truth: GroundTruth, records: list[Mapping[str, Any]]) -> COCO:
    index = COCO()
    images = [
        {"id": image_id, "height": size[0], "width": size[1]}
        for image_id, size in ((i, truth.image_size(i)) for i in truth.image_ids)
    ]
    numbered = [
        {**record, "id": number, "category_id": truth.category_id}
        for number, record in enumerate(records, start=1)
    ]
    categories = [{"id": truth.category_id, "name": "person"}]
    index.dataset = {"images": images, "annotations": numbered, "categories": categories}
    index.createIndex()
    return index
