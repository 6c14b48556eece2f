"""What users type about weights, and what they are answered."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
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


class Sent:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("ran-code"),))


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
    named = read_checkpoint(pickled.with_suffix(".safetensors"))["config"]
    assert named == QUICK.removesuffix(".yaml").removeprefix("configs/")
    scores = []
    for weights in (trained, pickled, pickled.with_suffix(".safetensors")):
        output = tmp_path / weights.suffix
        assert evaluate(data, output, weights) == 0
        report = (output / "inference" / "load_report.txt").read_text()
        assert " 0 new, 0 left over, 0 of another shape" in report.splitlines()[0]
        scores.append(json.loads((output / "inference" / "metrics.json").read_text())["results"])
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize("verb", ["evaluate", "train", "convert"])
def test_a_malicious_pickle_does_not_run(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
):
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.pkl"
    evil.write_bytes(pickle.dumps({"model": {"w": np.ones(2), "x": Sent()}, "__author__": "zoo"}))
    if verb == "convert":
        assert run_verb(verb, [str(evil)]) == 1
    else:
        words = options(data, tmp_path / "out", **{"MODEL.WEIGHTS": evil})
        assert run_verb(verb, ["--config-file", QUICK, *words]) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert f"{evil}: asks for p" in text and "could run code" in text
    assert not (tmp_path / "ran-code").exists()
    assert not (tmp_path / "evil.safetensors").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
def test_a_truncated_file(
    data: tuple[Path, Path],
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
):
    whole = {".pkl": released_form(trained, tmp_path / "a.pkl"), ".pth": trained}.get(suffix)
    if whole is None:
        whole = tmp_path / "a.safetensors"
        assert run_verb("convert", [str(trained), str(whole)]) == 0
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert evaluate(data, tmp_path / "out", cut) == 1
    assert f"{cut}: the file is truncated" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": 15},
            "the weights have 2 coarse channels, the config 15:"
            f" set {HEAD}.NUM_COARSE_SEGM_CHANNELS 2",
        ),
        (
            {f"{HEAD}.NUM_PATCHES": 10},
            "the weights have 25 part channels, the config 11",
        ),
        (
            {f"{HEAD}.UV_CONFIDENCE.ENABLED": True},
            f"the weights were trained with {HEAD}.UV_CONFIDENCE.ENABLED False",
        ),
        ({"MODEL.FPN.OUT_CHANNELS": 24}, "backbone.fpn_lateral3 (2), backbone.fpn_lateral4 (2)"),
    ],
)
def test_weights_of_another_config_name_the_key(
    data: tuple[Path, Path],
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
):
    pickled = released_form(trained, tmp_path / "released.pkl")
    assert evaluate(data, tmp_path / "out", pickled, **changes) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert "would stay random" in text and message in text
    assert "MODEL.ALLOW_RANDOM_HEAD True" in text
    words = [word for key, value in changes.items() for word in (key, str(value))]
    convert = ["convert", str(trained), str(tmp_path / "w.pth"), "--config-file", QUICK]
    assert run_verb(convert[0], [*convert[1:], "--opts", *words]) == 1
    assert "--partial writes what fits" in capsys.readouterr().err
    assert run_verb(convert[0], [*convert[1:], *words, "--partial"]) == 0


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
    assert "did you mean R_50_FPN_s1x" in " ".join(capsys.readouterr().err.split())
