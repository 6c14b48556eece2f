"""The command line: ``python -m tools.upstream COMMAND --detectron2 CHECKOUT``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from densepose.errors import InputError

from . import bootstrap, evaluator, golden, models, operators, our_side, process, record, report
from . import speed as speeds
from .inputs import Case

EXAMPLES = {
    "models": "--detectron2 ~/detectron2 --keep output/models --report docs/results/upstream.md",
    "evaluator": "--detectron2 ~/detectron2 --sets noisy --images 500",
    "bootstrap": "--detectron2 ~/detectron2",
    "speed": "--detectron2 ~/detectron2 --only inference --only '12 RoIs' --rounds 7",
    "operators": "--seeds 0 1 2 3",
    "record": "--detectron2 ~/detectron2 --only R_50_FPN_DL",
}
INTRODUCTION = """\
# Equality with detectron2's DensePose

The tables are printed by the commands above them. For each chart config of detectron2's DensePose
both packages make the model, fill it with weights that follow from a seed and the names of the
parameters (`tools/upstream/inputs.py`), and get the same images, boxes and annotations. This
package reads the project's own YAML files.

- **maps**: largest absolute difference of the raw outputs of the heads (parts, coarse segmentation,
  U, V, confidences, instance masks); at most 1e-4. **value**: the largest of them, to compare with.
  **CPU operators**: the same with `MODEL.CPU_OPS auto`.
- **labels**: pixels of the decoded people with another part. **UV**: largest step of 1/255 between
  decoded U, V, and how many values differ.
- **losses**: largest relative difference of a loss (all of the detector); **gradients**: length of
  the difference of all gradients relative to their length; both at most 1e-4. **worst**: the same
  of the one parameter tensor where it is largest. These three are computed in float64: in float32 a
  rectifier's gradient jumps where its input is within rounding of zero. All else is float32.
- A checkpoint written here loads strictly in the project's model, with equal values.
- **views**: test-time augmentation of one model. A mirrored view's U and V are read from a table of
  256 x 256 cells: values within rounding of a cell's border may fall into the next cell on one side
  alone, which is what its **maps** show. Turned views deviate on purpose: the project turns maps in
  coordinates normalised by width and height of the box, which shears them unless the box is square
  or the turn is by 90 degrees, and rounds boxes to whole pixels.
"""
_START = time.monotonic()


def main() -> int:
    """Run a command; 0 when everything is equal, 1 when not, 2 for a wrong command line."""
    warnings.filterwarnings("ignore")
    logging.getLogger("densepose").addHandler(logging.NullHandler())
    args = parse_arguments()
    try:
        return args.run(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    """Commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.upstream",
        description="Compare this package with the DensePose of a checkout of detectron2.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        run: Callable[[argparse.Namespace], int], text: str, *, checkout: bool = True
    ) -> argparse.ArgumentParser:
        name = run.__name__.removeprefix("run_")
        one = commands.add_parser(
            name, help=text, epilog=f"example: python -m tools.upstream {name} {EXAMPLES[name]}"
        )
        one.set_defaults(run=run)
        meaning = "checkout of detectron2"
        one.add_argument("--detectron2", type=Path, required=checkout, metavar="DIR", help=meaning)
        return one

    def only(one: argparse.ArgumentParser, what: str) -> None:
        meaning = f"{what} with this in their name; can be repeated [all]"
        one.add_argument("--only", action="append", default=[], metavar="WORD", help=meaning)

    one = command(run_models, "maps, decoded people, losses and gradients of every chart config")
    only(one, "configs")
    one.add_argument("--seed", type=int, default=0, help="of weights and inputs [0]")
    one.add_argument("--report", type=Path, metavar="MD", help="write a document")
    meaning = "keep results here; the same command continues after a stop"
    one.add_argument("--keep", type=Path, metavar="DIR", help=meaning)
    one.add_argument("opts", nargs="*", help="KEY VALUE pairs for both sides")

    one = command(run_evaluator, "every number of both evaluators on generated sets")
    one.add_argument("--sets", nargs="+", default=evaluator.KINDS, choices=evaluator.KINDS)
    one.add_argument("--images", type=int, default=60, help="images of each set [60]")
    one.add_argument("--seed", type=int, default=0, help="of the sets [0]")

    one = command(run_bootstrap, "samples of pseudo-labels, and categories")
    one.add_argument("--seed", type=int, default=0, help="of predictions and files [0]")

    one = command(run_speed, "time and memory, side by side", checkout=False)
    only(one, "rows")
    _add_speed_options(one)

    one = command(
        run_operators, "CPU operators against plain torch, without a checkout", checkout=False
    )
    one.add_argument("--config", default=speeds.R50, help=f"a shipped config [{speeds.R50}]")
    one.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the weights [0]")

    one = command(run_record, "record missing golden files")
    only(one, "files")
    one.add_argument(
        "--output",
        type=Path,
        default=process.ROOT / "tests" / "golden",
        metavar="DIR",
        help="folder of the golden files; delete those to be recorded again [tests/golden]",
    )
    return parser.parse_args()


