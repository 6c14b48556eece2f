"""``densepose fetch``: the released models, and their files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "list the released models, or fetch the weights of some"
EXAMPLE = """\
which there are       densepose fetch
get some              densepose fetch R_50_FPN_s1x R_50_FPN_DL_WC1M_s1x
compare hashes again  densepose fetch --verify
use one               densepose evaluate --config-file densepose_rcnn_R_50_FPN_s1x MODEL.WEIGHTS zoo://R_50_FPN_s1x
"""
PIPE_WIDTH = 120  # characters of a line where no terminal tells its width


def add_arguments(parser: ArgumentParser) -> None:
    """Add names and what to do with them."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="models to fetch; without any, all are listed")
    add(
        "--verify",
        action="store_true",
        help="compare files that are there (all, or those named) with the hash they came with",
    )


def run(args: Namespace) -> int:
    """List, fetch or verify; returns the exit status."""
    from densepose.model_zoo import MODELS, fetch, find, local_file, verify

    models = [find(name) for name in args.names]
    if args.verify:
        here = models or [model for model in MODELS if local_file(model)]
        for model in here:
            print(f"{model.name}: unchanged, sha256 {verify(model)}")
        print(f"{len(here)} files compared")
        return 0
    if not models:
        print_models()
        return 0
    for model in models:
        path = fetch(model.name, say=print)
        print(f"{model.name}: {path}")
    return 0


def print_models() -> None:
    """A table of all released models and where their files are."""
    from rich.console import Console
    from rich.table import Table

    from densepose.model_zoo import MODELS, local_file

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("box AP", "mask AP", "GPS AP", "GPSm AP", "s/iteration", "s/image"):
        table.add_column(title, justify="right")
    table.add_column("here")
    for model in MODELS:
        figures = (model.box_ap, model.mask_ap, model.gps_ap, model.gpsm_ap)
        table.add_row(
            model.name,
            *(_text(value, 1) for value in figures),
            _text(model.train_seconds_per_iteration, 3),
            _text(model.test_seconds_per_image, 3),
            "yes" if local_file(model) else "",
        )
    console.print(table)
    licences = sorted({f"{model.licence} ({model.licence_url})" for model in MODELS})
    console.print(
        "Figures are the release's own: of DensePose-COCO minival, of DensePose-Chimps for the last"
        f" five.\nLicence of the weights: {', '.join(licences)}"
    )


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
