"""What users type about weights, and what they are answered."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from densepose.cli.__main__ import run_verb
from densepose.engine.weights import read_checkpoint
from tests.support.tiny_dataset import write_tiny_densepose_coco
from tests.support.training import QUICK, options

HEAD = "MODEL.ROI_DENSEPOSE_HEAD"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny_densepose_coco(tmp_path_factory.mktemp("data"), num_images=3)


@pytest.fixture(scope="module")
def trained(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the quick config: 2 coarse channels."""
    output = tmp_path_factory.mktemp("trained")
    short = {"SOLVER.MAX_ITER": 1, "DATASETS.TEST": ()}
    assert run_verb("train", ["--config-file", QUICK, *options(data, output, **short)]) == 0
    return output / "model_final.pth"


def released_form(trained: Path, path: Path) -> Path:
    """The same weights as detectron2's zoo has them."""
    weights = {name: value.numpy() for name, value in read_checkpoint(trained)["model"].items()}
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "zoo"}, protocol=2))
    return path


def evaluate(data: tuple[Path, Path], output: Path, weights: object, **changes: object) -> int:
    words = options(data, output, **{"MODEL.WEIGHTS": weights, **changes})
    return run_verb("evaluate", ["--config-file", QUICK, *words])


def test_released_pickles_and_their_conversions_give_the_same_scores(
    data: tuple[Path, Path], trained: Path, tmp_path: Path
):
    pickled = released_form(trained, tmp_path / "model_final_abcdef.pkl")
    assert run_verb("convert", [str(pickled), "--config-file", QUICK]) == 0
    converted = pickled.with_suffix(".safetensors")
    assert "META_ARCHITECTURE: GeneralizedRCNN" in read_checkpoint(converted)["config"]
    scores = []
    for weights in (trained, pickled, pickled.with_suffix(".safetensors")):
        output = tmp_path / weights.suffix
        assert evaluate(data, output, weights) == 0
        report = (output / "inference" / "load_report.txt").read_text()
        assert " 0 new, 0 left over, 0 of another shape" in report.splitlines()[0]
        scores.append(json.loads((output / "inference" / "metrics.json").read_text())["results"])
    assert scores[0] == scores[1] == scores[2]


def test_weights_of_another_config_name_the_key(
    data: tuple[Path, Path], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    key = f"{HEAD}.NUM_COARSE_SEGM_CHANNELS"
    assert evaluate(data, tmp_path / "out", trained, **{key: 15}) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert "would stay random" in text and "MODEL.ALLOW_RANDOM_HEAD True" in text
    assert f"the weights have 2 coarse channels, the config 15: set {key} 2" in text
    report = (tmp_path / "out" / "inference" / "load_report.txt").read_text()
    assert "2 of another shape" in report
    convert = [str(trained), str(tmp_path / "w.pth"), "--config-file", QUICK]
    assert run_verb("convert", [*convert, "--opts", key, "15"]) == 1
    assert "--partial writes what fits" in capsys.readouterr().err
    assert run_verb("convert", [*convert, key, "15", "--partial"]) == 0


def test_a_random_head_is_evaluated_where_the_config_allows_it(
    data: tuple[Path, Path], trained: Path, tmp_path: Path
):
    changes = {f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": 15, "MODEL.ALLOW_RANDOM_HEAD": True}
    assert evaluate(data, tmp_path / "out", trained, **changes) == 0


def test_fine_tuning_to_other_channels_with_a_frozen_backbone(
    data: tuple[Path, Path], trained: Path, tmp_path: Path
):
    frozen = ["backbone.bottom_up", "proposal_generator"]
    changes = {
        "MODEL.WEIGHTS": trained,
        f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": 15,
        "MODEL.FINE_TUNE.FREEZE": frozen,
        "SOLVER.LR_FACTORS": [["roi_heads.densepose_predictor.ann_index_lowres", 10.0]],
        "SOLVER.MAX_ITER": 2,
        "SOLVER.EMA.ENABLED": False,
        "DATASETS.TEST": (),
    }
    words = options(data, tmp_path, **changes)
    assert run_verb("train", ["--config-file", QUICK, *words]) == 0
    before, after = (
        read_checkpoint(trained)["model"],
        read_checkpoint(tmp_path / "model_final.pth")["model"],
    )
    kept = [name for name in before if name.startswith(tuple(frozen)) and name in after]
    assert len(kept) > 100
    assert all(torch.equal(after[name], before[name]) for name in kept)
    head = "roi_heads.densepose_head.body_conv_fcn1.weight"
    assert after[head].shape == before[head].shape and not torch.equal(after[head], before[head])
    assert after["roi_heads.densepose_predictor.ann_index_lowres.bias"].shape == (15,)
    report = (tmp_path / "load_report.txt").read_text()
    assert "0 new, 0 left over, 2 of another shape" in report.splitlines()[0]


def test_fine_tuning_to_another_number_of_parts(
    data: tuple[Path, Path], trained: Path, tmp_path: Path
):
    changes = {
        "MODEL.WEIGHTS": trained,
        f"{HEAD}.NUM_PATCHES": 30,
        f"{HEAD}.REGION_WEIGHT": 0.0,
        "SOLVER.MAX_ITER": 1,
        "DATASETS.TEST": (),
    }
    words = options(data, tmp_path, **changes)
    assert run_verb("train", ["--config-file", QUICK, *words]) == 0
    report = (tmp_path / "load_report.txt").read_text()
    assert "0 new, 0 left over, 6 of another shape" in report.splitlines()[0]


def test_an_unknown_model_of_the_zoo_is_answered_before_the_run(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert evaluate(data, tmp_path / "out", "zoo://R_50_FPN_s2x") == 1
    assert "did you mean 'R_50_FPN_s1x'" in " ".join(capsys.readouterr().err.split())
