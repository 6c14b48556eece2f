from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from densepose.ablation.experiments import chosen, read_experiments
from densepose.ablation.runs import check_runs, command_lines

from .fake_runs import content, experiments, options_of

ROOT = Path(__file__).parents[2]


def test_options_of_a_row_stand_above_those_of_all(tmp_path: Path):
    rows = content()["ROWS"]
    rows[1]["OPTIONS"] = {"SOLVER.BASE_LR": 0.25, "MODEL.WEIGHTS": "{output}/start{seed}.pth"}
    made = experiments(tmp_path, ROWS=rows)
    plain, cascade = made.rows
    assert made.config(plain, 1, tmp_path).SOLVER.BASE_LR == 0.5
    cfg = made.config(cascade, 1, tmp_path)
    assert (cfg.SOLVER.BASE_LR, cfg.SEED, cfg.SOLVER.MAX_ITER) == (0.25, 1, 3)
    assert cfg.MODEL.WEIGHTS == f"{tmp_path}/start1.pth"
    assert cfg.DATASETS.TEST == ("tiny",)
    assert cfg.OUTPUT_DIR == str(tmp_path / "cascade" / "seed1")


def test_keys_of_the_command_line_are_those_of_all_rows(tmp_path: Path):
    experiments(tmp_path)
    path = tmp_path / "experiments.yaml"
    made = read_experiments(path, ["MODEL.WEIGHTS", "start.pth", "SOLVER.BASE_LR", "0.125"])
    for row in made.rows:
        cfg = made.config(row, 0, tmp_path)
        assert (cfg.MODEL.WEIGHTS, cfg.SOLVER.BASE_LR) == ("start.pth", 0.125)
    with pytest.raises(ValueError, match="KEY VALUE pairs, got 1 words: MODEL.WEIGHTS"):
        read_experiments(path, ["MODEL.WEIGHTS"])
    with pytest.raises(ValueError, match="command line: OPTIONS must not set SEED"):
        read_experiments(path, ["SEED", "1"])


def test_a_budget_of_minutes_lets_time_alone_end_the_training(tmp_path: Path):
    for minutes in (2.5, 30):
        made = experiments(tmp_path, BUDGET={"MINUTES": minutes})
        cfg = made.config(made.rows[0], 0, tmp_path)
        assert cfg.SOLVER.MAX_MINUTES == minutes and cfg.SOLVER.MAX_ITER >= 10**6


def test_a_row_may_have_iterations_of_its_own(tmp_path: Path):
    rows = content()["ROWS"]
    rows[1]["ITERATIONS"] = 2
    made = experiments(tmp_path, ROWS=rows)
    iterations = [made.config(row, 0, tmp_path).SOLVER.MAX_ITER for row in made.rows]
    assert iterations == [3, 2]
    with pytest.raises(ValueError, match="'cascade' gives ITERATIONS, but BUDGET is of minutes"):
        experiments(tmp_path, ROWS=rows, BUDGET={"MINUTES": 1})
    for wrong in (0, 1.5, "many"):
        rows[1]["ITERATIONS"] = wrong
        with pytest.raises(ValueError, match="ITERATIONS must be a whole number from 1"):
            experiments(tmp_path, ROWS=rows)


def test_commands_can_be_printed_and_are_what_is_run(tmp_path: Path):
    rows = content()["ROWS"]
    rows[1]["BEFORE"] = [["make-data", "--out", "{output}/set"]]
    made = experiments(tmp_path, ROWS=rows)
    lines = command_lines(made, made.rows, tmp_path)
    assert lines[1] == f"densepose make-data --out {tmp_path}/set"
    assert len(lines) == 2 * 2 + 1
    assert options_of(lines[0].split())["SEED"] == "0"
    assert [name in lines[k] for k, name in ((0, "plain"), (2, "cascade"), (3, "plain"))] == [
        True
    ] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BUDGET": {}}, r"BUDGET must be \{MINUTES: m\} or \{ITERATIONS: n\}"),
        ({"BUDGET": {"MINUTES": 1, "ITERATIONS": 2}}, "BUDGET must be"),
        ({"SEEDS": [0, 0]}, "SEEDS must be different whole numbers"),
        ({"ROWS": []}, "ROWS must be a list with at least one row"),
        ({"ROWS": [{"NAME": "a"}]}, "row 1: CONFIG is missing"),
        ({"ROWS": [{"NAME": "a/b", "CONFIG": "cpu/dp_fcn"}]}, "'a/b' becomes a folder"),
        ({"ROWS": content()["ROWS"][:1] * 2}, "two rows are called 'plain'"),
        ({"ROWS": content()["ROWS"][1:]}, "'cascade': OVER names no other row: 'plain'"),
        ({"SPEED": 1}, "unknown entry 'SPEED'; known are BUDGET"),
        ({"OPTIONS": {"SEED": 1}}, "must not set SEED: use BUDGET and SEEDS"),
        ({"OPTIONS": {"MODEL": {"MASK_ON": True}}}, "map full config keys to values"),
        ({"ROWS": [{"NAME": "a", "CONFIG": "cpu/dp_fcn", "BEFORE": ["x"]}]}, "list of wor"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        experiments(tmp_path, **changes)


def test_missing_files_and_rows_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere.yaml: no such file of experiments"):
        read_experiments(tmp_path / "nowhere.yaml")
    with pytest.raises(FileNotFoundError, match="row 'a': config file 'cpu/casc.yaml'"):
        experiments(tmp_path, ROWS=[{"NAME": "a", "CONFIG": "cpu/casc.yaml"}])
    with pytest.raises(ValueError, match="no row 'casc'; it has plain, cascade"):
        chosen(experiments(tmp_path), ["casc"])
    assert [row.name for row in chosen(experiments(tmp_path), ["cascade"])] == ["cascade"]


def test_a_wrong_key_is_told_with_its_row_before_anything_runs(tmp_path: Path):
    made = experiments(tmp_path, OPTIONS={"SOLVER.BASE_LRR": 1})
    with pytest.raises(ValueError, match="row 'plain': .*SOLVER.BASE_LRR"):
        check_runs(made, made.rows, tmp_path)


def test_rows_are_tested_on_the_same_data(tmp_path: Path):
    rows = content()["ROWS"]
    rows[1]["OPTIONS"] = {"DATASETS.TEST": ["other"]}
    made = experiments(tmp_path, ROWS=rows)
    with pytest.raises(ValueError, match="tested on different data: plain: .*tiny.*cascade: .*oth"):
        check_runs(made, made.rows, tmp_path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tools" / "ablate").glob("*.yaml")), ids=lambda p: p.name
)
def test_shipped_lists_name_configs_that_fit(path: Path, tmp_path: Path):
    made = read_experiments(path)
    check_runs(made, made.rows, tmp_path)
    assert all(row.over for row in made.rows[2:])
