"""The command line: ``python -m tools.upstream COMMAND --detectron2 CHECKOUT``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

from . import process, record

EXAMPLE = """\
examples:
  python -m tools.upstream record --detectron2 ~/detectron2 --only R_50_FPN_DL"""


def main() -> int:
    """Run a command; 0 when everything is equal, 1 when not, 2 for a wrong command line."""
    warnings.filterwarnings("ignore")
    logging.getLogger("densepose").addHandler(logging.NullHandler())
    args = parse_arguments()
    try:
        return args.run(args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    """Commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.upstream",
        description="Compare this package with the DensePose of a checkout of detectron2.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("record", help="record missing golden files")
    command.set_defaults(run=run_record)
    command.add_argument(
        "--detectron2", type=Path, required=True, metavar="DIR", help="checkout of detectron2"
    )
    command.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="files with this in their name"
    )
    command.add_argument(
        "--output",
        type=Path,
        default=process.ROOT / "tests" / "golden",
        metavar="DIR",
        help="folder of the golden files; delete those to be recorded again [tests/golden]",
    )
    return parser.parse_args()


def run_record(args: argparse.Namespace) -> int:
    """Write golden files."""
    record.record(args.detectron2, args.output, args.only, progress)
    return 0


_START = time.monotonic()


def progress(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _START:5.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
