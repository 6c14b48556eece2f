"""``densepose score``: score predictions that are on disk; needs no model and no config."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from densepose.errors import InputError

from .parser import add_output, renamed

HELP = "score files of predictions against annotations"
EXAMPLE = """\
tables                 densepose score output/inference/my_val val.json
with pictures          densepose score PREDICTIONS val.json --images DIR --output scores
of densepose predict   densepose score output/predict/1 val.json     # with --save npz
on DensePose-COCO      densepose score results.json densepose_minival2014.json \\
                           --surface smpl_27554 --surface-dir DIR
for other evaluators   densepose score PREDICTIONS val.json --results-json results.json
what parts could gain  densepose score PREDICTIONS val.json --oracle part
without annotated UV   densepose score PREDICTIONS --keypoints person_keypoints_val2017.json
"""
_RULES = ("quirks", "oracle", "protocol", "min_threshold", "max_detections", "paper_kappa")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the two files, the rules and what is written."""
    add = parser.add_argument
    add(
        "predictions",
        nargs="?",
        metavar="PREDICTIONS",
        help="folder of predictions, result file of the COCO challenge (.json), or dump of"
        " detectron2's project (.pkl, .pth)",
    )
    add("annotations", nargs="?", metavar="ANNOTATIONS", help="JSON file in DensePose-COCO's form")
    for old in ("--annotations", "--gt"):
        renamed(parser, old, "densepose score PREDICTIONS ANNOTATIONS", dest="old_annotations")
    renamed(
        parser,
        "--predictions",
        "densepose score PREDICTIONS ANNOTATIONS",
        dest="old_predictions",
    )
    add(
        "--surface",
        default="template",
        metavar="S",
        help="template, smpl_27554 (smpl_V: such files of a mesh of V vertices), or a file of"
        " densepose build-surface",
    )
    add("--surface-dir", metavar="DIR", help="folder of the official evaluation files")
    _add_rules(parser)
    add("--images", metavar="DIR", help="photos, for the pictures of the worst people")
    add_output(
        parser,
        ".json file for all scores, or folder for scores, table, RCP curve and pictures",
        metavar="PATH",
    )
    add(
        "--keypoints",
        metavar="FILE",
        help="in place of ANNOTATIONS, keypoints of COCO: how often the part at a visible joint is"
        " one that the joint can lie on, and mask IoU",
    )
    add("--results-json", metavar="FILE", help="write predictions in the form of the challenge")


def _add_rules(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--quirks",
        default="upstream",
        choices=("upstream", "fixed"),
        help="the numbers of detectron2's evaluator, or its faults repaired",
    )
    add(
        "--oracle",
        default="none",
        choices=("none", "iuv", "part", "part_without_uv", "without_uv"),
        help="what to take from the truth inside of a detection's box",
    )
    add(
        "--protocol",
        default="multi",
        choices=("multi", "single"),
        help="predictions of a whole system, or made for annotated boxes",
    )
    add("--min-threshold", type=float, default=0.5, metavar="T", help="smallest one of AP and AR")
    add("--max-detections", type=int, default=20, metavar="N", help="best detections of an image")
    add("--paper-kappa", action="store_true", help="add GPS and GPSm with kappa 0.255 m")
    add("--no-detection-scores", action="store_true", help="no box and mask AP of COCO")


def run(args: Namespace) -> int:
    """Score, and write what is asked for."""
    import densepose
    from densepose.progress import progress_bar

    predictions = getattr(args, "old_predictions", args.predictions)
    annotations = getattr(args, "old_annotations", args.annotations)
    if predictions and args.keypoints and not annotations:
        return _score_joints(predictions, args.keypoints, args.output)
    if not predictions or not annotations or args.keypoints:
        raise InputError(
            "two files are needed: densepose score PREDICTIONS ANNOTATIONS, or PREDICTIONS"
            " --keypoints FILE"
        )
    with progress_bar("score images") as show:
        result = densepose.evaluate(
            annotations,
            predictions,
            surface=args.surface,
            surface_dir=args.surface_dir,
            on_progress=lambda more, total: show(total=total, more=more),
            detection_scores=not args.no_detection_scores,
            **{name: getattr(args, name) for name in _RULES},
        )
    print(result.to_table())
    if args.output and args.output.endswith(".json"):
        result.write_json(args.output)
        print(f"Scores: {args.output}")
    elif args.output:
        from densepose.report.score_folder import write_score_folder

        write_score_folder(args.output, result, annotations, predictions, args.images)
        print(f"Scores: {args.output}")
    if args.results_json:
        from densepose.report.score_folder import write_results

        count = write_results(args.results_json, annotations, predictions)
        print(f"Result file: {args.results_json}, {count} people")
    return 0


def _score_joints(predictions: str, keypoints: str, output: str | None) -> int:
    from densepose.evaluation.joints import joint_agreement
    from densepose.files import to_json, write_text
    from densepose.progress import progress_bar

    with progress_bar("compare images") as show:
        result = joint_agreement(
            keypoints, predictions, on_progress=lambda more, total: show(total=total, more=more)
        )
    print(result.to_table())
    if output:
        write_text(output, to_json(result.to_dict()))
        print(f"Scores: {output}")
    return 0
