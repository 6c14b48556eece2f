"""The list of experiments: one YAML file, checked before anything is started (docs/ablation.md).

``{output}`` in OPTIONS and BEFORE is the folder of the table, ``{seed}`` in OPTIONS the seed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from detectron2.config import CfgNode

from densepose.config import check_config, find_config, load_config
from densepose.errors import InputError

# Never reached: the time ends the training.
_NO_LIMIT = 10**7
Seeds = Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1)]
Options = dict[str, Any]


class Budget(msgspec.Struct, forbid_unknown_fields=True, rename="upper", frozen=True):
    """Of training, for every run alike: time or iterations."""

    minutes: Annotated[float, Meta(gt=0)] | None = None
    iterations: Annotated[int, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.iterations is None):
            raise InputError("expected {MINUTES: m} or {ITERATIONS: n}")

    def __str__(self) -> str:
        return f"{self.minutes:g} minutes" if self.minutes else f"{self.iterations} iterations"


class Row(msgspec.Struct, forbid_unknown_fields=True, rename="upper", frozen=True):
    """One line of the table."""

    name: Annotated[str, Meta(pattern=r"^[\w.+-]+$")]  # of a folder
    config: str  # path, or name of a config that comes with the package
    title: str = ""  # in the table; the name if empty
    options: Options = {}
    iterations: Annotated[int, Meta(gt=0)] | None = None  # those of the budget if None
    seeds: Seeds | None = None  # those of the file if None
    over: str = ""  # the table has the difference to this row, seed by seed
    before: tuple[Annotated[tuple[str, ...], Meta(min_length=1)], ...] = ()  # commands, run once


class Experiments(msgspec.Struct, forbid_unknown_fields=True, rename="upper", frozen=True):
    """All lines, and what they share. Rows have their title, seeds and path of the config."""

    budget: Budget
    rows: Annotated[tuple[Row, ...], Meta(min_length=1)]
    title: str = ""
    seeds: Seeds = (0,)
    options: Options = {}
    source: str = ""

    def pairs(self, row: Row, seed: int, output: Path) -> list[str]:
        """``KEY VALUE ...`` of one run, behind its config file; OUTPUT_DIR is the last."""
        if self.budget.minutes:
            budget = {"SOLVER.MAX_MINUTES": self.budget.minutes, "SOLVER.MAX_ITER": _NO_LIMIT}
        else:
            iterations = row.iterations or self.budget.iterations
            budget = {"SOLVER.MAX_ITER": iterations, "SOLVER.MAX_MINUTES": 0.0}
        keys = {**self.options, **row.options, **budget, "SEED": seed}
        words = [word for pair in keys.items() for word in map(str, pair)]
        words = [w.replace("{output}", str(output)).replace("{seed}", str(seed)) for w in words]
        return [*words, "OUTPUT_DIR", str(run_folder(output, row, seed))]

    def config(self, row: Row, seed: int, output: Path) -> CfgNode:
        """The config of one run, checked.

        Raises:
            InputError: an unknown key, or a contradiction.
        """
        try:
            cfg = load_config(find_config(row.config), self.pairs(row, seed, output))
            check_config(cfg)
        except InputError as error:
            raise InputError(f"{self.source}: row {row.name!r}: {error}") from error
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
        InputError: the file or a config is missing; an entry is missing, unknown or of a wrong
            kind.
    """
    path = Path(path)
    if len(pairs) % 2:
        raise InputError(f"expected KEY VALUE pairs, got {len(pairs)} words: {' '.join(pairs)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        given = msgspec.convert(content, Experiments)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InputError(f"{path}: {error}") from error
    added = dict(zip(pairs[::2], pairs[1::2], strict=True))
    made = msgspec.structs.replace(
        given,
        source=str(path),
        title=given.title or path.stem,
        options={**given.options, **added},
        rows=tuple(_complete(row, given, path) for row in given.rows),
    )
    _check(made)
    return made


def chosen(experiments: Experiments, names: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names, in the order of the file; all for no name.

    Raises:
        InputError: there is no row of a name.
    """
    known = [row.name for row in experiments.rows]
    for name in names:
        if name not in known:
            raise InputError(f"{experiments.source}: no row {name!r}; it has {', '.join(known)}")
    return tuple(row for row in experiments.rows if not names or row.name in names)


def _complete(row: Row, given: Experiments, path: Path) -> Row:
    """A row with its own title and seeds, and the path of its config."""
    beside = path.parent / row.config
    try:
        config = str(beside) if beside.is_file() else row.config
        find_config(config)
    except InputError as error:
        raise InputError(f"{path}: row {row.name!r}: {error}") from error
    title, seeds = row.title or row.name, row.seeds or given.seeds
    return msgspec.structs.replace(row, title=title, seeds=seeds, config=config)


def _check(experiments: Experiments) -> None:
    names = [row.name for row in experiments.rows]
    where = f"{experiments.source}: OPTIONS"
    _check_options(experiments.options, where)
    for row in experiments.rows:
        where = f"{experiments.source}: row {row.name!r}"
        _check_options(row.options, where)
        if names.count(row.name) > 1:
            raise InputError(f"{where}: two rows have this NAME")
        if row.over and row.over not in {*names} - {row.name}:
            raise InputError(f"{where}: OVER names no other row: {row.over!r}")
        if len({*row.seeds}) < len(row.seeds):
            raise InputError(f"{where}: SEEDS must be different, got {row.seeds}")
        if row.iterations and experiments.budget.minutes:
            raise InputError(f"{where}: has ITERATIONS, but BUDGET is of minutes")


def _check_options(options: Options, where: str) -> None:
    if nested := [key for key, value in options.items() if isinstance(value, dict)]:
        raise InputError(f"{where}: {nested[0]}: write full config keys, as SOLVER.BASE_LR: 0.001")
    taken = {"SEED", "OUTPUT_DIR", "SOLVER.MAX_ITER", "SOLVER.MAX_MINUTES"} & options.keys()
    if taken:
        raise InputError(f"{where}: must not set {sorted(taken)[0]}: use BUDGET and SEEDS")
