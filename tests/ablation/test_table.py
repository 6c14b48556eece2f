from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from densepose.ablation.runs import run_all
from densepose.ablation.table import Summary, write_table

from .fake_runs import FakeCommand, experiments


def finished(folder: Path, **changes: object):
    made = experiments(folder, **changes)
    run_all(made, made.rows, folder, command=FakeCommand())
    return made


def cells(table: str, first: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_means_and_spreads_by_hand(tmp_path: Path):
    table = write_table(finished(tmp_path), tmp_path).read_text()
    header = cells(table, "")
    assert header[:5] == ["", "AUC10", "AUC30", "GPSm AP", "seeds"]
    # Seeds 0 and 1: AP 10 and 12, AUC30 0.4 and 0.5; the deviation of a sample of two.
    want = ["DP-RCNN", "0.225 ± 0.035", "0.450 ± 0.071", "11.00 ± 1.41", "2", "3"]
    assert cells(table, "DP-RCNN")[:6] == want
    assert cells(table, "cascade")[3] == "14.00 ± 1.41"
    more = cells(table, "cascade over DP-RCNN")
    assert more[-2:] == ["+3.00 ± 0.00", "2"]
    assert "trains for 3 iterations" in table
    assert (tmp_path / "rcp.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_every_run_with_its_command(tmp_path: Path):
    write_table(finished(tmp_path), tmp_path)
    content = json.loads((tmp_path / "table.json").read_text())
    plain, cascade = content["rows"]
    assert [run["values"]["gpsm_ap"] for run in plain["runs"]] == [10, 12]
    assert plain["runs"][0]["values"]["mask_ap"] is None
    assert plain["runs"][1]["command"].startswith("densepose train --config-file")
    assert plain["runs"][0]["rcp"]["share"] == [0.0, 0.2, 0.4]
    assert cascade["difference"]["gpsm_ap"] == {"mean": 3.0, "spread": 0.0, "count": 2}


def test_rows_that_are_not_run_yet_are_empty(tmp_path: Path):
    made = experiments(tmp_path)
    table = write_table(made, tmp_path).read_text()
    assert cells(table, "DP-RCNN") == ["DP-RCNN", "0 of 2", "–", "–"]
    assert not (tmp_path / "rcp.png").exists()
    run_all(made, made.rows[:1], tmp_path, command=FakeCommand())
    table = write_table(made, tmp_path).read_text()
    assert cells(table, "DP-RCNN")[4] == "2"
    assert cells(table, "cascade over DP-RCNN")[-1] == "0"


def test_differences_compare_runs_of_the_same_seed_alone(tmp_path: Path):
    rows = experiments(tmp_path).rows
    made = finished(
        tmp_path,
        ROWS=[
            {"NAME": "plain", "CONFIG": rows[0].config, "SEEDS": [0]},
            {"NAME": "cascade", "CONFIG": rows[1].config, "SEEDS": [1, 0], "OVER": "plain"},
        ],
    )
    more = cells(write_table(made, tmp_path).read_text(), "cascade over plain")
    assert more[-2:] == ["+3.00", "1"]


def test_summary_of_what_is_known():
    assert Summary.of([1.0, 3.0, float("nan")]).text(1) == "2.0 ± 1.4"
    assert Summary.of([5.0]).text(2) == "5.00"
    assert Summary.of([]).text(2) == "–"
    assert math.isnan(Summary.of([float("nan")]).mean)
    assert Summary.of([0.5, 0.5]).text(1, "+") == "+0.5 ± 0.0"


def test_damaged_scores_are_named(tmp_path: Path):
    made = finished(tmp_path)
    path = tmp_path / "plain" / "seed0" / "inference" / "tiny" / "densepose_evaluation.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="densepose_evaluation.json: .*cannot be read .*delete"):
        write_table(made, tmp_path)
