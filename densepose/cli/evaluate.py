"""``densepose evaluate``: score a model on its test sets, or predictions that are on disk."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .train import add_run_arguments

HELP = "score a model, or a folder of predictions, against annotations"
EXAMPLE = """\
a trained model        densepose evaluate --config-file F MODEL.WEIGHTS output/model_final.pth
a released model       densepose evaluate --config-file densepose_rcnn_R_50_FPN_s1x \\
                           MODEL.WEIGHTS zoo://R_50_FPN_s1x
the last checkpoint    densepose evaluate --config-file F --resume OUTPUT_DIR output
predictions on disk    densepose evaluate --predictions output/inference/NAME --annotations val.json
on DensePose-COCO      densepose evaluate --predictions results.json --annotations minival.json \\
                           --surface smpl_27554 --surface-dir DIR
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of a run and those of scoring predictions without a model."""
    add = parser.add_argument_group("predictions on disk (no model, no config)").add_argument
    add(
        "--predictions",
        metavar="DIR",
        help="folder of predictions, or results of the COCO challenge",
    )
    add("--annotations", metavar="JSON", help="annotation file of these images")
    add(
        "--surface",
        default="template",
        help="template (default), smpl_27554, or a file of densepose build-surface (.npz)",
    )
    add("--surface-dir", metavar="DIR", help="folder of the official evaluation files")
    add("--output", metavar="JSON", help="write all scores to this file")
    add_run_arguments(parser)


def run(args: Namespace) -> int:
    """Evaluate; returns the exit status."""
    if args.predictions or args.annotations:
        return _score_files(args)
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.engine import launch, run_process

    args.eval_only = True
    return launch(run_process, args)


def _score_files(args: Namespace) -> int:
    if not (args.predictions and args.annotations):
        print("error: --predictions and --annotations belong together", file=sys.stderr)
        return 2
    from densepose.evaluation.evaluate import evaluate_densepose
    from densepose.surface.evaluation_surface import load_evaluation_surface

    try:
        surface = load_evaluation_surface(args.surface, args.surface_dir)
        result = evaluate_densepose(args.annotations, args.predictions, surface)
        print(result.to_table())
        if args.output:
            Path(args.output).parent.mkdir(parents=True, exist_ok=True)
            result.write_json(args.output)
            print(f"Scores: {args.output}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
