"""Scores of predictions added up image by image.

Shapes: D detections and G people of one image, P annotated points of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from densepose.structures.prediction import ImagePrediction
from densepose.surface.template import PART_NAMES

from .average_precision import average_precision_table
from .coco_detection import DetectionCollector
from .correct_points import RCP_THRESHOLDS_M, PointTotals
from .detections import ImageDetections
from .foreground import box_overlap, overlap, person_crop
from .gps import masked_similarity
from .ground_truth import GroundTruth, ImageTruth
from .ignore_regions import detections_to_keep, ignore_mask, people_to_keep
from .matching import ImageMatches, Quirks, match_by_box, match_image
from .pairs import PairScores, PointScorer
from .result import EvaluationResult

_SIMILARITIES = ("densepose_gps", "densepose_gpsm", "densepose_iou", "densepose_gps_paper")


class RunningScores:
    """The totals of one evaluation; grows by a few hundred bytes a person."""

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
            self._collector.add_branches(prediction)
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
