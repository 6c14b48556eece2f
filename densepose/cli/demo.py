"""``densepose demo``: data, training, evaluation and a page to look at, with nothing downloaded."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "make synthetic people, train on them, score held-out ones and show it all on a page"
EXAMPLE = """\
densepose demo
densepose demo --minutes 30 --num-train 4000 --output output/longer
densepose demo --seed 1 --output output/seed1"""


def add_arguments(parser: ArgumentParser) -> None:
    """How long, how much, and where to."""
    add = parser.add_argument
    add(
        "--output",
        "--out",
        default="output/demo",
        metavar="DIR",
        help="folder of everything; an interrupted run goes on (default output/demo)",
    )
    add(
        "--minutes",
        type=float,
        default=9.5,
        metavar="M",
        help="time of the training alone (default 9.5); the schedule fits itself to it",
    )
    add("--num-train", type=int, default=1600, metavar="N", help="training images (default 1600)")
    add("--num-val", type=int, default=100, metavar="N", help="held-out images (default 100)")
    add("--seed", type=int, default=0, help="of data and training (default 0)")
    add(
        "--config-file",
        default="",
        metavar="FILE",
        help="another config (default: synthetic/efficientnet_lite0_fpn_cpu.yaml)",
    )


def run(args: Namespace) -> int:
    """Run the stages one after another; the last line says where the page is."""
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.demo import DemoSettings, run_demo

    page = run_demo(
        DemoSettings(
            folder=args.output,
            minutes=args.minutes,
            num_train=args.num_train,
            num_val=args.num_val,
            seed=args.seed,
            config_file=args.config_file,
        )
    )
    if page is None:
        return 1
    print(f"Done: open {page}")
    return 0
