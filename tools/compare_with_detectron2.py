#!/usr/bin/env python
"""Measure how far this package's models are from detectron2's DensePose; train its configs.

    python tools/compare_with_detectron2.py --detectron2 PATH_OF_A_CHECKOUT

runs every chart config of the checkout (configs/, HRNet/, evolution/, quick_schedules/) and prints
a table; ``--report docs/equality_with_detectron2.md`` writes it with date and versions, and a JSON
file beside it. With ``--keep DIR`` it can be stopped and goes on later. The status is 1 when a
config is out of the limits.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    """Compare, print, write."""
    args = parse_arguments()
    from densepose.benchmark.report import commit_of_sources
    from densepose.equality import report
    from densepose.equality.configs import chart_configs, project_of
    from densepose.equality.run import run_comparison

    warnings.filterwarnings("ignore")
    logging.getLogger("densepose").addHandler(logging.NullHandler())
    start = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {text}", file=sys.stderr, flush=True)

    try:
        project = project_of(args.detectron2)
        names = chart_configs(project, args.only)
        findings = run_comparison(
            args.detectron2, names, seed=args.seed, opts=args.opts, keep=args.keep, tell=tell
        )
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    facts = report.facts_of(project, commit_of_sources())
    text = report.report(findings, facts)
    print(text)
    if args.report:
        numbers = report.write_report(text, findings, facts, args.report)
        print(f"Written: {args.report} and {numbers}", file=sys.stderr)
    passed = all(part.passed for part in (*findings.equalities, *findings.views))
    return 0 if passed and not any(findings.shipped.values()) else 1


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--detectron2", required=True, type=Path, metavar="DIR", help="checkout of detectron2")
    add(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="configs with this in their name, for example R_50_FPN_DL; can be repeated",
    )
    add("--seed", type=int, default=0, help="of weights and inputs (default 0)")
    add("--report", type=Path, metavar="MD", help="write the table here and a JSON file beside it")
    add(
        "--keep",
        type=Path,
        metavar="DIR",
        help="write each config's results here; the same command later goes on where it stopped",
    )
    add("opts", nargs="*", help="KEY VALUE pairs for both sides, for example a narrower head")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
