"""``densepose annotate``: body parts and surface points by hand, in the browser."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .parser import add_config_pairs, add_model, add_output, fraction, positive

HELP = "annotate photos in the browser: parts, then points on the body surface"
EXAMPLE = """\
densepose annotate photos/ --output my.json
densepose annotate photos/ --output my.json --boxes model --parts model  # correct the model's parts
densepose annotate photos/ --output my.json --test 5 --overlap 0.1     # how well do we annotate?
densepose annotate photos/ --output my.json --report                   # the answer, without pages
densepose annotate dogs/ --output dogs.json --surface dog.npz"""


def add_arguments(parser: ArgumentParser) -> None:
    """Which photos, what there is to start from, and how many points."""
    add = parser.add_argument
    add("images", type=Path, metavar="IMAGES", help="folder of photos")
    add_output(
        parser,
        "file of annotations; every click is in FILE.log, repeat the command to resume",
        metavar="FILE",
        type=Path,
        default=Path("annotations.json"),
    )
    add(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="file in the form of DensePose-COCO to correct or continue [none]",
    )
    add("--boxes", metavar="FILE|model", help="boxes of people: COCO file, or found by the model")
    add("--parts", choices=("model",), help="start from the parts that the model finds")
    add("--surface", default="template", metavar="NPZ", help="file of densepose build-surface")
    add("--points", type=positive, default=14, metavar="N", help="most points of a region")
    add(
        "--overlap",
        type=fraction,
        default=0.0,
        metavar="S",
        help="fraction of people whose points all annotators place, to measure their agreement",
    )
    add(
        "--test",
        type=positive,
        default=0,
        metavar="N",
        help="mix in N rendered images with known truth, to measure errors",
    )
    add("--report", action="store_true", help="write the file, print the measures and stop")
    add("--port", type=int, default=0, help="port on this machine, 0 for a free one")
    add("--no-browser", action="store_true", help="only print the address")
    add_model(parser, "file, or name of a released model [those of the package]")
    add_config_pairs(parser, "config keys that replace those of the model")


def run(args: Namespace) -> int:
    """Serve the pages until Ctrl-C; the last line says what the file holds."""
    from densepose.annotate.session import Options, annotate
    from densepose.engine.logs import setup_logging

    setup_logging(None)
    tests = args.output.with_suffix(".test")
    if args.test:
        _render(tests, args.test)
    options = Options(
        images=args.images,
        output=args.output,
        annotations=args.annotations,
        boxes=args.boxes or "",
        surface=args.surface,
        points=args.points,
        overlap=args.overlap,
        tests=tests if tests.is_dir() else None,
        port=args.port,
        open_browser=not args.no_browser,
        report=args.report,
    )
    load_model = None
    if args.boxes == "model" or args.parts == "model":

        def load_model():  # noqa: ANN202  the model is only loaded where a page needs it
            from densepose.prediction.model import load

            pairs = dict(zip(args.opts[::2], args.opts[1::2], strict=True))
            return load(args.weights, args.config_file, pairs, device=args.device)

    print(annotate(options, load_model, regions_from_model=args.parts == "model"))
    return 0


def _render(folder: Path, count: int) -> None:
    """Make a synthetic set of ``count`` images of one person each."""
    from densepose.progress import progress_bar
    from densepose.synthetic import make_synthetic_dataset

    with progress_bar("test images") as show:
        make_synthetic_dataset(
            folder,
            seed=2018,
            num_train=count,
            num_val=0,
            image_size=512,
            people=(1, 1),
            on_progress=show,
        )
