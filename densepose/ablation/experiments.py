"""The list of experiments: one YAML file, checked before anything is started.

    TITLE: What the table is about
    BUDGET: {MINUTES: 30}          # of training, for every run alike; or {ITERATIONS: 2000}
    SEEDS: [0, 1, 2]               # for every row that names none of its own
    OPTIONS: {KEY: VALUE, ...}     # config keys of all rows
    ROWS:
      - NAME: cascade              # of a folder
        TITLE: cascade, DensePose  # in the table; NAME when left out
        CONFIG: cascade.yaml       # beside this file, or a config that comes with the package
        OPTIONS: {KEY: VALUE}      # on top of those of all rows
        ITERATIONS: 1800           # of this row, where BUDGET is of iterations
        SEEDS: [0]
        OVER: plain                # the table tells the difference to this row, seed by seed
        BEFORE:                    # commands of densepose that this row needs; run once
          - [inpaint, --out, "{output}/inpainted"]

``{output}`` in OPTIONS and BEFORE is the folder of the table, ``{seed}`` in OPTIONS the seed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detectron2.config import CfgNode

from densepose.config import check_config, find_config, load_config

_TOP = {"TITLE", "BUDGET", "SEEDS", "OPTIONS", "ROWS"}
_ROW = {"NAME", "TITLE", "CONFIG", "OPTIONS", "ITERATIONS", "SEEDS", "OVER", "BEFORE"}
# Never reached: the time ends the training.
_NO_LIMIT = 10**7


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    config: str  # path, or name of a config that comes with the package
    options: Mapping[str, Any]
    seeds: tuple[int, ...]
    iterations: int = 0  # 0: those of the budget
    over: str = ""
    before: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Experiments:
    """All lines, and what they share."""

    source: str
    title: str
    budget: Mapping[str, float]  # MINUTES or ITERATIONS
    options: Mapping[str, Any]
    rows: tuple[Row, ...]

    def pairs(self, row: Row, seed: int, output: Path) -> list[str]:
        """``KEY VALUE ...`` of one run, behind its config file; OUTPUT_DIR is the last."""
        if "MINUTES" in self.budget:
            budget = {"SOLVER.MAX_MINUTES": self.budget["MINUTES"], "SOLVER.MAX_ITER": _NO_LIMIT}
        else:
            iterations = row.iterations or self.budget["ITERATIONS"]
            budget = {"SOLVER.MAX_ITER": iterations, "SOLVER.MAX_MINUTES": 0.0}
        keys = {**self.options, **row.options, **budget, "SEED": seed}
        folder = run_folder(output, row, seed)
        words = [word for pair in keys.items() for word in map(str, pair)]
        words = [w.replace("{output}", str(output)).replace("{seed}", str(seed)) for w in words]
        return [*words, "OUTPUT_DIR", str(folder)]

    def config(self, row: Row, seed: int, output: Path) -> CfgNode:
        """The config of one run, checked.

        Raises:
            KeyError: an unknown key.
            ValueError: a contradiction.
        """
        try:
            cfg = load_config(find_config(row.config), self.pairs(row, seed, output))
            check_config(cfg)
        except (KeyError, ValueError, OSError) as error:
            text = error.args[0] if isinstance(error, KeyError) else error
            raise ValueError(f"{self.source}: row {row.name!r}: {text}") from error
        return cfg


def run_folder(output: Path, row: Row, seed: int) -> Path:
    """OUTPUT_DIR of one run."""
    return output / row.name / f"seed{seed}"


def read_experiments(path: str | os.PathLike[str], pairs: Sequence[str] = ()) -> Experiments:
    """Read and check a file; configs are not loaded yet.

    Args:
        path: of the YAML file.
        pairs: KEY, VALUE, KEY, VALUE ... on top of the OPTIONS of all rows.

    Raises:
        FileNotFoundError: the file or a config is missing.
        ValueError: an entry is missing, unknown or of a wrong kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of experiments")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable as plain YAML ({error})") from error
    _check_entries(content, _TOP, {"BUDGET", "ROWS"}, str(path))
    if not isinstance(content["ROWS"], list) or not content["ROWS"]:
        raise ValueError(f"{path}: ROWS must be a list with at least one row")
    seeds = _seeds(content.get("SEEDS", [0]), str(path))
    if len(pairs) % 2:
        raise ValueError(f"expected KEY VALUE pairs, got {len(pairs)} words: {' '.join(pairs)}")
    added = _options(dict(zip(pairs[::2], pairs[1::2], strict=True)), "command line")
    rows = tuple(_row(entry, seeds, path, k) for k, entry in enumerate(content["ROWS"], start=1))
    _check_names(rows, str(path))
    budget = _budget(content["BUDGET"], str(path))
    timed = [row.name for row in rows if row.iterations and "MINUTES" in budget]
    if timed:
        raise ValueError(
            f"{path}: row {timed[0]!r} gives ITERATIONS, but BUDGET is of minutes; give BUDGET"
            " {ITERATIONS: n} for the other rows, or leave the row's out"
        )
    return Experiments(
        source=str(path),
        title=str(content.get("TITLE", path.stem)),
        budget=budget,
        options={**_options(content.get("OPTIONS"), str(path)), **added},
        rows=rows,
    )


