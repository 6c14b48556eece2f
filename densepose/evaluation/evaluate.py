"""Scores of predictions against a DensePose-COCO annotation file: one pass, image by image.

Shapes: D detections and G people of one image, P annotated points of all of them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface
from densepose.surface.template import PART_NAMES

from .average_precision import average_precision_table
from .challenge_results import read_challenge_results
from .coco_detection import DetectionCollector
from .correct_points import RCP_THRESHOLDS_M, PointTotals
from .detections import ImageDetections
from .foreground import box_overlap, overlap, person_crop
from .gps import masked_similarity
from .ground_truth import GroundTruth, ImageTruth
from .ignore_regions import detections_to_keep, ignore_mask, people_to_keep
from .matching import (
    MAX_DETECTIONS,
    QUIRKS,
    ImageMatches,
    Quirks,
    match_by_box,
    match_image,
    similarity_thresholds,
)
from .pairs import ORACLES, Oracle, PairScores, PointScorer
from .prediction_file import read_predictions
from .result import EvaluationResult

# Images whose points are looked up on the surface together.
_IMAGES_AT_A_TIME = 32
_SIMILARITIES = ("densepose_gps", "densepose_gpsm", "densepose_iou", "densepose_gps_paper")
Predictions = Iterable[ImagePrediction] | str | os.PathLike[str]


def evaluate_densepose(
    ground_truth: str | os.PathLike[str] | Mapping[str, Any],
    predictions: Predictions,
    surface: EvaluationSurface,
    *,
    quirks: Quirks = "upstream",
    oracle: Oracle = "none",
    min_threshold: float = 0.5,
    max_detections: int = MAX_DETECTIONS,
    paper_kappa: bool = False,
    detection_scores: bool = True,
    image_ids: Collection[int] | None = None,
    category_id: int | None = None,
) -> EvaluationResult:
    """Score predictions by GPS, GPSm and mask IoU, over points and parts, and by box and mask AP.

    Every image of the annotation file counts; one without prediction has no detections. Memory
    grows with the annotation file and a few hundred bytes a person, not with the predictions.

    Args:
        ground_truth: path or content of a file in DensePose-COCO format.
        predictions: folder of prediction files, a JSON file in the form of the COCO challenge, or
            predictions in any order of images. The same order gives the same bytes.
        surface: the surface the annotations lie on.
        quirks: "upstream" gives the numbers of detectron2's evaluator (the published ones) to the
            last digit; "fixed" repairs what is plainly wrong there, see ``match_image``,
            ``GroundTruth``, ``place_in_image`` and ``detections_to_keep``.
        oracle: replace parts of the predictions by the truth, see ``PointScorer``.
        min_threshold: smallest similarity threshold of AP, 0.5 in all published tables.
        max_detections: best detections of an image that count for the DensePose tables.
        paper_kappa: add the table with the paper's kappa of 0.255 m for all parts.
        detection_scores: add box and mask AP of COCO.
        image_ids: score these images only; predictions of others are left out.
        category_id: the category of the people; by default the only one or "person".

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: a file is damaged; a prediction is of no image of the file, or of another size;
            an image is predicted twice; an option is unknown.
    """
    if quirks not in QUIRKS or oracle not in ORACLES:
        raise ValueError(
            f"quirks must be in {QUIRKS} and oracle in {ORACLES}, got {quirks, oracle}"
        )
    options = {
        "category_id": category_id,
        "image_ids": image_ids,
        "repeat_duplicate_ids": quirks == "upstream",
    }
    if isinstance(ground_truth, Mapping):
        truth = GroundTruth(ground_truth, "ground truth", **options)
    else:
        truth = GroundTruth.load(ground_truth, **options)
    run = _Evaluation(
        truth,
        PointScorer(surface, oracle=oracle, as_published=quirks == "upstream"),
        quirks=quirks,
        thresholds=similarity_thresholds(min_threshold),
        max_detections=max_detections,
        detection_scores=detection_scores,
    )
    images = _all_images(truth, _opened(predictions, truth))
    while chunk := list(itertools.islice(images, _IMAGES_AT_A_TIME)):
        run.add(chunk)
    return run.result(surface.name, oracle, paper_kappa)


class _Evaluation:
    """Running totals of one evaluation."""

    def __init__(
        self,
        truth: GroundTruth,
        scorer: PointScorer,
        *,
        quirks: Quirks,
        thresholds: np.ndarray,
        max_detections: int,
        detection_scores: bool,
    ) -> None:
        self._truth = truth
        self._scorer = scorer
        self._quirks: Quirks = quirks
        self._thresholds = thresholds
        self._max_detections = max_detections
        self._collector = DetectionCollector() if detection_scores else None
        self._matches: dict[int, ImageMatches] = {}
        self._instances: dict[int, dict[str, np.ndarray]] = {}
        self._totals = PointTotals()
        self._counts = dict.fromkeys(
            ("images", "people", "people_with_points", "points", "detections"), 0
        )

    def add(self, predictions: list[ImagePrediction]) -> None:
        """Score some images."""
        images = [self._image(prediction) for prediction in predictions]
        pairs = self._scorer([truth for truth, _ in images], [found for _, found in images])
        for (truth, detections), of_points in zip(images, pairs, strict=True):
            self._add_image(truth, detections, of_points)

    def _image(self, prediction: ImagePrediction) -> tuple[ImageTruth, ImageDetections]:
        """What counts in one image: ignore regions and surplus detections removed."""
        towards_zero = self._quirks == "upstream"
        truth = self._truth.image(prediction.image_id)
        detections = ImageDetections.from_prediction(prediction, truth.image_size)
        if self._collector is not None:
            crops = detections.crops(truth.image_size, towards_zero=False)
            self._collector.add(
                truth.image_id, truth.image_size, detections.boxes_xywh_px, detections.scores, crops
            )
        self._counts["images"] += 1
        self._counts["detections"] += len(detections)
        region = ignore_mask(truth.ignore_polygons, truth.image_size)
        if region is not None:
            truth = truth.keep(people_to_keep(region, truth.boxes_xywh_px))
            detections = detections.keep(
                detections_to_keep(
                    region,
                    detections.boxes_xywh_px,
                    detections.labels,
                    only_inside_image=towards_zero,
                )
            )
        return truth, detections.best(self._max_detections)

    def _add_image(self, truth: ImageTruth, detections: ImageDetections, pairs: PairScores) -> None:
        people = [
            person_crop(record, truth.image_size, f"{self._truth.source}: annotation {number}")
            for record, number in zip(truth.records, truth.annotation_ids, strict=True)
        ]
        crops = detections.crops(truth.image_size, towards_zero=self._quirks == "upstream")
        mask_iou = overlap(crops, people, truth.crowd)
        box_iou = box_overlap(detections.boxes_xywh_px, truth.boxes_xywh_px, truth.crowd)
        gpsm = masked_similarity(pairs.gps, mask_iou)
        self._matches[truth.image_id] = match_image(
            np.stack([pairs.gps, gpsm, mask_iou, pairs.gps_paper]),
            box_iou,
            scores=detections.scores,
            detection_areas_px=detections.boxes_xywh_px[:, 2:].prod(axis=1),
            ignored_people=~truth.has_points,
            crowd=truth.crowd,
            people_areas_px=truth.areas_px,
            annotation_ids=truth.annotation_ids,
            thresholds=self._thresholds,
            quirks=self._quirks,
        )
        detection_of_person = match_by_box(np.where(truth.crowd, 0.0, box_iou))
        self._add_points(truth, pairs, detection_of_person)
        columns = {
            "score": _at(
                detections.scores[:, None].repeat(len(truth), 1), detection_of_person, np.nan
            )
        }
        measures = {"box_iou": box_iou, "mask_iou": mask_iou, "gps": pairs.gps, "gpsm": gpsm}
        measures |= {"gps_paper": pairs.gps_paper, "part_accuracy": pairs.part_accuracy}
        columns |= {name: _at(table, detection_of_person, 0.0) for name, table in measures.items()}
        ids = {
            "image_id": np.full(len(truth), truth.image_id),
            "annotation_id": truth.annotation_ids,
            "num_points": truth.num_points,
        }
        self._instances[truth.image_id] = {
            name: column[truth.has_points] for name, column in (ids | columns).items()
        }

    def _add_points(
        self, truth: ImageTruth, pairs: PairScores, detection_of_person: np.ndarray
    ) -> None:
        detection = detection_of_person[truth.owner]
        self._totals.add(
            distance_m=_at(pairs.distance_m, detection, np.inf),
            similarity=_at(pairs.similarity, detection, 0.0),
            part=truth.part,
            predicted_part=_at(pairs.predicted_part, detection, 0),
            found=detection >= 0,
        )
        self._counts["people"] += len(truth)
        self._counts["people_with_points"] += int(truth.has_points.sum())
        self._counts["points"] += len(truth.part)

    def result(self, surface_name: str, oracle: str, paper_kappa: bool) -> EvaluationResult:
        """Close the totals."""
        matches = [self._matches[image_id] for image_id in self._truth.image_ids]
        tables = {
            name: average_precision_table(matches, index, self._thresholds)
            for index, name in enumerate(_SIMILARITIES)
            if paper_kappa or name != "densepose_gps_paper"
        }
        if self._collector is not None:
            tables |= self._collector.scores(self._truth)
        of_images = [self._instances[image_id] for image_id in self._truth.image_ids]
        instances = {
            name: np.concatenate([of_image[name] for of_image in of_images])
            for name in (of_images[0] if of_images else ())
        }
        parts = [{**row, "name": PART_NAMES[int(row["part"])]} for row in self._totals.by_part()]
        return EvaluationResult(
            surface=surface_name,
            quirks=self._quirks,
            oracle=oracle,
            counts=self._counts,
            tables=tables,
            points=_point_scores(self._totals, instances),
            parts=tuple(parts),
            instances=instances,
            rcp_thresholds_m=RCP_THRESHOLDS_M,
            rcp=self._totals.rcp(),
        )


def _point_scores(totals: PointTotals, instances: Mapping[str, np.ndarray]) -> dict[str, float]:
    def mean(name: str, where: np.ndarray) -> float:
        return float(instances[name][where].mean()) if where.any() else float("nan")

    shares = totals.shares()
    measured = instances["num_points"] > 0 if instances else np.zeros(0, bool)
    return {
        "mean_gps": mean("gps", measured),
        "mean_gps_paper": mean("gps_paper", measured),
        **{name: shares[name] for name in ("auc10", "auc30", "part_accuracy")},
        **{name: shares[name] for name in ("points_on_foreground", "points_of_found_people")},
        "foreground_iou": mean("mask_iou", np.ones(len(measured), bool)),
    }


def _at(table: np.ndarray, row: np.ndarray, missing: float) -> np.ndarray:
    """(D, K) values, (K,) row of each column or -1 -> (K,) values, ``missing`` for -1."""
    padded = np.concatenate([table, np.full((1, table.shape[1]), missing, table.dtype)])
    return padded[row, np.arange(table.shape[1])]


def _opened(predictions: Predictions, truth: GroundTruth) -> Iterable[ImagePrediction]:
    if not isinstance(predictions, (str, os.PathLike)):
        return predictions
    path = Path(predictions)
    return read_challenge_results(path, truth) if path.suffix == ".json" else read_predictions(path)


def _all_images(
    truth: GroundTruth, predictions: Iterable[ImagePrediction]
) -> Iterator[ImagePrediction]:
    """The predictions of the images that count, then empty ones for images without prediction."""
    wanted = frozenset(truth.image_ids)
    left = set(wanted)
    for prediction in predictions:
        image_id = prediction.image_id
        if image_id in left:
            left.remove(image_id)
            yield prediction
        elif image_id not in truth:
            raise ValueError(f"predictions are of image {image_id}, which is not in {truth.source}")
        elif image_id in wanted:
            raise ValueError(f"image {image_id} is predicted twice")
    for image_id in sorted(left):
        nobody = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), ()
        yield ImagePrediction(image_id, truth.image_size(image_id), *nobody)
