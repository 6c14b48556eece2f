"""Scores of predictions against a DensePose-COCO annotation file, image by image.

``ImageScorer`` scores images as they come and keeps a few hundred bytes a person. What several
processes have kept adds up to the same numbers as one pass over all images.

Shapes: G people and N pairs of some images, see ``pairs``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densepose.errors import InputError
from densepose.structures.body_parts import PART_NAMES
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface

from .coco_ap import CocoScores
from .foreign_files import read_upstream_dump
from .ground_truth import GroundTruth
from .masks import box_overlap, detection_masks, mask_overlap, people_masks, without_ignored
from .matching import (
    MAX_DETECTIONS,
    PROTOCOLS,
    QUIRKS,
    Matches,
    Protocol,
    Quirks,
    average_precision_table,
    join_matches,
    match_by_box,
    match_images,
    similarity_thresholds,
)
from .metrics import RCP_THRESHOLDS_M, PointTotals, masked_similarity
from .pairs import ORACLES, ImagePairs, Oracle, PairScores, PointScorer, pack_detections
from .predictions import prediction_paths, read_challenge_results, read_prediction
from .ragged import ranges
from .result import POINT_TITLES, EvaluationResult

# What is scored together: so many images, or fewer with so many pixels in all boxes together.
_IMAGES_AT_A_TIME = 64
_PIXELS_AT_A_TIME = 1 << 22
_SIMILARITIES = ("densepose_gps", "densepose_gpsm", "densepose_iou")
_PAPER_SIMILARITIES = ("densepose_gps_paper", "densepose_gpsm_paper")
# A ZIP archive or a pickle of protocol 2 or later, see torch.save.
_STARTS_OF_DUMPS = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_COUNTS = ("images", "people", "people_with_points", "points", "detections")
Predictions = Iterable[ImagePrediction] | str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class ScoringRules:
    """How predictions are scored; the defaults are those of published tables."""

    # "upstream" gives the numbers of detectron2's evaluator (the published ones) to the last digit;
    # "fixed" repairs what is plainly wrong there, see ``match_images``, ``GroundTruth``,
    # ``windows_in_image`` and ``detections_to_keep``.
    quirks: Quirks = "upstream"
    # Replace parts of the predictions by the truth, see ``PointScorer``.
    oracle: Oracle = "none"
    # Smallest similarity threshold of AP and AR in the DensePose tables.
    min_threshold: float = 0.5
    # Best detections of an image that count for the DensePose tables.
    max_detections: int = MAX_DETECTIONS
    # Add the tables with the paper's kappa of 0.255 m for all parts.
    paper_kappa: bool = False
    # "multi" for predictions of a whole system, "single" for those made for the annotated boxes,
    # see ``match_by_box``; matters to all numbers but AP and AR.
    protocol: Protocol = "multi"
    # Add box and mask AP of COCO, and AP of mask and keypoint branches.
    detection_scores: bool = True

    def __post_init__(self) -> None:
        for name, known in (("quirks", QUIRKS), ("oracle", ORACLES), ("protocol", PROTOCOLS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be in {known}, got {getattr(self, name)!r}")
        if self.max_detections < 1:
            raise InputError(f"max_detections must be 1 or more, got {self.max_detections}")
        _ = self.thresholds  # checks the smallest

    @property
    def thresholds(self) -> np.ndarray:
        """(T,) thresholds from the smallest one to 0.95."""
        return similarity_thresholds(self.min_threshold)

    @property
    def similarities(self) -> tuple[str, ...]:
        """Names of the similarities that have a table."""
        return _SIMILARITIES + (_PAPER_SIMILARITIES if self.paper_kappa else ())


def evaluate_densepose(
    ground_truth: str | os.PathLike[str] | Mapping[str, Any],
    predictions: Predictions,
    surface: EvaluationSurface,
    *,
    image_ids: Collection[int] | None = None,
    category_id: int | Collection[int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, images: None,
    **rules: Any,
) -> EvaluationResult:
    """Score predictions by GPS, GPSm and mask IoU, over points and parts, and by box and mask AP.

    Every image of the annotation file counts; one without prediction has no detections.

    Args:
        ground_truth: path or content of a file in DensePose-COCO format.
        predictions: folder of prediction files, a JSON file in the form of the COCO challenge, a
            dump of detectron2's project (.pkl, .pth), or predictions in any order of images.
        surface: the surface the annotations lie on.
        image_ids: score these images only; predictions of others are skipped.
        category_id: the category of the people, or several that count as one; by default the only
            one or "person".
        on_progress: is called with how many more images are scored, and how many there are.
        **rules: fields of :class:`ScoringRules`: quirks, oracle, min_threshold, max_detections,
            paper_kappa, protocol, detection_scores.

    Raises:
        InputError: a file or folder is missing; a file is damaged; a prediction is of no image of
            the file, or of another size; an image is predicted twice; a rule has an unknown value.
        TypeError: there is no such rule.
    """
    chosen = ScoringRules(**rules)
    options = {"category_id": category_id, "image_ids": image_ids}
    truth = opened_truth(ground_truth, chosen, **options)
    scorer = ImageScorer(truth, surface, chosen)
    for prediction in opened_predictions(predictions, truth, scorer.totals.skipped):
        scorer.add(prediction)
        on_progress(1, len(truth.image_ids))
    on_progress(len(truth.image_ids) - len(scorer.totals.image_ids), len(truth.image_ids))
    return scorer.result()


def opened_truth(
    ground_truth: str | os.PathLike[str] | Mapping[str, Any], rules: ScoringRules, **options: Any
) -> GroundTruth:
    """The annotations of a file or of its content, as some rules read them."""
    options["repeat_duplicate_ids"] = rules.quirks == "upstream"
    if isinstance(ground_truth, Mapping):
        return GroundTruth(ground_truth, "ground truth", **options)
    return GroundTruth.load(ground_truth, **options)


def opened_predictions(
    predictions: Predictions, truth: GroundTruth, skipped: Counter[str] | None = None
) -> Iterable[ImagePrediction]:
    """The predictions of a folder, a result file or a dump, image by image, under their ids.

    Args:
        predictions: see ``evaluate_densepose``.
        truth: sizes and categories of the images.
        skipped: entries that are not used are counted here, by reason.

    Raises:
        InputError: there is no such file or folder; a file is damaged.
    """
    if not isinstance(predictions, (str, os.PathLike)):
        return map(truth.identify, predictions)
    path = Path(predictions)
    skipped = Counter() if skipped is None else skipped
    if not path.is_file():
        return (truth.identify(read_prediction(one)) for one in prediction_paths(path))
    with open(path, "rb") as file:
        head = file.read(64).lstrip()
    is_json = path.suffix == ".json" and head[:2] not in _STARTS_OF_DUMPS
    is_json = is_json or head[:1] in (b"[", b"{")
    return (read_challenge_results if is_json else read_upstream_dump)(path, truth, skipped)


@dataclass
class Totals:
    """What is kept of the images that were scored; sent from process to process."""

    matches: list[Matches] = field(default_factory=list)
    people: list[dict[str, np.ndarray]] = field(default_factory=list)  # columns of equal length
    points: PointTotals = field(default_factory=PointTotals)
    coco: CocoScores = field(default_factory=CocoScores)
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_COUNTS, 0)))
    image_ids: set[int] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)  # reason -> entries of the predictions

    def merge(self, other: Totals) -> None:
        """Add the images of another process.

        Raises:
            InputError: both have scored the same image.
        """
        for image_id in self.image_ids & other.image_ids:
            raise InputError(f"image {image_id} is predicted twice, in two processes")
        self.matches += other.matches
        self.people += other.people
        self.points.merge(other.points)
        self.coco.merge(other.coco)
        self.counts.update(other.counts)
        self.image_ids |= other.image_ids
        self.skipped.update(other.skipped)


class ImageScorer:
    """Scores images, a few together for speed."""

    def __init__(self, truth: GroundTruth, surface: EvaluationSurface, rules: ScoringRules) -> None:
        self.truth = truth
        self._surface = surface
        self._rules = rules
        self._as_published = rules.quirks == "upstream"
        self._scorer = PointScorer(surface, oracle=rules.oracle, as_published=self._as_published)
        self._waiting: list[ImagePrediction] = []
        self._pixels = 0  # of all that wait
        self._evaluated = frozenset(truth.image_ids)
        self.totals = Totals()

    def add(self, prediction: ImagePrediction) -> None:
        """Score an image, at once or together with the next ones.

        Raises:
            InputError: the image is not in the annotation file or was scored before, or the
                prediction is damaged.
        """
        image_id = prediction.image_id
        if image_id not in self.truth:
            raise InputError(f"{prediction.name}: the image is not in {self.truth.source}")
        if image_id not in self._evaluated:
            self.totals.skipped["their image is not evaluated"] += len(prediction)
            return
        if image_id in self.totals.image_ids:
            raise InputError(f"{prediction.name}: the image is predicted twice")
        self.totals.image_ids.add(image_id)
        self._waiting.append(prediction)
        self._pixels += sum(label.size for label in prediction.labels)
        if len(self._waiting) == _IMAGES_AT_A_TIME or self._pixels >= _PIXELS_AT_A_TIME:
            self.flush()

    def flush(self) -> None:
        """Score the images that are still waiting."""
        waiting, self._waiting, self._pixels = self._waiting, [], 0
        if waiting:
            self._score(waiting)

    def result(self, others: Sequence[Totals] = ()) -> EvaluationResult:
        """The scores of all images of the annotation file.

        Args:
            others: of the other processes.

        Raises:
            InputError: an image was scored by two processes.
        """
        self.flush()
        totals = self.totals
        for other in others:
            totals.merge(other)
        num_predicted = len(totals.image_ids)
        missing = sorted(self._evaluated - totals.image_ids)
        for start in range(0, len(missing), _IMAGES_AT_A_TIME):
            batch = missing[start : start + _IMAGES_AT_A_TIME]
            self._score([self._nobody(image_id) for image_id in batch])
        if not totals.matches:
            self._score([])  # so that every table is there
        matches = join_matches(totals.matches)
        tables = {
            name: average_precision_table(matches, index, self._rules.thresholds)
            for index, name in enumerate(self._rules.similarities)
        }
        if self._rules.detection_scores:
            tables |= totals.coco.tables(self.truth)
        people = _joined_people(totals.people)
        parts = [{**row, "name": PART_NAMES[int(row["part"])]} for row in totals.points.by_part()]
        return EvaluationResult(
            surface=self._surface.name,
            quirks=self._rules.quirks,
            oracle=self._rules.oracle,
            protocol=self._rules.protocol,
            thresholds=self._rules.thresholds,
            max_detections=self._rules.max_detections,
            counts=dict(totals.counts),
            num_predicted=num_predicted,
            skipped=dict(totals.skipped),
            tables=tables,
            points=_point_scores(totals.points, people),
            parts=tuple(parts),
            instances=people,
            rcp_thresholds_m=RCP_THRESHOLDS_M,
            rcp=totals.points.rcp(),
            warnings=tuple(self._warnings()),
        )

    def _nobody(self, image_id: int) -> ImagePrediction:
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), ()
        return ImagePrediction(image_id, self.truth.image_size(image_id), *nothing)

    def _score(self, predictions: list[ImagePrediction]) -> None:
        pairs = self._pairs(predictions)
        points = self._scorer(pairs)
        found = detection_masks(pairs, towards_zero=self._as_published)
        mask_iou = mask_overlap(pairs, found, people_masks(pairs.people))
        box_iou = box_overlap(pairs)
        gpsm = masked_similarity(points.gps, mask_iou)
        similarity = [points.gps, gpsm, mask_iou, points.gps_paper]
        similarity.append(masked_similarity(points.gps_paper, mask_iou))
        self.totals.matches.append(
            match_images(
                pairs,
                np.stack(similarity[: len(self._rules.similarities)]),
                box_iou,
                thresholds=self._rules.thresholds,
                quirks=self._rules.quirks,
            )
        )
        pair_of_person = match_by_box(pairs, box_iou, protocol=self._rules.protocol)
        self._add_points(pairs, points, pair_of_person)
        measures = {"box_iou": box_iou, "mask_iou": mask_iou, "gps": points.gps, "gpsm": gpsm}
        measures |= {"gps_paper": points.gps_paper, "part_accuracy": points.part_accuracy}
        self._add_people(pairs, measures, pair_of_person)

    def _pairs(self, predictions: list[ImagePrediction]) -> ImagePairs:
        """What counts in some images: ignore regions and surplus detections removed."""
        image_ids = [prediction.image_id for prediction in predictions]
        people = self.truth.people(image_ids)
        detections = pack_detections(predictions, [tuple(s) for s in people.image_sizes.tolist()])
        self.totals.counts.update(images=len(predictions), detections=len(detections))
        if self._rules.detection_scores and predictions:
            self.totals.coco.add(predictions, people, detections)
        polygons = [self.truth.ignore_polygons(image_id) for image_id in image_ids]
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
        self.totals.people.append(
            {name: column[people.has_points] for name, column in columns.items()}
        )
        self.totals.counts.update(
            people=len(people),
            people_with_points=int(people.has_points.sum()),
            points=len(people.part),
        )

    def _add_points(
        self, pairs: ImagePairs, points: PairScores, pair_of_person: np.ndarray
    ) -> None:
        people = pairs.people
        pair = pair_of_person[people.owner]
        # Points of a person lie in the order of its entries in every pair.
        place = ranges(np.zeros(len(people), np.int64), people.num_points)
        entry = np.where(pair >= 0, pairs.first_entry[pair] + place, -1)
        self.totals.points.add(
            distance_m=_at(points.distance_m, entry, np.inf),
            similarity=_at(points.similarity, entry, 0.0),
            part=people.part,
            predicted_part=_at(points.predicted_part, entry, 0),
            found=pair >= 0,
        )

    def _warnings(self) -> Iterator[str]:
        """What makes scores empty or lower than a reader expects."""
        counts, source = self.totals.counts, self.truth.source
        known = self.truth.categories
        if not counts["detections"]:
            yield "no detections: the predictions are empty, of other images, or below a threshold"
        if missing := self.truth.num_missing_images:
            yield f"{missing} images of {source} have no file; they and their people are not scored"
        if not counts["people"]:
            yield (
                f"no people of category {self.truth.category_id} in {source}, which has the"
                f" categories {known}: is category_id in its annotations right?"
            )
        elif not counts["people_with_points"]:
            yield f"no person in {source} has DensePose points (dp_x): only boxes and masks count"
        if self._as_published and 0 in self.truth.annotation_ids:
            yield (
                f"an annotation of {source} has the id 0: upstream's rules match nothing with it;"
                " number from 1, or score with quirks='fixed'"
            )


def _joined_people(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns of all parts, image ids ascending."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["image_id"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _point_scores(totals: PointTotals, people: Mapping[str, np.ndarray]) -> dict[str, float]:
    def mean(name: str, where: np.ndarray) -> float:
        return float(people[name][where].mean()) if where.any() else float("nan")

    means = totals.means()
    measured = people["num_points"] > 0
    return {
        "mean_gps": mean("gps", measured),
        "mean_gps_paper": mean("gps_paper", measured),
        **{name: means[name] for name in POINT_TITLES if name in means},
        "foreground_iou": mean("mask_iou", np.ones(len(measured), bool)),
        **totals.kinds(),
    }


def _at(values: np.ndarray, index: np.ndarray, missing: float) -> np.ndarray:
    """Values (K,) at places (L,) -> (L,), ``missing`` where the place is -1."""
    return np.concatenate([values, np.array([missing], values.dtype)])[index]
