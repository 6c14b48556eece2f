"""Box and mask AP of COCO by pycocotools, the reference implementation.

The mask of a person is where any part is predicted. Limits are COCO's own: 100 detections an image,
areas small, medium and large.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .foreground import MaskCrop
from .ground_truth import GroundTruth

logger = logging.getLogger(__name__)

# Order of COCOeval.stats.
METRICS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)


class DetectionCollector:
    """Gathers boxes and masks image by image; masks are kept run-length encoded."""

    def __init__(self) -> None:
        self._boxes: list[dict[str, Any]] = []
        self._masks: list[dict[str, Any]] = []

    def add(
        self,
        image_id: int,
        image_size: tuple[int, int],
        boxes_xywh_px: np.ndarray,
        scores: np.ndarray,
        crops: list[MaskCrop],
    ) -> None:
        """Add the detections of one image: (D, 4) boxes, (D,) scores and D masks."""
        for box, score, crop in zip(boxes_xywh_px.tolist(), scores.tolist(), crops, strict=True):
            common = {"image_id": image_id, "score": score, "iscrowd": 0}
            runs = encode_crop(crop, image_size)
            self._boxes.append({**common, "bbox": box, "area": box[2] * box[3]})
            area = float(crop.area)
            self._masks.append({**common, "segmentation": runs, "area": area})

    def scores(self, truth: GroundTruth) -> dict[str, dict[str, float]]:
        """Tables "bbox" and "segm": name -> percent; NaN where there is nobody to find."""
        people = _people(truth)
        drawn = [person for person in people if person["segmentation"]]
        if len(drawn) < len(people):
            logger.warning(
                "%s: %d of %d people have no segmentation; mask AP leaves them out",
                truth.source,
                len(people) - len(drawn),
                len(people),
            )
        return {
            "bbox": _coco_scores(truth, people, self._boxes, "bbox"),
            "segm": _coco_scores(truth, drawn, self._masks, "segm"),
        }


def encode_crop(crop: MaskCrop, image_size: tuple[int, int]) -> dict[str, Any]:
    """A crop as a run-length encoded mask of the whole image (height, width in px)."""
    height, width = crop.pixels.shape
    whole = np.zeros(image_size, np.uint8, order="F")
    whole[crop.top : crop.top + height, crop.left : crop.left + width] = crop.pixels
    return coco_mask.encode(whole)


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
                }
            )
    return people


def _coco_scores(
    truth: GroundTruth,
    people: list[dict[str, Any]],
    detections: list[dict[str, Any]],
    kind: str,
) -> dict[str, float]:
    if not truth.image_ids or not people:
        return dict.fromkeys(METRICS, float("nan"))
    # pycocotools prints its progress and its table.
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(_index(truth, people), _index(truth, detections), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = np.where(run.stats < 0, np.nan, run.stats * 100)
    return dict(zip(METRICS, stats.tolist(), strict=True))


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
