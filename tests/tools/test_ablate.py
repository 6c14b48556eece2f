"""tools/ablate: lists of experiments, runs by a command that writes scores, and their table."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from densepose.cli.__main__ import run_verb
from tests.support import ROOT
from tools.ablate import __main__ as ablate
from tools.ablate import runs
from tools.ablate.experiments import Experiments, chosen, read_experiments
from tools.ablate.runs import (
    check_runs,
    command_lines,
    in_a_process,
    is_finished,
    read_record,
    run_all,
)
from tools.ablate.table import Summary, write_table

CONFIGS = ROOT / "tests" / "configs"
ALL = [("plain", 0), ("cascade", 0), ("plain", 1), ("cascade", 1)]


def rows(**of_cascade: Any) -> list[dict[str, Any]]:
    plain = {"NAME": "plain", "TITLE": "DP-RCNN", "CONFIG": str(CONFIGS / "synthetic_cpu.yaml")}
    cascade = {"NAME": "cascade", "CONFIG": str(CONFIGS / "cascade_cpu.yaml"), "OVER": "plain"}
    return [plain, {**cascade, **of_cascade}]


def experiments(folder: Path, *pairs: str, **changes: Any) -> Experiments:
    content = {
        "TITLE": "A table",
        "BUDGET": {"ITERATIONS": 3},
        "SEEDS": [0, 1],
        "OPTIONS": {"DATASETS.TEST": ["tiny"], "SOLVER.BASE_LR": 0.5},
        "ROWS": rows(),
        **changes,
    }
    path = folder / "experiments.yaml"
    path.write_text(yaml.safe_dump(content))
    return read_experiments(path, pairs)


def options_of(words: Sequence[str]) -> dict[str, str]:
    pairs = list(words[words.index("--resume") + 1 :])
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def write_scores(folder: Path, gpsm: float, fraction: float) -> None:
    inference = folder / "inference" / "tiny"
    inference.mkdir(parents=True)
    scores = {
        "tables": {"densepose_gpsm": {"AP": gpsm}, "bbox": {"AP": None}},
        "points": {"auc10": fraction / 2, "auc30": fraction},
        "rcp": {"threshold_m": [0.0, 0.1, 0.2], "share": [0.0, fraction / 2, fraction]},
    }
    (inference / "densepose_evaluation.json").write_text(json.dumps(scores))
    (inference.parent / "metrics.json").write_text(json.dumps({"iteration": 3}))


class FakeCommand:
    """Records what is run; ``behave`` may return another status or raise."""

    def __init__(self, behave: Callable[[str, int], int] = lambda row, seed: 0) -> None:
        self.behave = behave
        self.lines: list[list[str]] = []

    def __call__(self, words: Sequence[str]) -> int:
        self.lines.append(list(words))
        if words[0] != "train":
            return 0
        options = options_of(words)
        folder, seed = Path(options["OUTPUT_DIR"]), int(options["SEED"])
        status = self.behave(folder.parent.name, seed)
        if not status:
            better = folder.parent.name == "cascade"
            write_scores(folder, 10 + 2 * seed + 3 * better, 0.4 + 0.1 * seed)
        return status

    @property
    def trained(self) -> list[tuple[str, int]]:
        folders = [Path(options_of(w)["OUTPUT_DIR"]) for w in self.lines if w[0] == "train"]
        return [(f.parent.name, int(f.name.removeprefix("seed"))) for f in folders]

    @property
    def steps(self) -> list[list[str]]:
        return [words for words in self.lines if words[0] != "train"]


def run(made: Experiments, output: Path, command: Any = None, only: slice = slice(None)):
    return run_all(made, made.rows[only], output, command=command or FakeCommand())


# The list


def test_keys_of_a_row_stand_above_those_of_the_command_line_above_those_of_the_file(
    tmp_path: Path,
):
    options = {"SOLVER.BASE_LR": 0.25, "MODEL.WEIGHTS": "{output}/start{seed}.pth"}
    pairs = ["SOLVER.BASE_LR", "0.125", "TEST.EVAL_PERIOD", "7"]
    made = experiments(tmp_path, *pairs, ROWS=rows(OPTIONS=options, ITERATIONS=2))
    plain, cascade = (made.config(row, 1, tmp_path) for row in made.rows)
    assert (plain.SOLVER.BASE_LR, plain.TEST.EVAL_PERIOD, plain.SOLVER.MAX_ITER) == (0.125, 7, 3)
    assert (cascade.SOLVER.BASE_LR, cascade.SEED, cascade.SOLVER.MAX_ITER) == (0.25, 1, 2)
    assert cascade.MODEL.WEIGHTS == f"{tmp_path}/start1.pth"
    assert cascade.DATASETS.TEST == ("tiny",)
    assert cascade.OUTPUT_DIR == str(tmp_path / "cascade" / "seed1")


@pytest.mark.parametrize("minutes", [2.5, 30])
def test_a_budget_of_minutes_lets_time_alone_end_the_training(tmp_path: Path, minutes: float):
    made = experiments(tmp_path, BUDGET={"MINUTES": minutes})
    cfg = made.config(made.rows[0], 0, tmp_path)
    assert cfg.SOLVER.MAX_MINUTES == minutes and cfg.SOLVER.MAX_ITER >= 10**6


def test_commands_can_be_printed_and_are_what_is_run(tmp_path: Path):
    made = experiments(tmp_path, ROWS=rows(BEFORE=[["make-data", "--out", "{output}/set"]]))
    lines = command_lines(made, made.rows, tmp_path)
    command = FakeCommand()
    run(made, tmp_path, command)
    assert lines[1] == f"densepose make-data --out {tmp_path}/set"
    assert [shlex.split(line)[1:] for line in lines] == command.lines
    finished = command_lines(made, made.rows, tmp_path)
    assert all(line.startswith("# finished: densepose ") for line in finished)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BUDGET": {}}, r"expected \{MINUTES: m\} or \{ITERATIONS: n\} - at `\$.BUDGET`"),
        ({"BUDGET": {"MINUTES": 1, "ITERATIONS": 2}}, r"expected \{MINUTES: m\} or"),
        ({"SEEDS": [0, 0]}, r"SEEDS must be different, got \(0, 0\)"),
        ({"ROWS": []}, r"length >= 1 - at `\$.ROWS`"),
        ({"ROWS": [{"NAME": "a"}]}, r"missing required field `CONFIG` - at `\$.ROWS\[0\]`"),
        ({"ROWS": [{"NAME": "a/b", "CONFIG": "cpu/dp_fcn"}]}, r"regex .* `\$.ROWS\[0\].NAME`"),
        ({"ROWS": rows()[:1] * 2}, "row 'plain': two rows have this NAME"),
        ({"ROWS": rows()[1:]}, "row 'cascade': OVER names no other row: 'plain'"),
        ({"ROWS": rows(ITERATIONS=0)}, r"`int` >= 1 - at `\$.ROWS\[1\].ITERATIONS`"),
        ({"ROWS": rows(ITERATIONS=2), "BUDGET": {"MINUTES": 1}}, "but BUDGET is of minutes"),
        ({"ROWS": rows(BEFORE=["x"])}, r"`array`, got `str` - at `\$.ROWS\[1\].BEFORE\[0\]`"),
        ({"SPEED": 1}, "unknown field `SPEED`"),
        ({"OPTIONS": {"SEED": 1}}, "must not set SEED: use BUDGET and SEEDS"),
        ({"OPTIONS": {"MODEL": {"MASK_ON": True}}}, "OPTIONS: MODEL: write full config keys"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=f"experiments.yaml: .*{message}"):
        experiments(tmp_path, **changes)


def test_missing_files_rows_and_values_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        read_experiments(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match="row 'a': config file 'cpu/casc.yaml'"):
        experiments(tmp_path, ROWS=[{"NAME": "a", "CONFIG": "cpu/casc.yaml"}])
    with pytest.raises(ValueError, match="no row 'casc'; it has plain, cascade"):
        chosen(experiments(tmp_path), ["casc"])
    assert [row.name for row in chosen(experiments(tmp_path), ["cascade"])] == ["cascade"]
    with pytest.raises(ValueError, match="KEY VALUE pairs, got 1 words: MODEL.WEIGHTS"):
        experiments(tmp_path, "MODEL.WEIGHTS")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"OPTIONS": {"SOLVER.BASE_LRR": 1}}, "row 'plain': .*SOLVER.BASE_LRR"),
        (
            {"ROWS": rows(OPTIONS={"DATASETS.TEST": ["other"]})},
            "tested on different data: plain: .*tiny.*cascade: .*other",
        ),
    ],
)
def test_configs_are_checked_before_anything_runs(tmp_path: Path, changes: Any, message: str):
    command, made = FakeCommand(), experiments(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        run(made, tmp_path, command)
    assert command.lines == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tools" / "ablate").glob("*.yaml")), ids=lambda p: p.name
)
def test_lists_of_the_documents_name_configs_that_fit(path: Path, tmp_path: Path):
    made = read_experiments(path)
    check_runs(made, made.rows, tmp_path)
    assert all(row.over for row in made.rows[2:])


# The runs


def test_every_row_gets_a_first_result_before_any_gets_a_second(tmp_path: Path):
    made, command, tables = experiments(tmp_path), FakeCommand(), []
    failed = run_all(
        made, made.rows, tmp_path, command=command, after_each=lambda: tables.append(1)
    )
    assert failed == []
    assert command.trained == ALL
    assert len(tables) == 4


@pytest.mark.parametrize("status", [130, -signal.SIGINT, -signal.SIGTERM])
def test_a_finished_run_is_not_repeated_and_an_interrupted_one_is(tmp_path: Path, status: int):
    made = experiments(tmp_path)
    interrupted = FakeCommand(lambda row, seed: status if (row, seed) == ("cascade", 0) else 0)
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path, interrupted)
    assert interrupted.trained == ALL[:2]
    plain, cascade = made.rows
    assert is_finished(tmp_path, plain, 0) and not is_finished(tmp_path, cascade, 0)
    seconds = read_record(tmp_path, cascade, 0)["seconds"]
    again, last = FakeCommand(), FakeCommand()
    run(made, tmp_path, again)
    assert again.trained == ALL[1:]
    record = read_record(tmp_path, cascade, 0)
    assert record["attempts"] == 2 and record["seconds"] >= seconds
    run(made, tmp_path, last)
    assert last.trained == []


def test_a_failed_run_is_reported_and_the_others_are_run(tmp_path: Path):
    made = experiments(tmp_path)
    command = FakeCommand(lambda row, seed: int((row, seed) == ("plain", 1)))
    (line,) = run(made, tmp_path, command)
    assert line.startswith("plain, seed 1: densepose train") and "status 1" in line
    assert command.trained == ALL
    again = FakeCommand()
    assert run(made, tmp_path, again) == []
    assert again.trained == [("plain", 1)]


def test_a_run_without_scores_has_failed(tmp_path: Path):
    failed = run(experiments(tmp_path), tmp_path, lambda words: 0, slice(1))
    assert len(failed) == 2 and "ended without scores" in failed[0]


def test_a_folder_with_other_settings_is_refused(tmp_path: Path):
    run(experiments(tmp_path), tmp_path)
    other = experiments(tmp_path, OPTIONS={"DATASETS.TEST": ["tiny"], "SOLVER.BASE_LR": 0.1})
    with pytest.raises(ValueError, match=r"seed0: .*other settings: SOLVER.BASE_LR 0.5, now 0.1"):
        run(other, tmp_path)
    run(experiments(tmp_path, "LOG_PERIOD", "7"), tmp_path)  # changes nothing about the result


@pytest.mark.parametrize(
    ("text", "message"), [("{", "ablation_run.json: damaged"), ('{"schema": 99}', "schema 99")]
)
def test_a_damaged_record_is_named(tmp_path: Path, text: str, message: str):
    made = experiments(tmp_path)
    run(made, tmp_path, only=slice(1))
    (tmp_path / "plain" / "seed0" / runs.RECORD).write_text(text)
    with pytest.raises(ValueError, match=message):
        run(made, tmp_path, only=slice(1))


def test_steps_before_are_run_once_and_again_only_if_they_failed(tmp_path: Path):
    step = {"BEFORE": [["make-data", "--out", "{output}/set"]]}
    made = experiments(tmp_path, ROWS=[{**row, **step} for row in rows()])
    first, command = FakeCommand(), FakeCommand()
    failed = run(made, tmp_path, lambda words: first(words) or 1, slice(1))
    assert "make-data" in failed[0] and first.trained == []
    run(made, tmp_path, command)
    assert command.lines[0] == ["make-data", "--out", f"{tmp_path}/set"]
    assert len(command.steps) == 1


def test_processes_share_the_runs_of_a_folder(tmp_path: Path):
    made, second = experiments(tmp_path), FakeCommand()

    def while_another_is_at_it(row: str, seed: int) -> int:
        if (row, seed) == ("plain", 0):
            assert run(made, tmp_path, second) == []
        return 0

    first = FakeCommand(while_another_is_at_it)
    assert run(made, tmp_path, first) == []
    # The second process takes all that the first is not at; the first finds nothing left.
    assert first.trained == [("plain", 0)] and second.trained == ALL[1:]
    assert all(is_finished(tmp_path, row, seed) for row in made.rows for seed in (0, 1))


def test_a_step_of_two_processes_is_run_by_one(tmp_path: Path):
    made = experiments(tmp_path, ROWS=[{**rows()[0], "BEFORE": [["make-data"]]}, rows()[1]])
    command, waiting = FakeCommand(), threading.Event()

    def slow(words: Sequence[str]) -> int:
        if words[0] == "make-data":
            other.start()
            waiting.wait(0.5)
        return command(words)

    other = threading.Thread(target=run, args=(made, tmp_path, command))
    run(made, tmp_path, slow, slice(1))
    other.join()
    assert len(command.steps) == 1
    assert sorted(command.trained) == sorted(ALL)


def test_a_command_is_a_process_whose_status_counts(capfd: pytest.CaptureFixture[str]):
    assert in_a_process(["--version"]) == 0
    assert in_a_process(["no-such-verb"]) == 2
    assert "no-such-verb" in capfd.readouterr().err


def test_nothing_more_is_run_after_a_request_to_end(monkeypatch: pytest.MonkeyPatch):
    # A command that ends its parent, and makes an ordinary error of the interrupt it gets for it.
    code = f"""
