"""``densepose report``: the page of a training or an evaluation."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "make the page of a run: curves, scores and pictures"
EXAMPLE = """\
densepose report output/mine
densepose report output/after --before output/before    # scores and pictures of both
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the folders."""
    parser.add_argument("folder", metavar="DIR", help="OUTPUT_DIR of a training or an evaluation")
    parser.add_argument(
        "--before", action="append", default=[], metavar="DIR", help="of an earlier run, to compare"
    )


def run(args: Namespace) -> int:
    """Write the page, and print where it is."""
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.report.run_page import write_run_page

    print(f"Page: {write_run_page(args.folder, *args.before)}")
    return 0
