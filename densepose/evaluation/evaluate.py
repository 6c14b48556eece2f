"""Scores of predictions against a DensePose-COCO annotation file: one pass, image by image.

Shapes: D detections and G people of one image, P annotated points of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface

from .challenge_results import read_challenge_results
from .ground_truth import GroundTruth
from .prediction_file import prediction_paths, read_prediction, read_predictions
from .result import EvaluationResult
from .rules import ScoringRules
from .running_scores import RunningScores
from .upstream_dump import SUFFIXES, read_upstream_dump

# What is scored together: so many images, or fewer with so many pixels in all boxes together.
_IMAGES_AT_A_TIME = 64
_PIXELS_AT_A_TIME = 1 << 22
Predictions = Iterable[ImagePrediction] | str | os.PathLike[str]


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

    Every image of the annotation file counts; one without prediction has no detections. Files are
    read piece by piece: memory grows by a few hundred bytes a person.

    Args:
        ground_truth: path or content of a file in DensePose-COCO format.
        predictions: folder of prediction files, a JSON file in the form of the COCO challenge, a
            dump of detectron2's project (.pkl, .pth), or predictions in any order of images. The
            same order gives the same bytes.
        surface: the surface the annotations lie on.
        image_ids: score these images only; predictions of others are left out.
        category_id: the category of the people, or several that count as one; by default the only
            one or "person".
        on_progress: is told how many more images are scored, and how many there are.
        **rules: fields of :class:`ScoringRules`: quirks, oracle, min_threshold, max_detections,
            paper_kappa, protocol, detection_scores.

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: a file is damaged; a prediction is of no image of the file, or of another size;
            an image is predicted twice; a rule has an unknown value.
        TypeError: there is no such rule.
    """
    chosen = ScoringRules(**rules)
    truth = _opened_truth(
        ground_truth,
        category_id=category_id,
        image_ids=image_ids,
        repeat_duplicate_ids=chosen.quirks == "upstream",
    )
    run = RunningScores(truth, surface, chosen)
    for chunk in _chunks(_all_images(truth, opened_predictions(predictions, truth))):
        run.add(chunk)
        on_progress(len(chunk), len(truth.image_ids))
    return run.result()


def _opened_truth(
    ground_truth: str | os.PathLike[str] | Mapping[str, Any], **options: Any
) -> GroundTruth:
    if isinstance(ground_truth, Mapping):
        return GroundTruth(ground_truth, "ground truth", **options)
    return GroundTruth.load(ground_truth, **options)


def _chunks(images: Iterable[ImagePrediction]) -> Iterator[list[ImagePrediction]]:
    """Images in groups whose maps do not fill the memory."""
    chunk, pixels = [], 0
    for image in images:
        chunk.append(image)
        pixels += sum(label.size for label in image.labels)
        if len(chunk) == _IMAGES_AT_A_TIME or pixels >= _PIXELS_AT_A_TIME:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk


def predictions_of_images(
    predictions: str | os.PathLike[str], truth: GroundTruth, image_ids: Collection[int]
) -> dict[int, ImagePrediction]:
    """The predictions of some images out of a folder or a file; those that are there, by id.

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: a file is damaged.
    """
    if Path(predictions).is_dir():
        known = {path.stem: path for path in prediction_paths(predictions)}
        names = {image_id: f"{image_id:012d}" for image_id in image_ids}
        return {k: read_prediction(known[name]) for k, name in names.items() if name in known}
    return {
        p.image_id: p for p in opened_predictions(predictions, truth) if p.image_id in image_ids
    }


def opened_predictions(predictions: Predictions, truth: GroundTruth) -> Iterable[ImagePrediction]:
    """The predictions of a folder, a result file or a dump, image by image; others as they are.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is damaged.
    """
    if not isinstance(predictions, (str, os.PathLike)):
        return predictions
    path = Path(predictions)
    if path.suffix == ".json":
        return read_challenge_results(path, truth)
    return read_upstream_dump(path, truth) if path.suffix in SUFFIXES else read_predictions(path)


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
