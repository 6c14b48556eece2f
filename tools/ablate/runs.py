"""One run after another: train, evaluate, note the time; what is finished is not repeated."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from detectron2.config import CfgNode

import densepose
from densepose.errors import InputError
from densepose.files import atomic, to_json
from densepose.workers import end_with_parent

from .experiments import Experiments, Row, run_folder

logger = logging.getLogger(__name__)

SCHEMA = 1
RECORD = "ablation_run.json"
STEPS = "steps"
# Held while a run or step is under way; free again when its process has died.
LOCK = ".ablation.lock"
INTERRUPTED = 130
# Keys that change nothing about what is learned.
_HARMLESS = (
    "OUTPUT_DIR",
    "LOG_PERIOD",
    "DATALOADER.NUM_WORKERS",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.CHECKPOINTS_TO_KEEP",
    "TEST.EVAL_PERIOD",
)

# The words behind ``densepose`` -> exit status.
Command = Callable[[Sequence[str]], int]


class RunError(RuntimeError):
    """Commands ended with an error; the message names them."""


def in_a_process(words: Sequence[str]) -> int:
    """Run ``densepose WORDS`` in a process of its own.

    An interrupt reaches the command, which saves where it is, and then this process.
    """
    command = [sys.executable, "-m", "densepose.cli", *words]
    # A second ablation must not find a training of a killed one still running.
    process = subprocess.Popen(command, preexec_fn=end_with_parent)
    asked_to_end = False

    def pass_on(*_: object) -> None:
        nonlocal asked_to_end
        asked_to_end = True
        process.send_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        status = process.wait()
        # Whatever the command made of it, the next one must not start.
        return INTERRUPTED if asked_to_end else status
    except KeyboardInterrupt:
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def run_all(
    experiments: Experiments,
    rows: Sequence[Row],
    output: Path,
    *,
    command: Command | None = None,
    after_each: Callable[[], object] = lambda: None,
) -> list[str]:
    """Run what is not finished, seed by seed: after the first round every row has a result.

    Several processes can share the work of one folder: each takes what no other is at.

    Args:
        experiments: the file.
        rows: of it.
        output: folder of the table; each run has ``<row>/seed<k>`` below it.
        command: runs a verb; by default ``in_a_process``.
        after_each: called after each run that was not finished before.

    Returns:
        A line for each run that failed.

    Raises:
        InputError: a config is wrong, or a folder holds a run with other settings.
        KeyboardInterrupt: a command was interrupted.
    """
    runs = list(_all_runs(rows))
    check_runs(experiments, rows, output)
    waiting = [(row, seed) for row, seed in runs if not is_finished(output, row, seed)]
    logger.info("%d of %d runs are finished", len(runs) - len(waiting), len(runs))
    failed = []
    for number, (row, seed) in enumerate(waiting, start=1):
        logger.info("Run %d of %d: %s, seed %d", number, len(waiting), row.title, seed)
        try:
            with _alone(run_folder(output, row, seed), timeout_s=0):
                if is_finished(output, row, seed):  # by another process in the meantime
                    continue
                _run(experiments, row, seed, output, command or in_a_process)
        except Timeout:
            logger.info("Another process is at it; left to that")
            continue
        except RunError as error:
            logger.error("%s, seed %d: %s", row.name, seed, error)
            failed.append(f"{row.name}, seed {seed}: {error}")
        after_each()
    return failed


def command_lines(experiments: Experiments, rows: Sequence[Row], output: Path) -> list[str]:
    """What would be run, in this order; what is finished is a comment."""
    lines: dict[str, None] = {}
    for row, seed in _all_runs(rows):
        mark = "# finished: " if is_finished(output, row, seed) else ""
        for words in (*_steps(row, output), _training(experiments, row, seed, output)):
            lines[mark + shlex.join(["densepose", *words])] = None
    return list(lines)


def check_runs(experiments: Experiments, rows: Sequence[Row], output: Path) -> None:
    """Refuse wrong configs, different test sets, and folders of runs with other settings."""
    tested: dict[tuple[str, ...], str] = {}
    for row, seed in _all_runs(rows):
        cfg = experiments.config(row, seed, output)
        tested.setdefault(tuple(cfg.DATASETS.TEST), row.name)
        record = read_record(output, row, seed)
        if record:
            _refuse_other_settings(record["settings"], settings(cfg), run_folder(output, row, seed))
    if len(tested) > 1:
        sets = "; ".join(f"{name}: {list(sets)}" for sets, name in tested.items())
        raise InputError(f"{experiments.source}: the rows are tested on different data: {sets}")


def settings(cfg: CfgNode) -> dict[str, str]:
    """Every key that can change a result, with its value as text."""

    def leaves(node: CfgNode, prefix: str) -> Iterator[tuple[str, str]]:
        for name, value in node.items():
            if isinstance(value, CfgNode):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                plain = list(value) if isinstance(value, (list, tuple)) else value
                yield f"{prefix}{name}", repr(plain)

    return {key: value for key, value in leaves(cfg, "") if key not in _HARMLESS}


def is_finished(output: Path, row: Row, seed: int) -> bool:
    """Whether a run has come to its end and was scored."""
    return bool(read_record(output, row, seed).get("finished"))


def read_record(output: Path, row: Row, seed: int) -> dict[str, Any]:
    """The record of a run: settings, seconds, finished ...; {} for one that was never started.

    Raises:
        InputError: the record is damaged or of another schema.
    """
    path = run_folder(output, row, seed) / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema = record["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); delete the folder of this run") from error
    if schema != SCHEMA:
        raise InputError(f"{path}: schema {schema}, this version reads schema {SCHEMA}")
    return record


def machine() -> str:
    """Versions and devices of this process, which are those of the commands it starts."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"densepose {densepose.__version__}, torch {torch.__version__}, Python"
        f" {platform.python_version()}, {platform.machine()}, {gpu}"
    )


