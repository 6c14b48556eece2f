"""Scoring predictions that are on disk: what ``densepose evaluate`` does without a model."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from densepose.files import atomic, write_text
from densepose.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

    from densepose.evaluation.ground_truth import GroundTruth
    from densepose.evaluation.result import EvaluationResult

SCORES, TABLE, CURVE, WORST = "scores.json", "table.md", "rcp.png", "worst_people.jpg"
_RULES = ("quirks", "oracle", "protocol", "min_threshold", "max_detections", "paper_kappa")
_NUM_WORST = 20
_GREY = 200


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of scoring files."""
    add = parser.add_argument_group("predictions on disk (no model, no config)").add_argument
    add(
        "--predictions",
        metavar="PATH",
        help="folder of predictions, results of the COCO challenge (.json), or a dump of"
        " detectron2's project (.pkl, .pth)",
    )
    add("--annotations", "--gt", metavar="JSON", help="annotation file of these images")
    add(
        "--surface",
        default="template",
        help="template (default), smpl_27554 (smpl_V: such files of a mesh of V vertices), or a"
        " file of densepose build-surface",
    )
    add("--surface-dir", metavar="DIR", help="folder of the official evaluation files")
    add(
        "--quirks",
        default="upstream",
        choices=("upstream", "fixed"),
        help="upstream (default): the numbers of detectron2's evaluator; fixed: faults repaired",
    )
    add(
        "--oracle",
        default="none",
        choices=("none", "iuv", "part", "part_without_uv", "without_uv"),
        help="what to take from the truth inside of a detection's box (none)",
    )
    add(
        "--protocol",
        default="multi",
        choices=("multi", "single"),
        help="multi (default): predictions of a whole system; single: made for annotated boxes",
    )
    add(
        "--min-threshold",
        type=float,
        default=0.5,
        metavar="T",
        help="smallest threshold of AP and AR (0.5); 0.2, 0.3, 0.4 add AP20, AP30, AP40",
    )
    add("--max-detections", type=int, default=20, metavar="N", help="best detections an image (20)")
    add("--paper-kappa", action="store_true", help="add GPS and GPSm with kappa 0.255 m")
    add("--no-detection-scores", action="store_true", help="no box and mask AP of COCO")
    add("--images", metavar="DIR", help="photos, for the pictures of the worst people")
    add(
        "--output",
        metavar="PATH",
        help="a .json file for all scores, or a folder for scores, table, RCP curve and pictures",
    )
    add(
        "--results-json",
        metavar="FILE",
        help="write the predictions as a result file of the COCO challenge, for other evaluators",
    )


def score_files(args: Namespace) -> int:
    """Evaluate and write what is asked for; returns the exit status."""
    result = _evaluate(args)
    print(result.to_table())
    if args.output:
        print(f"Scores: {_write(result, args)}")
    if args.results_json:
        print(f"Result file: {args.results_json}, {_write_results(args)} people")
    return 0


def is_asked_for(args: Namespace) -> bool:
    """Whether these arguments are for files, not for a model.

    Raises:
        ValueError: one of the two files is missing.
    """
    parser = ArgumentParser()
    add_arguments(parser)
    usual = vars(parser.parse_args([]))
    given = [name for name, value in usual.items() if getattr(args, name) != value]
    if given and not (args.predictions and args.annotations):
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(
            f"{flags}: for predictions on disk, which need both --predictions and --annotations;"
            " a model is scored by its config, see the keys DENSEPOSE_EVALUATION"
        )
    return bool(given)


def _evaluate(args: Namespace) -> EvaluationResult:
    from densepose.evaluation.evaluate import evaluate_densepose
    from densepose.surface.evaluation_surface import load_evaluation_surface

    surface = load_evaluation_surface(args.surface, args.surface_dir)
    with progress_bar("score images") as show:
        return evaluate_densepose(
            args.annotations,
            args.predictions,
            surface,
            on_progress=lambda more, total: show(total=total, more=more),
            detection_scores=not args.no_detection_scores,
            **{name: getattr(args, name) for name in _RULES},
        )


def _write(result: EvaluationResult, args: Namespace) -> Path:
    """Write the JSON file, or the folder with everything."""
    output = Path(args.output)
    if output.suffix == ".json":
        result.write_json(output)
        return output
    from densepose.vis.curves import draw_rcp

    result.write_json(output / SCORES)
    write_text(output / TABLE, result.to_table())
    if result.counts["points"]:
        auc10, auc30 = (result.points[name] for name in ("auc10", "auc30"))
        title = f"AUC10 {auc10:.3f}, AUC30 {auc30:.3f} ({result.protocol}-person protocol)"
        draw_rcp(output / CURVE, result.rcp_thresholds_m, {title: result.rcp})
        _write_worst(output / WORST, result, args)
    return output


def _write_results(args: Namespace) -> int:
    """The predictions as a result file of the challenge; returns how many people it has."""
    from densepose.evaluation.evaluate import opened_predictions
    from densepose.evaluation.ground_truth import GroundTruth
    from densepose.evaluation.predictions import write_challenge_results

    truth = GroundTruth.load(args.annotations)
    predictions = opened_predictions(args.predictions, truth)
    return write_challenge_results(args.results_json, predictions, truth.category_id)


def _write_worst(path: Path, result: EvaluationResult, args: Namespace) -> None:
    """Draw the people with the lowest GPS."""
    from PIL import Image

    from densepose.evaluation.evaluate import opened_predictions
    from densepose.evaluation.ground_truth import GroundTruth
    from densepose.vis.sheets import PersonPicture, people_sheet

    worst = result.worst(_NUM_WORST)
    truth = GroundTruth.load(args.annotations)
    image_ids = worst["image_id"].tolist()
    predictions = {
        prediction.image_id: prediction
        for prediction in opened_predictions(args.predictions, truth)
        if prediction.image_id in image_ids
    }
    people = []
    for image_id, annotation_id, gps in zip(
        image_ids, worst["annotation_id"].tolist(), worst["gps"].tolist(), strict=True
    ):
        record = next(r for r in truth.records(image_id) if r["id"] == annotation_id)
        title = f"{gps:.2f}  {image_id} / {annotation_id}"
        photo = _photo(truth, image_id, args.images)
        people.append(PersonPicture(title, photo, record, predictions.get(image_id)))
    with atomic(path) as temporary:
        Image.fromarray(people_sheet(people)).save(temporary, "JPEG", quality=88)


def _photo(truth: GroundTruth, image_id: int, folder: str | None) -> np.ndarray:
    """The photo where it is found and has the right size, else a grey area."""
    import numpy as np
    from PIL import Image

    height, width = truth.image_size(image_id)
    if folder is not None:
        path = truth.image_file(image_id, folder)
        if path is not None:
            with Image.open(path) as photo:
                if photo.size == (width, height):
                    return np.asarray(photo.convert("RGB"))
                size = f"{photo.size[0]} x {photo.size[1]} px"
            raise ValueError(f"{path}: is {size}, the annotation file says {width} x {height} px")
        print(f"no photo of image {image_id} in {folder}", file=sys.stderr)
    return np.full((height, width, 3), _GREY, np.uint8)
