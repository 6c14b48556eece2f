"""``densepose ablate``: many trainings, one table."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from .parser import add_config_pairs

HELP = "train and score a list of experiments, and write one table"
EXAMPLE = """\
the paper's table on a CPU     densepose ablate --experiments tools/ablate/paper_table_cpu.yaml
all rows from one start        densepose ablate --experiments FILE.yaml MODEL.WEIGHTS start.pth
what would be run              densepose ablate --experiments FILE.yaml --dry-run
some rows, elsewhere           densepose ablate --experiments FILE.yaml --only rcnn --output DIR
the table of what is finished  densepose ablate --experiments FILE.yaml --table-only
An interrupted command goes on where it stopped when it is given again."""


def add_arguments(parser: ArgumentParser) -> None:
    """Which experiments, and where to."""
    add = parser.add_argument
    add("--experiments", required=True, metavar="FILE", help="YAML list of rows")
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of runs and table (default output/ablation/<name of the file>)",
    )
    add("--only", action="append", default=[], metavar="ROW", help="this row; can be repeated")
    add("--dry-run", action="store_true", help="check everything and print the commands")
    add_config_pairs(parser, "config keys of all rows, on top of those of the file")
    add("--table-only", action="store_true", help="write the table of the runs that are finished")


def run(args: Namespace) -> int:
    """Run what is not finished; 1 when a run has failed."""
    # Not at the top: `densepose --help` should not wait for torch and detectron2.
    from densepose.ablation.experiments import chosen, read_experiments
    from densepose.ablation.runs import check_runs, command_lines, run_all
    from densepose.ablation.table import write_table
    from densepose.engine.logs import setup_logging

    experiments = read_experiments(Path(args.experiments), list(args.opts))
    output = args.output or Path("output/ablation") / Path(args.experiments).stem
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
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    print(f"Table: {path} (table.json and rcp.png beside it)")
    return 1 if failed else 0
