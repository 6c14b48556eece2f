"""``densepose check-data``: look for mistakes in a file of annotations."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

HELP = "check an annotation file of your own before training on it"
EXAMPLE = """\
densepose check-data my_train.json --images my_images/
densepose check-data my_train.json --json > findings.json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the file, the folder of its images and the form of the answer."""
    parser.add_argument("annotations", help="JSON file in the format of DensePose-COCO")
    parser.add_argument(
        "--images", metavar="DIR", help="folder of its images [images are not checked]"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: Namespace) -> int:
    """Print what was found; 1 if something in the file cannot be used."""
    # Not at the top: `densepose --help` should not wait for detectron2.
    from densepose.data.coco import check_annotations
    from densepose.progress import progress_bar

    with progress_bar("open images") as show:
        report = check_annotations(
            args.annotations, args.images, lambda more, total: show(total=total, more=more)
        )
    print(json.dumps(report.to_dict(), indent=2) if args.json else report.summary())
    return 1 if report.errors else 0
