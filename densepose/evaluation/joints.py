"""How well predicted parts agree with COCO keypoints, for people without DensePose annotations.

A visible joint can lie on a few parts only: a left elbow on those of the left upper and lower arm.
Shapes: K = 17 keypoints of COCO, G annotated people of an image, N found ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from densepose.errors import InputError
from densepose.files import markdown_table
from densepose.structures.body_parts import (
    KEYPOINT_NAMES,
    NUM_PARTS,
    PART_NAMES,
    flipped_keypoints,
)
from densepose.structures.prediction import ImagePrediction

from .evaluate import Predictions, ScoringRules, opened_predictions, opened_truth
from .ground_truth import GroundTruth
from .masks import segmentation_runs

VISIBLE = 2  # COCO's flag of a keypoint that can be seen
_MATCH_IOU = 0.5
# Words of the names of the parts that a joint can lie on; arms and legs on the joint's side.
_PLACES = {
    "nose": ("head",),
    "eye": ("head",),
    "ear": ("head",),
    "shoulder": ("torso", "upper arm"),
    "elbow": ("upper arm", "lower arm"),
    "wrist": ("lower arm", "hand"),
    "hip": ("torso", "upper leg"),
    "knee": ("upper leg", "lower leg"),
    "ankle": ("lower leg", "foot"),
}


def parts_of_joints() -> np.ndarray:
    """(K, 25) bool: the parts on which a joint can lie; never the background."""
    allowed = np.zeros((len(KEYPOINT_NAMES), NUM_PARTS + 1), bool)
    for joint, name in enumerate(KEYPOINT_NAMES):
        side, _, what = name.rpartition("_")
        for part, part_name in enumerate(PART_NAMES):
            # Left and right meet in the middle of the face: either half of the head will do.
            on_side = part_name.startswith(("torso", side)) or what in ("nose", "eye")
            allowed[joint, part] = on_side and any(word in part_name for word in _PLACES[what])
    return allowed


@dataclass(frozen=True)
class JointAgreement:
    """Counts of visible joints, (K,) int64 each, and overlaps of masks."""

    visible: np.ndarray  # all
    found: np.ndarray  # of people that were found
    on_body: np.ndarray  # where a part was predicted
    right: np.ndarray  # where it is one the joint can lie on
    other_side: np.ndarray  # where it is so for the same joint of the other side alone
    num_people: int
    num_found: int
    num_false: int  # found people that lie on no annotated one
    num_images: int
    mask_iou: (
        np.ndarray
    )  # of each annotated mask with the person found for it; 0 where there is none

    def to_dict(self) -> dict[str, Any]:
        """Fractions of the visible joints; mean mask IoU, None without masks."""
        names = ("found", "on_body", "right", "other_side")
        joints = {
            name: {"visible": int(self.visible[k])}
            | {key: _ratio(getattr(self, key)[k], self.visible[k]) for key in names}
            for k, name in enumerate(KEYPOINT_NAMES)
        }
        every = {key: _ratio(getattr(self, key).sum(), self.visible.sum()) for key in names}
        return {
            "joints": joints,
            "all": {"visible": int(self.visible.sum())} | every,
            "people": self.num_people,
            "people_found": self.num_found,
            "false_people": self.num_false,
            "images": self.num_images,
            "masks": len(self.mask_iou),
            "mask_iou": float(self.mask_iou.mean()) if len(self.mask_iou) else None,
        }

    def to_table(self) -> str:
        """A line for each joint, and one for all."""
        scores = self.to_dict()
        rows = []
        for name, row in {**scores["joints"], "all": scores["all"]}.items():
            values = ["-" if v is None else f"{v:.3f}" for v in list(row.values())[1:]]
            rows.append([name, str(row["visible"]), *values])
        head = ["joint", "visible", "person found", "on a part", "on a right part", "other side"]
        images = "1 image" if self.num_images == 1 else f"{self.num_images} images"
        end = f"{self.num_found} of {self.num_people} people with visible joints found"
        end += f"; {self.num_false} false people in {images}"
        if scores["mask_iou"] is not None:
            end += f"; mean IoU of {scores['masks']} masks {scores['mask_iou']:.3f}"
        return f"{markdown_table(head, rows)}\n\n{end}"


def joint_agreement(
    annotations: str | os.PathLike[str] | Mapping[str, Any],
    predictions: Predictions,
    *,
    min_score: float = 0.5,
    on_progress: Callable[[int, int], None] = lambda done, images: None,
) -> JointAgreement:
    """Compare predicted parts with annotated keypoints, and foregrounds with annotated masks.

    Each annotated person gets at most one of the found ones, by the largest sum of box IoUs of at
    least 0.5. Crowds and people without a visible joint are no people here. An image without
    prediction counts, with no instance found. A found person is false when less than half of its
    box lies in the box of any annotated person or crowd.

    Args:
        annotations: path or content of a keypoint file of COCO.
        predictions: see ``evaluate_densepose``.
        min_score: found people below are skipped.
        on_progress: is called with how many more images are compared, and how many there are.

    Raises:
        InputError: a file is missing or damaged, or a prediction is of no image of the file, of one
            that was predicted before, or of another size.
    """
    truth = opened_truth(annotations, ScoringRules())
    images = truth.image_ids
    by_image = {image_id: _with_joints(truth.records(image_id)) for image_id in images}
    counts, overlaps = np.zeros((5, len(KEYPOINT_NAMES)), np.int64), []
    num_found = num_false = 0
    empty = {"boxes_xyxy_px": np.zeros((0, 4)), "scores": np.zeros(0), "labels": (), "uv": ()}
    left = dict(by_image)
    for prediction in opened_predictions(predictions, truth):
        _check_image(prediction, truth, left)
        people = left.pop(prediction.image_id)
        chosen = prediction.select(np.flatnonzero(prediction.scores >= min_score))
        more, iou, found = _of_image(people, chosen)
        counts, num_found, overlaps = counts + more, num_found + found, [*overlaps, iou]
        num_false += _num_false(truth.records(prediction.image_id), chosen)
        on_progress(1, len(images))
    for image_id, people in left.items():
        empty_prediction = ImagePrediction(
            image_id=image_id, image_size=truth.image_size(image_id), **empty
        )
        more, iou, _ = _of_image(people, empty_prediction)
        counts, overlaps = counts + more, [*overlaps, iou]
    on_progress(len(left), len(images))
    num_people = sum(map(len, by_image.values()))
    return JointAgreement(
        *counts,
        num_people=num_people,
        num_found=num_found,
        num_false=num_false,
        num_images=len(images),
        mask_iou=np.concatenate([*overlaps, np.zeros(0)]),
    )


def _check_image(prediction: ImagePrediction, truth: GroundTruth, left: Collection[int]) -> None:
    image_id = prediction.image_id
    if image_id not in truth:
        raise InputError(f"predictions are of image {image_id}, which is not in {truth.source}")
    if image_id not in left:
        raise InputError(f"image {image_id} is predicted twice")
    if tuple(prediction.image_size) != tuple(size := truth.image_size(image_id)):
        raise InputError(
            f"image {image_id} has {size[0]} x {size[1]} px in {truth.source}, its prediction"
            f" {prediction.image_size[0]} x {prediction.image_size[1]}"
        )


def _with_joints(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        record
        for record in records
        if not record.get("iscrowd") and VISIBLE in (record.get("keypoints") or ())[2::3]
    ]


def _of_image(
    people: list[Mapping[str, Any]], found: ImagePrediction
) -> tuple[np.ndarray, np.ndarray, int]:
    """(5, K) counts as in ``JointAgreement``, IoU of each mask, number of people found."""
    counts = np.zeros((5, len(KEYPOINT_NAMES)), np.int64)
    if not people:
        return counts, np.zeros(0), 0
    match = _matches(np.array([record["bbox"] for record in people], np.float64), found)
    height, width = found.image_size
    overlaps = []
    for record, index in zip(people, match.tolist(), strict=True):
        full = np.zeros((height, width), np.uint8) if index < 0 else _label_image(found, index)
        x, y, flag = np.array(record["keypoints"], np.float64).reshape(-1, 3).T
        inside = (flag == VISIBLE) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
        part = np.zeros(len(x), np.int64)
        part[inside] = full[y[inside].astype(np.int64), x[inside].astype(np.int64)]
        joint, visible = np.arange(len(x)), flag == VISIBLE
        right = _ALLOWED[joint, part]
        swapped = _ALLOWED[_OTHER_JOINT[joint], part] & ~right
        counts += np.stack([visible, visible & (index >= 0), part > 0, right, swapped]) & visible
        runs = segmentation_runs(record, found.image_size)
        if runs is not None:
            ours = coco_mask.encode(np.asfortranarray(full > 0).astype(np.uint8))
            overlaps.append(coco_mask.iou([ours], [runs], [0]).item())
    return counts, np.array(overlaps, np.float64), int((match >= 0).sum())


def _matches(boxes_xywh_px: np.ndarray, found: ImagePrediction) -> np.ndarray:
    """(G,) the found person of each annotated one, or -1."""
    match = np.full(len(boxes_xywh_px), -1)
    if len(found):
        iou = coco_mask.iou(boxes_xywh_px, _boxes_xywh_px(found), [0] * len(found))
        iou[iou < _MATCH_IOU] = 0
        row, column = linear_sum_assignment(iou, maximize=True)
        near = iou[row, column] > 0
        match[row[near]] = column[near]
    return match


def _num_false(records: Iterable[Mapping[str, Any]], found: ImagePrediction) -> int:
    """Found people of whose box less than half lies in the box of any one record."""
    boxes = np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4)
    if not len(found) or not len(boxes):
        return len(found)
    # Of a crowd, COCO's overlap is the fraction of the found box that it covers.
    covered = coco_mask.iou(_boxes_xywh_px(found), boxes, [1] * len(boxes)).max(axis=1)
    return int((covered < _MATCH_IOU).sum())


def _boxes_xywh_px(found: ImagePrediction) -> np.ndarray:
    corners = found.boxes_xyxy_px.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _label_image(found: ImagePrediction, index: int) -> np.ndarray:
    """(H, W) uint8 parts of one person, 0 elsewhere."""
    full = np.zeros(found.image_size, np.uint8)
    label = found.labels[index]
    x, y = np.floor(found.boxes_xyxy_px[index, :2]).astype(np.int64)
    cut = label[max(0, -y) :, max(0, -x) :]
    target = full[max(0, y) : max(0, y) + len(cut), max(0, x) : max(0, x) + cut.shape[1]]
    target[...] = cut[: target.shape[0], : target.shape[1]]
    return full


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


_ALLOWED, _OTHER_JOINT = parts_of_joints(), flipped_keypoints()
