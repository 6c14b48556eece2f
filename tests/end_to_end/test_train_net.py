"""From a config file to scores, through ``tools/train_net.py`` and ``densepose evaluate``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from densepose.cli.__main__ import run_verb
from densepose.engine.weights import read_checkpoint
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.training import ITERATIONS, QUICK, options, train_net


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny_densepose_coco(tmp_path_factory.mktemp("data"), num_images=5)


@pytest.fixture(scope="module")
def trained(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished run."""
    output = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as monkeypatch:
        words = options(data, output, **{"DENSEPOSE_EVALUATION.STORAGE": "file"})
        assert train_net(monkeypatch, "--config-file", QUICK, *words) == 0
    return output


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "out"))


def scores(output: Path) -> dict[str, dict[str, float]]:
    return json.loads((output / "inference" / "metrics.json").read_text())["results"]["tiny"]


def curve(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]


def test_training_leaves_everything_in_one_folder(trained: Path):
    expected = {
        "config.yaml",
        "inference",
        "last_checkpoint",
        "log.txt",
        "metrics.json",
        "model_0000001.pth",
        "model_best.json",
        "model_best.pth",
        "model_final.pth",
    }
    found = {path.name for path in trained.iterdir()}
    assert expected <= found
    assert len([name for name in found if name.startswith("events.out.tfevents")]) == 1
    losses = [line for line in curve(trained) if "total_loss" in line]
    assert [line["iteration"] for line in losses] == list(range(ITERATIONS))
    names = {"loss_densepose_I", "loss_densepose_U", "loss_cls", "loss_rpn_loc", "lr", "grad_norm"}
    assert names <= set(losses[0])
    assert losses[-1]["total_loss"] < losses[0]["total_loss"] * 2
    evaluated = [line["iteration"] for line in curve(trained) if "densepose_gpsm/AP" in line]
    assert evaluated == [2, ITERATIONS]


def test_eval_only_gives_the_scores_of_the_end_of_training(
    trained: Path, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = options(data, tmp_path, **{"MODEL.WEIGHTS": trained / "model_final.pth"})
    assert train_net(monkeypatch, "--config-file", QUICK, "--eval-only", *words) == 0
    assert scores(tmp_path) == scores(trained)
    report = (tmp_path / "inference" / "load_report.txt").read_text()
    assert ", 0 new, 0 left over, 0 of another shape" in report
    assert not (tmp_path / "config.yaml").exists()


def test_predictions_on_disk_give_the_same_scores(
    trained: Path, data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = trained / "inference" / "tiny" / "predictions"
    words = [str(folder), str(data[0]), "--output", str(tmp_path / "scores.json")]
    assert run_verb("score", words) == 0
    tables = json.loads((tmp_path / "scores.json").read_text())["tables"]
    assert tables == {name: row for name, row in scores(trained).items() if name in tables}
    assert "GPSm" in capsys.readouterr().out


def test_resuming_goes_on_where_the_last_valid_checkpoint_is(
    copied: Path,
    data: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    final = copied / "model_final.pth"
    final.write_bytes(final.read_bytes()[:1000])
    words = options(data, copied, **{"SOLVER.MAX_ITER": ITERATIONS + 1, "TEST.EVAL_PERIOD": 0})
    assert train_net(monkeypatch, "--config-file", QUICK, "--resume", *words) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "model_final.pth: the file is truncated at 1,000 bytes" in screen
    assert "model_0000003.pth" in screen and "Resuming after 4 iterations" in screen
    losses = [line["iteration"] for line in curve(copied) if "total_loss" in line]
    assert losses == list(range(ITERATIONS + 1))
    assert read_checkpoint(final)["iteration"] == ITERATIONS


def test_the_last_checkpoint_is_evaluated_with_resume(
    copied: Path, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    shutil.rmtree(copied / "inference")
    assert run_verb("evaluate", ["--config-file", QUICK, "--resume", *options(data, copied)]) == 0
    assert scores(copied)["densepose_points"].keys() >= {"mean_gps", "auc30"}