def write_json(path: Path, content: Any) -> None:
    """Write a value to a file that is complete or not there at all."""
    with atomic(path) as temporary:
        temporary.write_text(to_json(content) + "\n", encoding="utf-8")


def _all_runs(rows: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    rounds = max((len(row.seeds) for row in rows), default=0)
    for number in range(rounds):
        for row in rows:
            if number < len(row.seeds):
                yield row, row.seeds[number]


def _run(experiments: Experiments, row: Row, seed: int, output: Path, command: Command) -> None:
    for words in _steps(row, output):
        _run_once(words, output, command)
    folder = run_folder(output, row, seed)
    words = _training(experiments, row, seed, output)
    record = read_record(output, row, seed) or {
        "schema": SCHEMA,
        "command": shlex.join(["densepose", *words]),
        "settings": settings(experiments.config(row, seed, output)),
        "seconds": 0.0,
        "attempts": 0,
        "finished": False,
    }
    record["attempts"] += 1
    record["machines"] = list(dict.fromkeys([*record.get("machines", []), machine()]))
    write_json(folder / RECORD, record)
    start = time.monotonic()
    try:
        _call(words, command)
        if not any(folder.glob("inference/*/densepose_evaluation.json")):
            raise RunError(f"it ended without scores; see {folder / 'log.txt'}")
        record["finished"] = True
    finally:
        record["seconds"] += time.monotonic() - start
        write_json(folder / RECORD, record)


def _steps(row: Row, output: Path) -> list[list[str]]:
    return [[word.replace("{output}", str(output)) for word in words] for words in row.before]


def _training(experiments: Experiments, row: Row, seed: int, output: Path) -> list[str]:
    pairs = experiments.pairs(row, seed, output)
    return ["train", "--config-file", row.config, "--resume", *pairs]


def _run_once(words: Sequence[str], output: Path, command: Command) -> None:
    """Run a command that several rows may need, unless it has been run to its end."""
    line = shlex.join(["densepose", *words])
    folder = output / STEPS
    done = folder / f"{hashlib.sha256(line.encode()).hexdigest()[:16]}.json"
    if done.is_file():
        return
    logger.info("First: %s", line)
    with _alone(folder):
        if done.is_file():  # by another process in the meantime
            return
        start = time.monotonic()
        _call(words, command)
        seconds = time.monotonic() - start
        write_json(done, {"schema": SCHEMA, "command": line, "seconds": seconds})


def _alone(folder: Path, timeout_s: float = -1) -> FileLock:
    """A lock on a folder; waits until it is free, or raises ``Timeout`` after ``timeout_s``."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / LOCK, timeout=timeout_s)


def _call(words: Sequence[str], command: Command) -> None:
    status = command(words)
    if status in (INTERRUPTED, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    if status:
        raise RunError(f"densepose {shlex.join(words[:3])} ... ended with status {status}")


def _refuse_other_settings(
    recorded: Mapping[str, str], wanted: Mapping[str, str], folder: Path
) -> None:
    # A key that only one version of the program knows has had its default in the other.
    other = sorted(key for key in recorded.keys() & wanted.keys() if recorded[key] != wanted[key])
    if other:
        shown = "; ".join(f"{key} {recorded[key]}, now {wanted[key]}" for key in other[:5])
        raise InputError(
            f"{folder}: this run was started with other settings: {shown}; give the row another"
            " NAME, use another --output, or delete the folder"
        )