def _add_speed_options(one: argparse.ArgumentParser) -> None:
    meaning = "another checkout of this project, measured as well"
    one.add_argument("--ours-before", type=Path, metavar="DIR", help=meaning)
    one.add_argument("--device", default="cpu", help="cpu, cuda: only rows that run a model [cpu]")
    one.add_argument("--half", action="store_true", help="train under autocast")
    meaning = "measure the model without each of the CPU operators as well"
    one.add_argument("--each-operator", action="store_true", help=meaning)
    one.add_argument("--quick", action="store_true", help="small models: does it run at all?")
    one.add_argument("--rounds", type=int, default=5, metavar="N", help="runs that count [5]")
    one.add_argument("--warm-up", type=int, default=1, metavar="N", help="runs before them [1]")
    one.add_argument("--output", type=Path, default=Path("output/speed.json"), metavar="JSON")


def run_models(args: argparse.Namespace) -> int:
    """Compare models; print and write the tables."""
    project = process.project_of(args.detectron2)
    names = record.chart_configs(args.detectron2, args.only)
    how = {"seed": args.seed, "opts": args.opts, "keep": args.keep, "progress": progress}
    found, views = models.compare(args.detectron2, names, **how)
    with process.detectron2(args.detectron2) as side:
        shipped = models.shipped_differences(side, names)
    other = {name: keys for name, keys in shipped.items() if keys}
    text = "\n".join(
        [
            INTRODUCTION,
            report.facts_text(project),
            models.tables(found, views),
            "",
            f"{len(shipped)} of the YAML files are shipped here under the same name;"
            f" {len(shipped) - len(other)} have the same value in every key of the project"
            " (but addresses of weights).",
            *(f"- {name} differs in {', '.join(keys)}" for name, keys in other.items()),
            "",
        ]
    )
    print(text)
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(text, encoding="utf-8")
    return 0 if models.passed(found, views) and not other else 1


def run_evaluator(args: argparse.Namespace) -> int:
    """Compare evaluators."""
    text, equal = evaluator.compare(
        args.detectron2, args.sets, images=args.images, seed=args.seed, progress=progress
    )
    print(text)
    return 0 if equal else 1


def run_bootstrap(args: argparse.Namespace) -> int:
    """Compare samplers and categories."""
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as folder:
        bootstrap.write_annotations(Path(folder), args.seed)
        with process.detectron2(args.detectron2) as side:
            want = side.call("bootstrap_samples", folder=folder, seed=args.seed)
        got = json.loads(json.dumps(our_side.bootstrap_samples(Path(folder), args.seed)))
    wrong = golden.bootstrap_differences(got, want)
    print("\n".join(wrong) or f"{len(want)} results are equal but for rounding: {', '.join(want)}")
    return 1 if wrong else 0


def run_speed(args: argparse.Namespace) -> int:
    """Measure; print the table, write all single times."""
    names = ("detectron2", "only", "each_operator", "quick", "rounds", "warm_up")
    names += ("device", "half", "output")
    settings = {name: getattr(args, name) for name in names}
    done = speeds.run(before=args.ours_before, **settings, progress=progress)
    print(speeds.table(done))
    print(f"\nAll times: {args.output}")
    return 0


def run_operators(args: argparse.Namespace) -> int:
    """Compare operators."""
    opts = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.5")
    found = [operators.compare(Case(args.config, opts, seed)) for seed in args.seeds]
    print("\n".join(text for text, _ in found))
    return 0 if all(same for _, same in found) else 1


def run_record(args: argparse.Namespace) -> int:
    """Write golden files."""
    record.record(args.detectron2, args.output, args.only, progress)
    return 0


def progress(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _START:5.0f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
