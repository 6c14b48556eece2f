"""Scores of predictions added up image by image.

Shapes: G people and N pairs of some images, see ``image_pairs``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from densepose.structures.body_parts import PART_NAMES
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface

from .average_precision import average_precision_table
from .coco_detection import DetectionCollector
from .correct_points import RCP_THRESHOLDS_M, PointTotals
from .detections import pack_detections
from .foreground import box_overlap, crops_in_image, mask_overlap, people_masks
from .gps import masked_similarity
from .ground_truth import GroundTruth
from .ignore_regions import without_ignored
from .image_pairs import ImagePairs, ranges
from .matching import Matches, join_matches, match_by_box, match_images
from .pairs import PairScores, PointScorer
from .result import EvaluationResult
from .rules import ScoringRules

_SIMILARITIES = ("densepose_gps", "densepose_gpsm", "densepose_iou")
_PAPER_SIMILARITIES = ("densepose_gps_paper", "densepose_gpsm_paper")


class RunningScores:
    """The totals of one evaluation; grows by a few hundred bytes a person."""

    def __init__(self, truth: GroundTruth, surface: EvaluationSurface, rules: ScoringRules) -> None:
        self._truth = truth
        self._surface = surface
        self._rules = rules
        self._as_published = rules.quirks == "upstream"
        self._scorer = PointScorer(surface, oracle=rules.oracle, as_published=self._as_published)
        self._similarities = _SIMILARITIES + (_PAPER_SIMILARITIES if rules.paper_kappa else ())
        self._collector = DetectionCollector() if rules.detection_scores else None
        self._matches: list[Matches] = []
        self._images: list[np.ndarray] = []  # image id of each detection in the matches
        self._instances: list[dict[str, np.ndarray]] = []
        self._totals = PointTotals()
        self._counts = dict.fromkeys(
            ("images", "people", "people_with_points", "points", "detections"), 0
        )

    def add(self, predictions: list[ImagePrediction]) -> None:
        """Score some images."""
        pairs = self._pairs(predictions)
        points = self._scorer(pairs)
        masks = people_masks(pairs.people)
        crop = crops_in_image(
            pairs.detections.boxes_xywh_px,
            pairs.detections.map_sizes,
            pairs.people.image_sizes[pairs.detections.image],
            towards_zero=self._as_published,
        )
        mask_iou, box_iou = mask_overlap(pairs, masks, crop), box_overlap(pairs)
        gpsm = masked_similarity(points.gps, mask_iou)
        similarity = [points.gps, gpsm, mask_iou, points.gps_paper]
        similarity.append(masked_similarity(points.gps_paper, mask_iou))
        self._matches.append(
            match_images(
                pairs,
                np.stack(similarity[: len(self._similarities)]),
                box_iou,
                thresholds=self._rules.thresholds,
                quirks=self._rules.quirks,
            )
        )
        self._images.append(np.array(pairs.people.image_ids, np.int64)[pairs.detections.image])
        pair_of_person = match_by_box(pairs, box_iou, protocol=self._rules.protocol)
        self._add_points(pairs, points, pair_of_person)
        measures = {"box_iou": box_iou, "mask_iou": mask_iou, "gps": points.gps, "gpsm": gpsm}
        measures |= {"gps_paper": points.gps_paper, "part_accuracy": points.part_accuracy}
        self._add_people(pairs, measures, pair_of_person)

    def _pairs(self, predictions: list[ImagePrediction]) -> ImagePairs:
        """What counts in some images: ignore regions and surplus detections removed."""
        image_ids = [prediction.image_id for prediction in predictions]
        sizes = [self._truth.image_size(image_id) for image_id in image_ids]
        people = self._truth.people(image_ids)
        detections = pack_detections(predictions, sizes)
        if self._collector is not None:
            self._collector.add(image_ids, sizes, detections)
            for prediction in predictions:
                self._collector.add_branches(prediction)
        self._counts["images"] += len(predictions)
        self._counts["detections"] += len(detections)
        polygons = [self._truth.ignore_polygons(image_id) for image_id in image_ids]
        people, detections = without_ignored(
            people, detections, polygons, only_inside_image=self._as_published
        )
        return ImagePairs(people, detections.best(self._rules.max_detections))

    def _add_people(
        self, pairs: ImagePairs, measures: Mapping[str, np.ndarray], pair_of_person: np.ndarray
    ) -> None:
        """Keep one row for each person with DensePose annotation."""
        people = pairs.people
        scores = pairs.detections.scores[pairs.detection]
        columns = {
            "image_id": np.array(people.image_ids, np.int64)[people.image],
            "annotation_id": people.annotation_ids,
            "num_points": people.num_points,
            "score": _at(scores, pair_of_person, np.nan),
        } | {name: _at(values, pair_of_person, 0.0) for name, values in measures.items()}
        self._instances.append(
            {name: column[people.has_points] for name, column in columns.items()}
        )
        self._counts["people"] += len(people)
        self._counts["people_with_points"] += int(people.has_points.sum())
        self._counts["points"] += len(people.part)

    def _add_points(
        self, pairs: ImagePairs, points: PairScores, pair_of_person: np.ndarray
    ) -> None:
        pair = pair_of_person[pairs.people.owner]
        # Points of a person lie in the order of its entries in every pair.
        place = ranges(np.zeros(len(pairs.people), np.int64), pairs.people.num_points)
        entry = np.where(pair >= 0, pairs.first_entry[pair] + place, -1)
        self._totals.add(
            distance_m=_at(points.distance_m, entry, np.inf),
            similarity=_at(points.similarity, entry, 0.0),
            part=pairs.people.part,
            predicted_part=_at(points.predicted_part, entry, 0),
            found=pair >= 0,
        )

    def result(self) -> EvaluationResult:
        """Close the totals."""
        if not self._matches:
            self.add([])  # so that every table is there
        matches = self._joined_matches()
        tables = {
            name: average_precision_table(matches, index, self._rules.thresholds)
            for index, name in enumerate(self._similarities)
        }
        if self._collector is not None:
            tables |= self._collector.scores(self._truth)
        instances = self._joined_instances()
        parts = [{**row, "name": PART_NAMES[int(row["part"])]} for row in self._totals.by_part()]
        return EvaluationResult(
            surface=self._surface.name,
            quirks=self._rules.quirks,
            oracle=self._rules.oracle,
            protocol=self._rules.protocol,
            thresholds=self._rules.thresholds,
            max_detections=self._rules.max_detections,
            counts=self._counts,
            tables=tables,
            points=_point_scores(self._totals, instances),
            parts=tuple(parts),
            instances=instances,
            rcp_thresholds_m=RCP_THRESHOLDS_M,
            rcp=self._totals.rcp(),
        )

    def _joined_matches(self) -> Matches:
        # Of detections with equal scores those of the lower image id count first.
        images = np.concatenate(self._images)
        return join_matches(self._matches, np.argsort(images, kind="stable"))

    def _joined_instances(self) -> dict[str, np.ndarray]:
        columns = {
            name: np.concatenate([part[name] for part in self._instances])
            for name in self._instances[0]
        }
        order = np.argsort(columns["image_id"], kind="stable")
        return {name: column[order] for name, column in columns.items()}


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
        **totals.kinds(),
    }


def _at(values: np.ndarray, index: np.ndarray, missing: float) -> np.ndarray:
    """Values (K,) at places (L,) -> (L,), ``missing`` where the place is -1."""
    return np.concatenate([values, np.array([missing], values.dtype)])[index]
