"""``densepose make-data``: make a synthetic DensePose-COCO set."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from .parser import add_output

HELP = "make a synthetic DensePose-COCO set of rendered people, no download needed"
EXAMPLE = """\
densepose make-data --output datasets/densepose_synthetic
densepose make-data --output crowd --num-train 500 --num-val 50 --people 2-4 --backgrounds photos/
densepose make-data --output dressed --assets makehuman/ --people 1-10
densepose make-data --output night --camera night --num-train 500   # another domain to fine-tune to
densepose make-data --output sloppy --noise-m 0.04   # annotators 4 cm off, as in the paper"""


def people_range(text: str) -> tuple[int, int]:
    """``1-3`` or ``2`` -> fewest and most people."""
    first, dash, last = text.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise ArgumentTypeError(f"expected a number or FEWEST-MOST such as 1-3, got {text!r}")
    return int(first), int(last or first)


def add_arguments(parser: ArgumentParser) -> None:
    """Where to, how much, and what the scenes are like."""
    add = parser.add_argument
    add_output(
        parser,
        "folder of the set; repeat the command to resume",
        default="datasets/densepose_synthetic",
    )
    add("--seed", type=int, default=0, help="same seed and settings, same bytes")
    add("--num-train", type=int, default=2000, metavar="N", help="training images")
    add("--num-val", type=int, default=200, metavar="N", help="held-out images")
    add("--image-size", type=int, default=320, metavar="PX", help="side of an image")
    add(
        "--workers",
        type=int,
        default=min(os.cpu_count() or 1, 16),
        metavar="N",
        help="processes; the result does not depend on it",
    )
    add(
        "--people",
        type=people_range,
        default="1-3",
        metavar="A-B",
        help="fewest and most people in a scene",
    )
    add(
        "--assets",
        metavar="DIR",
        help="folder of MakeHuman clothes, hair and skins that people wear, of CMU motions (.amc)"
        " and of panoramas (.hdr, .exr) that light them",
    )
    add("--backgrounds", metavar="DIR", help="folder of photos [generated backgrounds]")
    add(
        "--photo-share",
        type=float,
        default=1.0,
        metavar="S",
        help="fraction of the images with a photo of --backgrounds, the others get generated ones",
    )
    add(
        "--empty-share",
        type=float,
        default=0.0,
        metavar="S",
        help="fraction of the images with nobody in them",
    )
    add(
        "--camera",
        choices=("photo", "night"),
        default="photo",
        help="night: grey, grainy pictures in the light of an infrared lamp",
    )
    add(
        "--noise-m",
        type=float,
        default=0.0,
        metavar="M",
        help="how far annotators are off along the surface, metres; in the paper 0.02 to 0.07",
    )


def run(args: Namespace) -> int:
    """Make the set with a progress bar; one line when it is done."""
    from densepose.progress import progress_bar
    from densepose.synthetic import make_synthetic_dataset

    started = time.monotonic()
    first: list[int] = []
    with progress_bar("images") as show:

        def on_progress(done: int, total: int) -> None:
            first.append(done)
            show(done, total)

        made = make_synthetic_dataset(
            args.output,
            seed=args.seed,
            num_train=args.num_train,
            num_val=args.num_val,
            image_size=args.image_size,
            workers=args.workers,
            people=args.people,
            noise_m=args.noise_m,
            backgrounds=args.backgrounds,
            photo_share=args.photo_share,
            camera=args.camera,
            assets=args.assets,
            empty_share=args.empty_share,
            on_progress=on_progress,
        )
    new = args.num_train + args.num_val - first[0]
    seconds = time.monotonic() - started
    total = {
        key: sum(counts[key] for counts in made.counts.values()) for key in ("people", "points")
    }
    print(
        f"{made.root}: {made.counts['train']['images']} training and {made.counts['val']['images']}"
        f" held-out images, {total['people']} people, {total['points']} points;"
        f" {new} images made in {seconds:.0f} s"
    )
    return 0
