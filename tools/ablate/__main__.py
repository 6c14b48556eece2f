"""The command line: ``python -m tools.ablate EXPERIMENTS.yaml``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from densepose.engine.logs import quiet_libraries, setup_logging
from densepose.errors import InputError

EXAMPLES = """\
examples:
  python -m tools.ablate tools/ablate/paper_table_cpu.yaml             the paper's table on a CPU
  python -m tools.ablate FILE.yaml MODEL.WEIGHTS start.pth             all rows from one start
  python -m tools.ablate FILE.yaml --only rcnn --output DIR --dry-run  what would be run
The same command resumes after an interruption. docs/ablation.md explains the YAML file."""


def main() -> int:
    """Run what is not finished; 1 when a run has failed, 2 for a wrong list, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.ablate",
        description="Train and score a list of experiments, and write one table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("experiments", type=Path, metavar="FILE", help="YAML list of rows")
    add("opts", nargs="*", metavar="KEY VALUE", help="config keys of all rows, above those of FILE")
    meaning = "folder of runs and table [output/ablation/<name of the file>]"
    add("--output", type=Path, metavar="DIR", help=meaning)
    add("--only", action="append", default=[], metavar="ROW", help="this row; can be repeated")
    add("--dry-run", action="store_true", help="check everything and print the commands")
    add("--table-only", action="store_true", help="write the table of the runs that are finished")
    args = parser.parse_intermixed_args()
    try:
        return ablate(args)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        return 130


def ablate(args: argparse.Namespace) -> int:
    """Run the rows and write the table."""
    quiet_libraries()  # before detectron2 is imported
    from .experiments import chosen, read_experiments
    from .runs import check_runs, command_lines, run_all
    from .table import write_table

    experiments = read_experiments(args.experiments, args.opts)
    output = args.output or Path("output/ablation") / args.experiments.stem
    rows = chosen(experiments, args.only)
    if args.dry_run:
        check_runs(experiments, rows, output)
        print("\n".join(command_lines(experiments, rows, output)))
        return 0
    failed: list[str] = []
    if not args.table_only:
        setup_logging(None)
        table = partial(write_table, experiments, output)
        failed = run_all(experiments, rows, output, after_each=table)
    path = write_table(experiments, output)
    print(path.read_text(encoding="utf-8"))
    print("".join(f"failed: {line}\n" for line in failed), end="", file=sys.stderr)
    print(f"Table: {path} (table.json and rcp.png beside it)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
