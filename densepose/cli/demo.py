"""``densepose demo``: new people, scores before and after a training on them, a page to look at."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "teach the shipped weights the look of a night camera, show before and after on a page"
EXAMPLE = """\
densepose demo
densepose demo --minutes 30 --num-train 4000 --output output/longer
densepose demo --from-scratch --output output/scratch   # from ImageNet weights, 9.5 minutes
densepose demo --seed 1 --output output/seed1"""
MINUTES, NUM_TRAIN = (4.0, 9.5), (600, 1600)  # from the shipped weights, from scratch


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
        metavar="M",
        help="time of the training alone (default {:g}, from scratch {:g}); the schedule fits"
        " itself to it".format(*MINUTES),
    )
    add(
        "--num-train",
        type=int,
        metavar="N",
        help="training images (default {}, from scratch {})".format(*NUM_TRAIN),
    )
    add("--num-val", type=int, default=100, metavar="N", help="held-out images (default 100)")
    add("--seed", type=int, default=0, help="of data and training (default 0)")
    add(
        "--from-scratch",
        action="store_true",
        help="start from ImageNet weights instead of those of the package",
    )
    add(
        "--camera",
        choices=("photo", "night"),
        help="look of the images, see make-data (default night, from scratch photo)",
    )
    add(
        "--config-file",
        default="",
        metavar="FILE",
        help="another config (default: cpu/fine_tune.yaml, from scratch cpu/densepose_rcnn.yaml)",
    )


def run(args: Namespace) -> int:
    """Run the stages one after another; the last line says where the page is."""
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.demo import DemoSettings, change_text, run_demo

    scratch = args.from_scratch
    settings = DemoSettings(
        folder=args.output,
        minutes=MINUTES[scratch] if args.minutes is None else args.minutes,
        num_train=NUM_TRAIN[scratch] if args.num_train is None else args.num_train,
        num_val=args.num_val,
        seed=args.seed,
        config_file=args.config_file,
        weights="" if scratch else "shipped://",
        camera=args.camera or ("photo" if scratch else "night"),
    )
    page = run_demo(settings)
    if page is None:
        return 1
    print(f"{change_text(settings)}\nDone: open {page}")
    return 0
