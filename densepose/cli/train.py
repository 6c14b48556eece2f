"""``densepose train``: train a model described by a config file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .parser import add_config_pairs

HELP = "train a model from a config file, or evaluate it with --eval-only"
EXAMPLE = """\
one GPU or the CPU      densepose train --config-file configs/densepose_rcnn_R_50_FPN_s1x.yaml
8 GPUs                  densepose train --config-file F --num-gpus 8
smaller batch           densepose train --config-file F SOLVER.IMS_PER_BATCH 4 --auto-scale-lr
resume after a stop     densepose train --config-file F OUTPUT_DIR output/x --resume
scores of a model       densepose train --config-file F --eval-only MODEL.WEIGHTS model_final.pth
2 processes on CPU      densepose train --config-file F --num-cpu-processes 2
2 machines              densepose train --config-file F --num-gpus 8 --num-machines 2 \\
                            --machine-rank 0 --dist-url tcp://HOST:PORT   (1 on the other machine)
below torchrun          torchrun --nproc-per-node 8 tools/train_net.py --config-file F
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of detectron2's ``train_net.py`` and ``--num-cpu-processes``."""
    add_run_arguments(parser)
    parser.add_argument(
        "--eval-only", action="store_true", help="no training: score MODEL.WEIGHTS on DATASETS.TEST"
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale learning rate and iterations from SOLVER.REFERENCE_BATCH_SIZE to IMS_PER_BATCH",
    )


def add_run_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that training and evaluation share."""
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML file of the run")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last valid checkpoint in OUTPUT_DIR"
    )
    add = parser.add_argument_group("processes").add_argument
    add("--num-gpus", type=int, default=1, metavar="N", help="GPUs of this machine")
    add("--num-machines", type=int, default=1, metavar="M")
    add(
        "--machine-rank",
        type=int,
        default=0,
        metavar="R",
        help="0 to M - 1, another on each machine",
    )
    add(
        "--dist-url",
        default="auto",
        metavar="URL",
        help="where the machines meet: tcp://HOST:PORT; not needed on one machine",
    )
    add(
        "--num-cpu-processes",
        type=int,
        default=1,
        metavar="N",
        help="train with N processes on the CPU instead of GPUs",
    )
    add_config_pairs(parser)


def run(args: Namespace) -> int:
    """Train (or evaluate) in as many processes as asked for; returns the exit status."""
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.engine import launch, run_process

    return launch(run_process, args)
