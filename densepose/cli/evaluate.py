"""``densepose evaluate``: score a model on the data sets of its config."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import train
from .parser import pairs_of

HELP = "score a model against annotations"
EXAMPLE = """\
a trained model        densepose evaluate --weights output/x/model_final.pth
the last checkpoint    densepose evaluate --config-file F --output output/x --resume
and its predictions    densepose evaluate --config-file F --weights W --save-predictions
a released model       densepose evaluate --weights R_50_FPN_s1x --output output/released
on other data          densepose evaluate --weights W DATASETS.TEST "('my_val',)"
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of a run."""
    train.add_run_arguments(parser)
    parser.add_argument(
        "--save-predictions",
        action="store_true",
        help="write one file an image to OUTPUT_DIR/inference/NAME/predictions",
    )
    parser.set_defaults(eval_only=True)


def run(args: Namespace) -> int:
    """Evaluate; returns the exit status."""
    if args.save_predictions:
        args.opts = [*args.opts, "DENSEPOSE_EVALUATION.STORAGE", "file"]
    if args.config_file or args.resume:
        return train.run(args)
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.engine.predictor import model_config

    _, cfg = model_config(opts=pairs_of(args))
    # All processes of the run read the config that belongs to the weights from a file.
    with tempfile.TemporaryDirectory() as folder:
        args.config_file = str(Path(folder, "config.yaml"))
        Path(args.config_file).write_text(cfg.dump(), encoding="utf-8")
        return train.run(args)
