"""The page of a run from the files of its folder, and what it says to folders of something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from densepose.errors import InputError
from densepose.report.run_page import write_run_page


def run_folder(path: Path, gpsm: float) -> Path:
    (path / "inference").mkdir(parents=True)
    rows = [{"iteration": k, "total_loss": 2.0 - k, "time": 0.5} for k in range(2)]
    (path / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = {"a_set": {"densepose_gpsm": {"AP": gpsm}, "densepose_points": {"mean_gps": 0.25}}}
    (path / "inference" / "metrics.json").write_text(json.dumps({"results": results}))
    return path


def test_runs_of_the_same_name_are_compared(tmp_path):
    before, after = (run_folder(tmp_path / n / "run", 10.5 + k) for k, n in enumerate("ab"))
    text = write_run_page(after, before).read_text(encoding="utf-8")
    assert "10.5 → 11.5" in text and "0.250 → 0.250" in text
    assert "0.50 (median)" in text


def test_a_line_that_an_interruption_cut_short_is_left_out(tmp_path):
    folder = run_folder(tmp_path / "run", 10.5)
    with (folder / "metrics.json").open("a") as file:
        file.write('{"iteration": 2, "total_l')
    assert write_run_page(folder).is_file()


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not the OUTPUT_DIR of a run"):
        write_run_page(tmp_path)
    folder = run_folder(tmp_path / "run", 10.5)
    (folder / "inference" / "metrics.json").write_text("{")
    with pytest.raises(InputError, match="inference/metrics.json"):
        write_run_page(folder)


def test_pictures_of_a_data_set_that_is_not_registered(tmp_path):
    folder = run_folder(tmp_path / "run", 10.5)
    (folder / "inference" / "a_set" / "predictions").mkdir(parents=True)
    with pytest.raises(InputError, match="no data set is called 'a_set'"):
        write_run_page(folder)
