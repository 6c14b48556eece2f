"""Box, mask and keypoint AP of COCO by pycocotools, the reference implementation.

Masks are scored twice where there is a mask branch: "segm" takes what the DensePose branch says
(where any part is predicted), "mask_branch" what the mask branch says. Limits are COCO's own: 100
detections an image (20 for keypoints), areas small, medium and large (no small for keypoints).
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from densepose.errors import InputError
from densepose.structures.prediction import ImagePrediction

from .ground_truth import GroundTruth, PackedPeople
from .masks import encode_labels, segmentation_runs, windows_in_image
from .pairs import PackedDetections

logger = logging.getLogger(__name__)

# Order of COCOeval.stats.
METRICS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# COCO knows how precisely its own 17 keypoints can be annotated.
NUM_KEYPOINTS = 17
_PERSON = 1  # category id inside this file
_NUM_THRESHOLDS = 10  # of COCOeval, for IoU and OKS
Entry = dict[str, Any]


class CocoScores:
    """What COCOeval found in each image; the images of several processes can be joined."""

    def __init__(self) -> None:
        # table -> image id -> COCOeval's outcome for each area range, see ``_packed``. Tables of
        # branches are there from the first prediction on that shows that the model has such a
        # branch.
        self._outcomes: dict[str, dict[int, bytes]] = {"bbox": {}, "segm": {}}

    def add(
        self,
        predictions: Sequence[ImagePrediction],
        people: PackedPeople,
        detections: PackedDetections,
    ) -> None:
        """Score I images.

        Args:
            predictions: of the images, for their masks and keypoints.
            people: of the images.
            detections: the predictions, packed.

        Raises:
            InputError: keypoints are not (N, 17, 3), or not finite.
        """
        boxes, masks = _detection_entries(people, detections)
        self._score("bbox", people, boxes)
        self._score("segm", people, masks)
        if any(prediction.masks is not None for prediction in predictions):
            self._score("mask_branch", people, _branch_masks(predictions))
        if any(prediction.keypoints_px is not None for prediction in predictions):
            self._score("keypoints", people, _branch_keypoints(predictions))

    def merge(self, other: CocoScores) -> None:
        """Add the images of another process."""
        for table, outcomes in other._outcomes.items():
            self._outcomes.setdefault(table, {}).update(outcomes)

    def tables(self, truth: GroundTruth) -> dict[str, dict[str, float]]:
        """Tables "bbox", "segm", and "mask_branch" and "keypoints" where there are such branches.

        The people of images that were not added count as missed.

        Returns:
            Table -> name -> percent; NaN without people to find.
        """
        everybody = truth.people(truth.image_ids)
        without = sum(not record.get("segmentation") for record in everybody.records)
        if without:
            logger.warning(
                "%s: %d of %d people have no segmentation; mask AP skips them",
                truth.source,
                without,
                len(everybody),
            )
        for table, outcomes in self._outcomes.items():
            missing = [image_id for image_id in truth.image_ids if image_id not in outcomes]
            self._score(table, truth.people(missing), [])
        return {table: self._table(table, truth.image_ids) for table in self._outcomes}

    def _score(self, table: str, people: PackedPeople, found: list[Entry]) -> None:
        kind = _kind_of_table(table)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            run = COCOeval(
                _index(people, _people_entries(people, kind)), _index(people, found), kind
            )
            run.evaluate()
        outcomes = self._outcomes.setdefault(table, {})
        num_images = len(people.image_ids)
        for place, image_id in enumerate(run.params.imgIds):
            outcomes[int(image_id)] = _packed(run.evalImgs[place::num_images])

    def _table(self, table: str, image_ids: Sequence[int]) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(iouType=_kind_of_table(table))
            run.params.catIds, run.params.imgIds = [_PERSON], list(image_ids)
            run._paramsEval = copy.deepcopy(run.params)
            run.evalImgs = _Unpacked([self._outcomes[table][image_id] for image_id in image_ids])
            run.accumulate()
            run.summarize()
        stats = np.where(run.stats < 0, np.nan, run.stats * 100)
        names = KEYPOINT_METRICS if table == "keypoints" else METRICS
        return dict(zip(names, stats.tolist(), strict=True))


def _kind_of_table(table: str) -> str:
    return "segm" if table == "mask_branch" else table


def _packed(outcomes: Sequence[Entry | None]) -> bytes:
    """What COCOeval.accumulate reads of the outcomes of one image, one for each area range.

    Dictionaries of arrays would take some 9 KB a person, this takes about 250 bytes.
    """
    if outcomes[0] is None:  # no detections and nobody to find
        return b""
    scores = np.array(outcomes[0]["dtScores"], np.float64)
    flags = [
        np.ravel(outcome[key]).astype(bool)
        for outcome in outcomes
        for key in ("dtMatches", "dtIgnore", "gtIgnore")
    ]
    counts = np.array([len(scores), len(outcomes[0]["gtIgnore"])], np.int32)
    return counts.tobytes() + scores.tobytes() + np.packbits(np.concatenate(flags)).tobytes()


def _of_area(packed: bytes, area: int) -> Entry | None:
    """The outcome that was packed, for one of the area ranges."""
    if not packed:
        return None
    num_detections, num_people = np.frombuffer(packed, np.int32, 2).tolist()
    scores = np.frombuffer(packed, np.float64, num_detections, offset=8)
    flags = np.unpackbits(np.frombuffer(packed, np.uint8, offset=8 + scores.nbytes)).view(bool)
    of_detections = _NUM_THRESHOLDS * num_detections
    flags = flags[area * (2 * of_detections + num_people) :]
    return {
        "dtScores": scores,
        "dtMatches": flags[:of_detections].reshape(_NUM_THRESHOLDS, -1),
        "dtIgnore": flags[of_detections : 2 * of_detections].reshape(_NUM_THRESHOLDS, -1),
        "gtIgnore": flags[2 * of_detections : 2 * of_detections + num_people],
    }


class _Unpacked:
    """COCOeval's list of outcomes, area range by area range, unpacked where it is read."""

    def __init__(self, packed: Sequence[bytes]) -> None:
        self._packed = packed
        self._area, self._outcomes = -1, []

    def __getitem__(self, index: int) -> Entry | None:
        area, image = divmod(index, len(self._packed))
        if area != self._area:
            self._area, self._outcomes = area, [_of_area(one, area) for one in self._packed]
        return self._outcomes[image]


