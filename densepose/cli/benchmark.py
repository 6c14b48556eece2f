"""``densepose benchmark``: time and memory, with and without the CPU operators."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "measure time and memory against plain torch, and against detectron2's DensePose"
EXAMPLE = """\
densepose benchmark --quick
densepose benchmark --detectron2 PATH_OF_A_CHECKOUT --output output/benchmark.json
densepose benchmark --only inference --only "12 RoIs" --rounds 7
densepose benchmark --device cuda --half --detectron2 PATH_OF_A_CHECKOUT   # models on a GPU"""


def add_arguments(parser: ArgumentParser) -> None:
    """What to measure and how often."""
    add = parser.add_argument
    add("--detectron2", type=Path, metavar="DIR", help="checkout of detectron2 to measure as well")
    add(
        "--only",
        action="append",
        default=[],
        metavar="STAGE",
        help="cases with this in their name: inference, training, demo, loading, chart output,"
        " evaluation, surface, 20 people ...; can be repeated",
    )
    add("--device", default="cpu", help="cpu (default), cuda: only the cases that run a model")
    add("--half", action="store_true", help="train under autocast (float16 on a GPU)")
    add("--quick", action="store_true", help="small models and images: does it run at all?")
    add("--rounds", type=int, default=5, metavar="N", help="runs that count (default 5)")
    add("--warm-up", type=int, default=1, metavar="N", help="runs before them (default 1)")
    add(
        "--output",
        type=Path,
        default=Path("output/benchmark.json"),
        metavar="JSON",
        help="file of all single times (default output/benchmark.json)",
    )


def run(args: Namespace) -> int:
    """Measure, print the table, write the file."""
    # Not at the top: `densepose --help` should not wait for torch.
    from densepose.benchmark import report
    from densepose.benchmark.run import run_benchmark

    settings = {
        name: getattr(args, name) for name in ("quick", "rounds", "warm_up", "device", "half")
    }
    measurements = run_benchmark(
        detectron2=args.detectron2,
        only=args.only,
        **settings,
        # A benchmark that is stopped keeps the cases it has measured.
        after_each=lambda done: report.write_json(args.output, done, **settings),
        tell=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(report.table(measurements))
    print(f"\nAll times: {args.output}")
    return 0