def chosen(experiments: Experiments, names: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names, in the order of the file; all for no name.

    Raises:
        ValueError: there is no row of a name.
    """
    known = [row.name for row in experiments.rows]
    for name in names:
        if name not in known:
            raise ValueError(f"{experiments.source}: no row {name!r}; it has {', '.join(known)}")
    return tuple(row for row in experiments.rows if not names or row.name in names)


def _row(entry: Any, seeds: tuple[int, ...], path: Path, number: int) -> Row:
    where = f"{path}: row {number}"
    _check_entries(entry, _ROW, {"NAME", "CONFIG"}, where)
    name = str(entry["NAME"])
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(
            f"{where}: NAME {name!r} becomes a folder: use letters, digits, '_', '-', '+', '.'"
        )
    where = f"{path}: row {name!r}"
    before = entry.get("BEFORE", [])
    if not all(isinstance(command, list) and command for command in before):
        raise ValueError(f"{where}: BEFORE must be a list of commands, each a list of words")
    iterations = entry.get("ITERATIONS", 0)
    if "ITERATIONS" in entry and (type(iterations) is not int or iterations < 1):
        raise ValueError(f"{where}: ITERATIONS must be a whole number from 1, got {iterations!r}")
    config = str(entry["CONFIG"])
    if (path.parent / config).is_file():
        config = str(path.parent / config)
    try:
        find_config(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: {error}") from error
    return Row(
        name=name,
        title=str(entry.get("TITLE", name)),
        config=config,
        options=_options(entry.get("OPTIONS"), where),
        seeds=_seeds(entry["SEEDS"], where) if "SEEDS" in entry else seeds,
        iterations=iterations,
        over=str(entry.get("OVER", "")),
        before=tuple(tuple(map(str, command)) for command in before),
    )


def _check_entries(content: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected a mapping, got {type(content).__name__}")
    for key in needed - content.keys():
        raise ValueError(f"{where}: {key} is missing")
    for key in content.keys() - known:
        raise ValueError(f"{where}: unknown entry {key!r}; known are {', '.join(sorted(known))}")


def _check_names(rows: Sequence[Row], where: str) -> None:
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where}: two rows are called {name!r}")
    for row in rows:
        if row.over and (row.over not in names or row.over == row.name):
            raise ValueError(f"{where}: row {row.name!r}: OVER names no other row: {row.over!r}")


def _budget(value: Any, where: str) -> dict[str, float]:
    one = isinstance(value, dict) and len(value) == 1 and set(value) <= {"MINUTES", "ITERATIONS"}
    if not one or not all(isinstance(v, (int, float)) and v > 0 for v in value.values()):
        raise ValueError(
            f"{where}: BUDGET must be {{MINUTES: m}} or {{ITERATIONS: n}}, above 0, got {value!r}"
        )
    if "ITERATIONS" in value:
        return {"ITERATIONS": int(value["ITERATIONS"])}
    return {"MINUTES": float(value["MINUTES"])}  # the key's type; 30 would be refused


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if not whole or not value or len(set(value)) < len(value):
        raise ValueError(f"{where}: SEEDS must be different whole numbers from 0, got {value!r}")
    return tuple(value)


def _options(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or any(isinstance(v, dict) for v in value.values()):
        raise ValueError(
            f"{where}: OPTIONS must map full config keys to values, as SOLVER.BASE_LR: 0.001"
        )
    taken = {"SEED", "OUTPUT_DIR", "SOLVER.MAX_ITER", "SOLVER.MAX_MINUTES"} & value.keys()
    if taken:
        raise ValueError(f"{where}: OPTIONS must not set {sorted(taken)[0]}: use BUDGET and SEEDS")
    return dict(value)
