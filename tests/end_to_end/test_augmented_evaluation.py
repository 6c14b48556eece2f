"""``--eval-only`` with TEST.AUG: both evaluations, and problems told before the first image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.training import QUICK, options, train_net


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny_densepose_coco(tmp_path_factory.mktemp("data"), num_images=2)


def words(data: tuple[Path, Path], output: Path, **changes: object) -> list[str]:
    views = {"TEST.AUG.ENABLED": True, "TEST.AUG.MIN_SIZES": "(64,)", "MODEL.WEIGHTS": ""}
    angles = {"TEST.AUG.ROTATION_ANGLES": "(10,)", "MODEL.ALLOW_RANDOM_HEAD": True}
    return options(data, output, **{**views, **angles, **changes})


def test_eval_only_scores_both_ways(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    given = words(data, tmp_path, **{"DENSEPOSE_EVALUATION.STORAGE": "file"})
    assert train_net(monkeypatch, "--config-file", QUICK, "--eval-only", *given) == 0
    tables = []
    for folder in ("inference", "inference_TTA"):
        content = json.loads((tmp_path / folder / "metrics.json").read_text())
        tables.append(content["results"]["tiny"])
        assert len(list((tmp_path / folder / "tiny" / "predictions").glob("*.npz"))) == 2
    assert tables[0].keys() == tables[1].keys() >= {"densepose_gps", "densepose_points", "bbox"}
    assert str(tmp_path / "inference_TTA" / "metrics.json") in capsys.readouterr().out


def test_problems_are_told_before_the_first_image(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    given = words(data, tmp_path, **{"TEST.AUG.MIN_SIZES": "()", "MODEL.KEYPOINT_ON": True})
    assert train_net(monkeypatch, "--config-file", QUICK, "--eval-only", *given) == 1
    screen = " ".join(capsys.readouterr().err.split())
    assert "MIN_SIZES=(): give the shorter side of at least one view" in screen
    assert "keypoints of several views cannot be averaged" in screen
    assert list(tmp_path.rglob("*.npz")) == []
