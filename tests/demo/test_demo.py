"""The demo from end to end on a handful of images: everything is there and says what happened."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from densepose.demo import DemoSettings, change_text, run_demo
from densepose.demo.page import _facts
from densepose.demo.stages import StageTimes, evaluation_arguments, training_arguments


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> DemoSettings:
    settings = DemoSettings(
        folder=tmp_path_factory.mktemp("demo"),
        minutes=0.02,
        num_train=6,
        num_val=3,
        image_size=128,
        config_file=str(Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml"),
        weights="",
    )
    assert run_demo(settings) == Path(settings.folder) / "index.html"
    return settings


@pytest.fixture(scope="module")
def fine_tuned(finished: DemoSettings, tmp_path_factory: pytest.TempPathFactory) -> DemoSettings:
    """The same people, from the weights of the first demo."""
    weights = str(finished.model / "model_final.pth")
    folder = tmp_path_factory.mktemp("fine_tuned")
    settings = replace(finished, folder=folder, minutes=0.01, weights=weights)
    shutil.copytree(finished.data, settings.data)
    assert run_demo(settings) == Path(settings.folder) / "index.html"
    return settings


def test_a_start_from_weights_shows_what_they_gave_before(finished, fine_tuned):
    page = (Path(fine_tuned.folder) / "index.html").read_text()
    for text in ("the weights of the package", "mean GPS of a person", ": before", ": after"):
        assert text in page, text
    scores = json.loads((Path(fine_tuned.folder) / "scores.json").read_text())
    scratch = json.loads((finished.model / "inference" / "metrics.json").read_text())
    for task, values in scratch["results"]["demo_val"].items():
        for name, value in values.items():
            assert scores["before"][task][name] == pytest.approx(value, nan_ok=True), (task, name)
    # A model of one iteration finds nobody: put other figures there to tell the two apart.
    path = fine_tuned.before / "inference" / "metrics.json"
    other = json.loads(path.read_text())
    other["results"]["demo_val"]["densepose_points"]["mean_gps"] = 0.125
    path.write_text(json.dumps(other))
    assert run_demo(fine_tuned) is not None
    after = scores["results"]["densepose_points"]["mean_gps"]
    assert change_text(fine_tuned).startswith(f"mean GPS 0.125 → {after:.3f}, AUC30 ")


def test_the_page_shows_scores_curves_pictures_and_how_it_was_made(finished: DemoSettings):
    page = (Path(finished.folder) / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="index_pictures/' in page
    for text in ("GPSm", "mean GPS", "held-out image 1", "held-out image 3", "Learning rate"):
        assert text in page, text
    assert "densepose train --config-file" in page and "6 images to train on" in page


def test_a_training_of_one_iteration_has_no_pace(finished: DemoSettings):
    pieces = ({}, "a command", {"iteration": 1})
    assert _facts(finished, *pieces, [{"iteration": 0}])["training"] == "1 iterations"
    told = _facts(finished, *pieces, [{"time": 0.5}, {"time": 0.25}, {"time": 9.0}])["training"]
    assert told == "1 iterations, 0.50 s each (median)"


def test_the_scores_are_those_of_the_evaluation(finished: DemoSettings):
    scores = json.loads((Path(finished.folder) / "scores.json").read_text())
    evaluated = json.loads((finished.model / "inference" / "metrics.json").read_text())
    assert scores["results"] == evaluated["results"]["demo_val"]
    assert scores["iterations"] == evaluated["iteration"] > 0
    # The page itself is still being written when it shows these.
    assert set(scores["seconds"]) == {"distances", "data", "training and evaluation"}


def test_a_finished_training_is_not_repeated(finished: DemoSettings):
    model = finished.model / "model_final.pth"
    before = model.stat().st_mtime_ns
    assert run_demo(finished) is not None
    assert model.stat().st_mtime_ns == before


def test_a_stage_that_fails_ends_the_demo(tmp_path: Path):
    settings = DemoSettings(folder=tmp_path, num_train=0, num_val=0)
    with pytest.raises(ValueError, match="num"):
        run_demo(settings)


def test_other_settings_get_other_data(tmp_path: Path):
    first, second = DemoSettings(folder=tmp_path, seed=0), DemoSettings(folder=tmp_path, seed=1)
    assert first.data != second.data
    for command in (training_arguments(second), evaluation_arguments(second)):
        assert str(second.data) in " ".join(command)
    scratch = replace(first, weights="")
    assert scratch.data == first.data and scratch.model != first.model
    assert "shipped://" not in " ".join(training_arguments(scratch))


def test_times_add_up_over_interruptions(tmp_path: Path):
    for _ in range(2):
        times = StageTimes(tmp_path / "times.json", 1)
        with pytest.raises(RuntimeError), times.stage("a stage", "stage"):
            raise RuntimeError
        times.seconds["stage"] = times.seconds["stage"] + 10
        with times.stage("a stage", "stage"):
            pass
    assert json.loads((tmp_path / "times.json").read_text())["stage"] >= 20