import os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
os.kill({os.getpid()}, signal.SIGTERM)
time.sleep(60)
"""
    started = subprocess.Popen
    script = [sys.executable, "-c", code]
    monkeypatch.setattr(runs.subprocess, "Popen", lambda line, **_: started(script))
    assert in_a_process(["train"]) == 130


# The table


def finished(folder: Path, **changes: Any) -> Experiments:
    made = experiments(folder, **changes)
    run(made, folder)
    return made


def cells(table: str, first: str) -> list[str]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return next(line for line in lines if len(line) > 1 and line[0] == first)


def test_means_and_spreads_by_hand(tmp_path: Path):
    table = write_table(finished(tmp_path), tmp_path).read_text()
    assert cells(table, "")[:5] == ["", "AUC10", "AUC30", "GPSm AP", "seeds"]
    # Seeds 0 and 1: AP 10 and 12, AUC30 0.4 and 0.5; the deviation of a sample of two.
    want = ["DP-RCNN", "0.225 ± 0.035", "0.450 ± 0.071", "11.00 ± 1.41", "2", "3"]
    assert cells(table, "DP-RCNN")[:6] == want
    assert cells(table, "cascade")[3] == "14.00 ± 1.41"
    assert cells(table, "cascade over DP-RCNN")[-2:] == ["+3.00 ± 0.00", "2"]
    assert "trains for 3 iterations" in table
    assert (tmp_path / "rcp.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_every_run_with_its_command(tmp_path: Path):
    write_table(finished(tmp_path), tmp_path)
    plain, cascade = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [run["values"]["gpsm_ap"] for run in plain["runs"]] == [10, 12]
    assert plain["runs"][0]["values"]["mask_ap"] is None
    assert plain["runs"][1]["command"].startswith("densepose train --config-file")
    assert plain["runs"][0]["rcp"] == [0.0, 0.2, 0.4]
    assert cascade["difference"]["gpsm_ap"] == {"mean": 3.0, "spread": 0.0, "count": 2}


def test_the_machine_that_ran_is_named_and_not_the_one_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = experiments(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("platform.machine", lambda: "first-machine")
        run(made, tmp_path, only=slice(1))
    monkeypatch.setattr("platform.machine", lambda: "writing-machine")
    table = write_table(made, tmp_path).read_text()
    assert "first-machine" in table and "writing-machine" not in table
    monkeypatch.setattr("platform.machine", lambda: "second-machine")
    run(made, tmp_path)
    (first,), (second,) = (
        [line for line in write_table(made, tmp_path).read_text().splitlines() if name in line]
        for name in ("first-machine", "second-machine")
    )
    assert first.endswith(": plain/seed0, plain/seed1")
    assert second.endswith(": cascade/seed0, cascade/seed1")


def test_rows_that_are_not_run_yet_are_empty(tmp_path: Path):
    made = experiments(tmp_path)
    table = write_table(made, tmp_path).read_text()
    assert cells(table, "DP-RCNN") == ["DP-RCNN", "0 of 2", "–", "–"]
    assert not (tmp_path / "rcp.png").exists()
    run(made, tmp_path, only=slice(1))
    table = write_table(made, tmp_path).read_text()
    assert cells(table, "DP-RCNN")[4] == "2"
    assert cells(table, "cascade over DP-RCNN")[-1] == "0"


def test_differences_compare_runs_of_the_same_seed_alone(tmp_path: Path):
    made = finished(tmp_path, ROWS=[{**rows()[0], "SEEDS": [0]}, {**rows(SEEDS=[1, 0])[1]}])
    more = cells(write_table(made, tmp_path).read_text(), "cascade over DP-RCNN")
    assert more[-2:] == ["+3.00", "1"]


def test_a_summary_is_of_the_values_that_are_known():
    assert Summary.of([1.0, 3.0, float("nan")]).text(1) == "2.0 ± 1.4"
    assert Summary.of([5.0]).text(2) == "5.00"
    assert Summary.of([float("nan")]).text(2) == Summary.of([]).text(2) == "–"
    assert Summary.of([0.5, 0.5]).text(1, "+") == "+0.5 ± 0.0"


def test_damaged_scores_are_named(tmp_path: Path):
    made = finished(tmp_path)
    path = tmp_path / "plain" / "seed0" / "inference" / "tiny" / "densepose_evaluation.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="densepose_evaluation.json: .*cannot be read .*delete"):
        write_table(made, tmp_path)


# All together


def test_a_real_training_is_run_scored_and_put_into_the_table(
    tiny_coco: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    annotations, images = map(str, tiny_coco)
    entry = {"NAME": "tiny", "ANNOTATIONS": annotations, "IMAGES": images, "SURFACE": "template"}
    data = {"DATASETS.REGISTER": [entry], "DATASETS.TRAIN": ["tiny"], "DATASETS.TEST": ["tiny"]}
    experiments(tmp_path, ROWS=rows()[:1], SEEDS=[0], OPTIONS={**data, "TEST.EVAL_PERIOD": 0})
    monkeypatch.setattr(runs, "in_a_process", lambda words: run_verb(words[0], words[1:]))
    path, output = str(tmp_path / "experiments.yaml"), tmp_path / "table"
    words = ["ablate", path, "--output", str(output), "SOLVER.BASE_LR", "0.001"]
    monkeypatch.setattr(sys, "argv", words)
    assert ablate.main() == 0
    printed = capsys.readouterr().out
    assert f"Table: {output}/table.md" in printed and "| DP-RCNN" in printed
    ((one,),) = [row["runs"] for row in json.loads((output / "table.json").read_text())["rows"]]
    assert one["iterations"] == 3 and one["minutes"] > 0
    scored = {name for name, value in one["values"].items() if value is not None}
    assert {"mean_gps", "auc30", "gps_ap", "gpsm_ap", "box_ap"} <= scored
    monkeypatch.setattr(sys, "argv", [*words, "--dry-run"])
    assert ablate.main() == 0
    assert capsys.readouterr().out.startswith("# finished: densepose train")


def test_a_wrong_list_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(sys, "argv", ["ablate", str(tmp_path / "nowhere.yaml")])
    assert ablate.main() == 2
    assert capsys.readouterr().err.startswith("error: ")
