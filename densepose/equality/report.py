"""The table for people, the file for programs."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .compare import Equality
from .kept import sources_digest, versions
from .run import Findings
from .views import TurnError, ViewEquality

INTRODUCTION = """\
# Equality with detectron2's DensePose

Written by the command below; not edited by hand. For each chart config of detectron2's DensePose
the project's own model makes random weights, this package's model loads them with `strict=True`,
and both get the same images, boxes and annotations. (Random norms do something, and the predictor's
weights are scaled by 0.3: fresh ones give outputs several times as large as trained ones.)

- **maps**: largest absolute difference of the raw outputs of the heads (parts, coarse segmentation,
  U, V, confidences, instance masks); at most 1e-4. **value**: the largest of them, to compare with.
  **CPU operators**: the same with `MODEL.CPU_OPS auto`.
- **labels**: pixels of the decoded people with another part. **UV**: largest step of 1/255 between
  decoded U, V, and how many values differ.
- **losses**: largest relative difference of a loss (all of the detector); **gradients**: length of
  the difference of all gradients relative to their length; both at most 1e-4. **worst**: the same
  of the one parameter tensor where it is largest. The batch has two images, two people and one.
  These three are computed in float64: in float32 a rectifier's gradient jumps where its input is
  within rounding of zero, and that alone gave up to 1e-3 here. All else is float32.
- **back**: a checkpoint written here loads strictly in the project's model, with equal values.
"""


def table(equalities: Sequence[Equality]) -> str:
    """Markdown: one line for each model."""
    head = ("config", "tensors", "maps", "value", "CPU operators", "labels", "UV", "losses")
    rows = [(*head, "gradients", "worst", "back", "equal")]
    for e in equalities:
        rows.append(
            (
                e.config,
                str(e.tensors),
                f"{e.map_difference:.1e}",
                f"{e.largest_value:.3g}",
                f"{e.accelerated:.1e}",
                f"{e.labels_differ} of {e.labels}",
                f"{e.uv_steps} ({e.uv_differ})",
                f"{e.loss_relative:.1e}",
                f"{e.gradient_relative:.1e}",
                f"{e.gradient_worst:.1e}",
                _yes(e.loads_there),
                _yes(e.passed),
            )
        )
    return _markdown(rows)


def views_table(views: Sequence[ViewEquality]) -> str:
    """Markdown: one line for each choice of views."""
    rows = [("views", "boxes, px", "maps", "above 1e-4", "labels", "UV", "equal")]
    for v in views:
        rows.append(
            (
                v.views,
                f"{v.boxes:.1e}",
                f"{v.maps:.1e}",
                f"{100 * v.above_limit:.2g} %",
                f"{v.labels_differ} of {v.labels}",
                f"{v.uv_steps} ({v.uv_differ})",
                "deviates, see below" if v.expected_to_differ else _yes(v.passed),
            )
        )
    return _markdown(rows)


def turns_table(turns: Sequence[TurnError]) -> str:
    """Markdown: one line for each angle and box."""
    rows = [("turn", "box, px", "here", "detectron2's DensePose")]
    for t in turns:
        box = " x ".join(f"{extent:g}" for extent in t.box)
        rows.append((f"{t.angle} degrees", box, f"{t.ours:.1g}", f"{t.theirs:.2f}"))
    return _markdown(rows)


def report(findings: Findings, facts: Mapping[str, Any]) -> str:
    """The whole document."""
    parts = [INTRODUCTION, _facts_text(facts), "## Models\n", table(findings.equalities), ""]
    doubles = [e for e in findings.equalities if e.same_models]
    if doubles:
        parts += ["Of the same model, so measured once:\n"]
        parts += [f"- {e.config}: {', '.join(e.same_models)}" for e in doubles] + [""]
    if findings.views:
        parts += ["## Test-time augmentation\n", views_table(findings.views), "", VIEWS_NOTE]
        parts += [turns_table(findings.turns), ""]
    parts += ["## Configs\n", _configs_text(findings)]
    return "\n".join(parts)


VIEWS_NOTE = """\
One model with random weights, `densepose_rcnn_R_50_FPN_s1x`. A mirrored view's U and V are read
from a table of 256 x 256 cells (here a smooth one in place of the official file): values within
rounding of a cell's border may fall into the next cell on one side alone, which is what **maps**
shows. Turned views deviate on purpose: the project turns maps in coordinates normalised by width
and height of the box, which shears them unless the box is square or the turn is by 90 degrees, and
rounds boxes to whole pixels; this package reads every cell where it lies. Largest error of bringing
back maps whose cells know their place, in px of the image:
"""


def _configs_text(findings: Findings) -> str:
    lines = []
    trained = findings.two_iterations
    if trained:
        lines.append(
            f"{len(trained)} YAML files of the project load unchanged and train two iterations"
            " (real backbones, narrow heads, generated images of 128 px; finite losses and"
            " gradients): "
            + ", ".join(f"{name} ({a:.3g}, {b:.3g})" for name, (a, b) in trained.items())
            + ". In brackets the total losses.\n"
        )
    differing = {name: keys for name, keys in findings.shipped.items() if keys}
    lines.append(
        f"{len(findings.shipped)} of them are shipped here under the same name;"
        f" {len(findings.shipped) - len(differing)} have the same value in every key (but"
        " SOLVER.REFERENCE_BATCH_SIZE, a key of this package, and addresses of weights)."
    )
    lines += [f"- {name} differs in {', '.join(keys)}" for name, keys in differing.items()]
    return "\n".join(lines) + "\n"


def facts_of(project: Path, commit: str | None) -> dict[str, Any]:
    """Date, command, versions, and what checkout this was."""
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", *(_short(word) for word in sys.argv)]),
        "commit": commit,
        "checkout_sha256": sources_digest(project / "densepose"),
        "python": platform.python_version(),
        "versions": versions(),
    }


def _short(word: str) -> str:
    """A path without the folders that say something about this machine alone."""
    path = Path(word)
    return path.name if path.is_absolute() else word


def _facts_text(facts: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"Measured {facts['when']} at commit {facts['commit']}, Python {facts['python']},"
        f" {packages}. The checkout's `projects/DensePose/densepose/**/*.py` have the joint sha256"
        f" `{facts['checkout_sha256'][:16]}`; its models ran on the installed detectron2.\n\n"
        f"    {facts['command']}\n"
    )


def write_report(text: str, findings: Findings, facts: Mapping[str, Any], path: Path) -> Path:
    """Write the Markdown file and, beside it, the same as JSON; returns the path of the latter."""
    content = {
        **facts,
        "models": [equality.to_json() for equality in findings.equalities],
        "views": [view.to_json() for view in findings.views],
        "turns": [asdict(turn) for turn in findings.turns],
        "two_iterations": findings.two_iterations,
        "shipped": findings.shipped,
    }
    numbers = path.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, words in ((path, text), (numbers, json.dumps(content, indent=1) + "\n")):
        part = file.with_name(f".{file.name}.part")
        part.write_text(words, encoding="utf-8")
        os.replace(part, file)
    return numbers


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
