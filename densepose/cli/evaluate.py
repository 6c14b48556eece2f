"""``densepose evaluate``: score a model on its test sets, or predictions that are on disk."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import score_files
from .train import add_run_arguments

HELP = "score a model, or a folder of predictions, against annotations"
EXAMPLE = """\
a trained model        densepose evaluate --config-file F MODEL.WEIGHTS output/model_final.pth
the last checkpoint    densepose evaluate --config-file F --resume OUTPUT_DIR output
and its predictions    densepose evaluate --config-file F --save-predictions MODEL.WEIGHTS W
predictions on disk    densepose evaluate --predictions output/inference/NAME --gt val.json
with pictures          densepose evaluate --predictions P --gt G --images DIR --output scores
on DensePose-COCO      densepose evaluate --predictions results.json --gt minival.json \\
                           --surface smpl_27554 --surface-dir DIR
for other evaluators   densepose evaluate --predictions P --gt G --results-json results.json
what parts could gain  densepose evaluate --predictions P --gt G --oracle part
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of a run and those of scoring predictions without a model."""
    score_files.add_arguments(parser)
    parser.add_argument(
        "--save-predictions",
        action="store_true",
        help="write one file an image to OUTPUT_DIR/inference/NAME/predictions; the same as"
        " DENSEPOSE_EVALUATION.STORAGE file",
    )
    add_run_arguments(parser)


def run(args: Namespace) -> int:
    """Evaluate; returns the exit status."""
    if score_files.is_asked_for(args):
        return score_files.score_files(args)
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.engine import launch, run_process

    args.eval_only = True
    if args.save_predictions:
        args.opts = [*args.opts, "DENSEPOSE_EVALUATION.STORAGE", "file"]
    return launch(run_process, args)
