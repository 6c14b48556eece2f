"""``densepose train``: train a model described by a config file."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from densepose.errors import InputError

from .parser import add_config_pairs, add_model, add_output, pairs_of, positive

HELP = "train a model from a config file"
EXAMPLE = """\
one GPU or the CPU      densepose train --config-file densepose_rcnn_R_50_FPN_s1x --output output/x
8 GPUs                  densepose train --config-file F --num-gpus 8
smaller batch           densepose train --config-file F --batch-size 4 --auto-scale-lr
resume after a stop     densepose train --config-file F --output output/x --resume
config keys             densepose train --config-file F SOLVER.BASE_LR 0.01 SOLVER.MAX_ITER 1000
2 processes on CPU      densepose train --config-file F --num-cpu-processes 2
2 machines              densepose train --config-file F --num-gpus 8 --num-machines 2 \\
                            --machine-rank 0 --dist-url tcp://HOST:PORT   (1 on the other machine)
below torchrun          torchrun --nproc-per-node 8 tools/train_net.py --config-file F
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of detectron2's ``train_net.py`` and those of this package."""
    add_run_arguments(parser)
    add = parser.add_argument
    add("--batch-size", type=positive, metavar="N", help="images of all processes in an iteration")
    add("--auto-scale-lr", action="store_true", help="scale rate and iterations to the batch size")
    add("--eval-only", action="store_true", help="only evaluate, as densepose evaluate does")


def add_run_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that training and evaluation share."""
    add_model(parser)
    add_output(parser, "folder of the run, OUTPUT_DIR")
    add = parser.add_argument
    add("--resume", action="store_true", help="use the last valid checkpoint of the folder")
    add = parser.add_argument_group("processes").add_argument
    add("--num-gpus", type=int, default=1, metavar="N", help="GPUs of this machine")
    add("--num-machines", type=int, default=1, metavar="M", help="machines of the run")
    add("--machine-rank", type=int, default=0, metavar="R", help="0 to M - 1, one a machine")
    add("--dist-url", default="auto", metavar="URL", help="where machines meet: tcp://HOST:PORT")
    add("--num-cpu-processes", type=int, default=1, metavar="N", help="processes on the CPU")
    add_config_pairs(parser)


def run(args: Namespace) -> int:
    """Train in as many processes as asked for; returns the exit status."""
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.config import find_config, load_config
    from densepose.engine import launch, run_process

    args.opts = pairs_of(args)
    status = launch(run_process, args)
    if status == 0 and args.machine_rank == 0 and os.environ.get("RANK", "0") == "0":
        from densepose.report.run_page import write_run_page

        path = find_config(args.config_file) if args.config_file else None
        try:
            print(f"Page: {write_run_page(load_config(path, args.opts).OUTPUT_DIR)}")
        except (InputError, OSError) as error:  # the run itself is complete
            print(f"No page: {error}", file=sys.stderr)
    return status
