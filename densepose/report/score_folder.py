"""The folder of ``densepose score``: scores, table, curve, and pictures of the worst people."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from densepose.errors import InputError
from densepose.evaluation.evaluate import Predictions, opened_predictions
from densepose.evaluation.ground_truth import GroundTruth
from densepose.evaluation.predictions import write_challenge_results
from densepose.files import atomic, write_text
from densepose.vis.curves import draw_rcp
from densepose.vis.sheets import PersonPicture, people_sheet

if TYPE_CHECKING:
    from densepose.evaluation.result import EvaluationResult

SCORES, TABLE, CURVE, WORST = "scores.json", "table.md", "rcp.png", "worst_people.jpg"
_NUM_WORST = 20
_GREY = 200


def write_score_folder(
    folder: str | os.PathLike[str],
    result: EvaluationResult,
    annotations: str | os.PathLike[str],
    predictions: Predictions,
    images: str | os.PathLike[str] | None = None,
) -> None:
    """Write all scores (JSON), the table, and, where points were scored, curve and pictures.

    Args:
        folder: to write.
        result: of ``annotations`` and ``predictions``.
        annotations: file in DensePose-COCO format.
        predictions: see ``evaluate_densepose``.
        images: folder of the photos; a person without photo is drawn on grey.

    Raises:
        InputError: a photo has another size than annotated.
    """
    folder = Path(folder)
    result.write_json(folder / SCORES)
    write_text(folder / TABLE, result.to_table())
    if result.counts["points"]:
        auc10, auc30 = (result.points[name] for name in ("auc10", "auc30"))
        title = f"AUC10 {auc10:.3f}, AUC30 {auc30:.3f} ({result.protocol}-person protocol)"
        draw_rcp(folder / CURVE, result.rcp_thresholds_m, {title: result.rcp})
        sheet = _worst_people(result, GroundTruth.load(annotations), predictions, images)
        with atomic(folder / WORST) as temporary:
            Image.fromarray(sheet).save(temporary, "JPEG", quality=88)


def write_results(
    path: str | os.PathLike[str],
    annotations: str | os.PathLike[str],
    predictions: Predictions,
) -> int:
    """Write predictions as a result file of the COCO challenge; returns how many people it has."""
    truth = GroundTruth.load(annotations)
    return write_challenge_results(path, opened_predictions(predictions, truth), truth.category_id)


def _worst_people(
    result: EvaluationResult,
    truth: GroundTruth,
    predictions: Predictions,
    images: str | os.PathLike[str] | None,
) -> np.ndarray:
    """The people with the lowest GPS, as a picture."""
    worst = result.worst(_NUM_WORST)
    image_ids = worst["image_id"].tolist()
    found = {
        prediction.image_id: prediction
        for prediction in opened_predictions(predictions, truth)
        if prediction.image_id in image_ids
    }
    people = []
    for image_id, annotation_id, gps in zip(
        image_ids, worst["annotation_id"].tolist(), worst["gps"].tolist(), strict=True
    ):
        record = next(r for r in truth.records(image_id) if r["id"] == annotation_id)
        title = f"{gps:.2f}  {image_id} / {annotation_id}"
        photo = _photo(truth, image_id, images)
        people.append(PersonPicture(title, photo, record, found.get(image_id)))
    return people_sheet(people)


def _photo(truth: GroundTruth, image_id: int, folder: str | os.PathLike[str] | None) -> np.ndarray:
    """The photo where it is found and has the right size, else a grey area."""
    height, width = truth.image_size(image_id)
    path = truth.image_file(image_id, folder) if folder is not None else None
    if path is not None:
        try:
            with Image.open(path) as opened:
                photo = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(
                f"{path}: cannot be read as a picture ({error}); fetch it again, or take it away"
            ) from error
        if photo.size == (width, height):
            return np.asarray(photo)
        size = f"{photo.size[0]} x {photo.size[1]} px"
        raise InputError(f"{path}: is {size}, the annotation file says {width} x {height} px")
    if folder is not None:
        print(f"no photo of image {image_id} in {folder}", file=sys.stderr)
    return np.full((height, width, 3), _GREY, np.uint8)