def _index(people: PackedPeople, entries: list[Entry]) -> COCO:
    index = COCO()
    images = [
        {"id": image_id, "height": height, "width": width}
        for image_id, (height, width) in zip(
            people.image_ids, people.image_sizes.tolist(), strict=True
        )
    ]
    # COCOeval takes id 0 for "no match", and ids for unique.
    numbered = [{**e, "id": n, "category_id": _PERSON} for n, e in enumerate(entries, start=1)]
    categories = [{"id": _PERSON, "name": "person"}]
    index.dataset = {"images": images, "annotations": numbered, "categories": categories}
    index.createIndex()
    return index


def _people_entries(people: PackedPeople, kind: str) -> list[Entry]:
    """The annotations that a kind of AP looks for."""
    entries = []
    for g, record in enumerate(people.records):
        image = people.image[g]
        entry = {
            "image_id": people.image_ids[image],
            "bbox": people.boxes_xywh_px[g].tolist(),
            "area": float(people.areas_px[g]),
            "iscrowd": int(people.crowd[g]),
        }
        if kind == "keypoints":
            entry |= _annotated_keypoints(record)
        if kind == "segm":
            runs = segmentation_runs(record, people.image_sizes[image].tolist())
            if runs is None:
                continue
            entry["segmentation"] = runs
        entries.append(entry)
    return entries


def _annotated_keypoints(record: Mapping[str, Any]) -> Entry:
    """``keypoints`` and the number of labelled ones; COCO ignores people without any."""
    keypoints = record.get("keypoints") or [0] * (3 * NUM_KEYPOINTS)
    return {"keypoints": keypoints, "num_keypoints": sum(v > 0 for v in keypoints[2::3])}


def _detection_entries(
    people: PackedPeople, detections: PackedDetections
) -> tuple[list[Entry], list[Entry]]:
    """Boxes, and masks of the pixels where any part is predicted."""
    sizes = people.image_sizes[detections.image]
    boxes_xywh_px = detections.boxes_xywh_px
    windows = windows_in_image(boxes_xywh_px, detections.map_sizes, sizes, towards_zero=False)
    boxes, masks = [], []
    for d, label in enumerate(detections.labels):
        box = boxes_xywh_px[d].tolist()
        common = {
            "image_id": people.image_ids[detections.image[d]],
            "score": float(detections.scores[d]),
            "iscrowd": 0,
        }
        runs = encode_labels(label, windows[d], sizes[d].tolist())
        boxes.append({**common, "bbox": box, "area": box[2] * box[3]})
        masks.append({**common, "segmentation": runs, "area": float(coco_mask.area(runs))})
    return boxes, masks


def _common_entries(prediction: ImagePrediction) -> list[Entry]:
    scores = np.asarray(prediction.scores, np.float64).tolist()
    return [{"image_id": prediction.image_id, "score": s, "iscrowd": 0} for s in scores]


def _branch_masks(predictions: Sequence[ImagePrediction]) -> list[Entry]:
    return [
        {**entry, "segmentation": dict(runs), "area": float(coco_mask.area(dict(runs)))}
        for prediction in predictions
        if prediction.masks is not None
        for entry, runs in zip(_common_entries(prediction), prediction.masks, strict=True)
    ]


def _branch_keypoints(predictions: Sequence[ImagePrediction]) -> list[Entry]:
    """``keypoints``, ``bbox`` and ``area`` of each person, as COCO's."""
    entries = []
    for prediction in predictions:
        if prediction.keypoints_px is None:
            continue
        keypoints_px = np.asarray(prediction.keypoints_px, np.float64)
        if keypoints_px.shape[1:] != (NUM_KEYPOINTS, 3) or not np.isfinite(keypoints_px).all():
            raise InputError(
                f"{prediction.name}: COCO's keypoint scores need finite"
                f" keypoints of the shape (N, {NUM_KEYPOINTS}, 3), got {keypoints_px.shape}"
            )
        # COCO counts pixels: the centre of the first one is 0.
        counted = keypoints_px - (0.5, 0.5, 0.0)
        low, high = counted[..., :2].min(axis=1), counted[..., :2].max(axis=1)
        boxes = np.concatenate([low, high - low], axis=1)
        for entry, points, box in zip(_common_entries(prediction), counted, boxes, strict=True):
            entry["keypoints"] = points.ravel().tolist()
            entries.append({**entry, "bbox": box.tolist(), "area": float(box[2] * box[3])})
    return entries
