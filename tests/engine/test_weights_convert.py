from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from densepose.engine.weights_convert import convert_weights
from densepose.engine.weights_file import WeightsFile, read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3) / 7, "a.bias": torch.ones(2) / 3}


@pytest.fixture
def checkpoint(tmp_path: Path) -> WeightsFile:
    content = {"model": WEIGHTS, "iteration": 7, "config": "VERSION: 2", "trainer": {"x": 1}}
    torch.save(content, tmp_path / "model.pth")
    return read_weights(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back_as_they_were(checkpoint: WeightsFile, tmp_path: Path, suffix: str):
    done = convert_weights(checkpoint, tmp_path / "new" / f"w{suffix}", notes={"licence": "CC0"})
    back = read_weights(done.target)
    torch.testing.assert_close(back.weights, WEIGHTS, rtol=0, atol=0)
    assert back.name_matching == "exact"
    notes = back.extra if suffix == ".safetensors" else back.extra["metadata"]
    assert notes["config"] == "VERSION: 2" and notes["iteration"] == "7"
    assert notes["source"] == "model.pth" and notes["licence"] == "CC0"
    assert done.left_out == ("trainer",) and "left out, being no weights: trainer" in done.text()
    assert (done.num_tensors, done.num_values) == (2, 8)
    assert [path.name for path in done.target.parent.iterdir()] == [done.target.name]


def test_a_converted_file_keeps_its_notes_when_it_is_converted_again(
    checkpoint: WeightsFile, tmp_path: Path
):
    first = convert_weights(checkpoint, tmp_path / "a.pth", notes={"licence": "CC0"}).target
    again = convert_weights(read_weights(first), tmp_path / "b.safetensors")
    with safe_open(again.target, framework="pt") as file:
        notes = file.metadata()
    assert notes["licence"] == "CC0" and notes["config"] == "VERSION: 2" and notes["format"] == "pt"
    assert again.left_out == ()


def test_half_precision_is_for_matrices_that_it_can_hold(tmp_path: Path):
    weights = {
        "conv.weight": torch.linspace(-1, 1, 9).reshape(3, 3) / 1.1,
        "norm.running_var": torch.full((4,), 1e-9),
        "large.weight": torch.full((2, 2), 1e6),
        "count": torch.ones(2, 2, dtype=torch.int64),
    }
    torch.save(weights, tmp_path / "w.pth")
    done = convert_weights(read_weights(tmp_path / "w.pth"), tmp_path / "h.safetensors", half=True)
    back = read_weights(done.target).weights
    assert {n for n, v in back.items() if v.dtype == torch.float16} == {"conv.weight"}
    torch.testing.assert_close(back["norm.running_var"], weights["norm.running_var"])
    assert done.kept_full == ("large.weight",) and done.num_halved == 1
    # A number keeps 11 bits: rounding changes it by at most 2**-11 of itself.
    assert 0 < done.largest_rounding <= 2**-11
    torch.testing.assert_close(
        back["conv.weight"].float(), weights["conv.weight"], rtol=2**-11, atol=0
    )


def caffe2_file(folder: Path) -> Path:
    blobs = {"conv1_w": np.ones((4, 3, 7, 7), np.float32), "conv1_w_momentum": np.ones(2)}
    path = folder / "old.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs, "cfg": "TRAIN: 1"}, protocol=2))
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_caffe2_names_are_rewritten_and_still_matched_by_their_ends(tmp_path: Path, suffix: str):
    done = convert_weights(read_weights(caffe2_file(tmp_path)), tmp_path / f"new{suffix}")
    back = read_weights(done.target)
    assert list(back.weights) == ["stem.conv1.weight"] and back.name_matching == "suffix"
    assert done.left_out == ("cfg", "conv1_w_momentum")


def test_names_of_a_model_are_written_as_given(tmp_path: Path):
    file = read_weights(caffe2_file(tmp_path))
    named = {"backbone.bottom_up.stem.conv1.weight": torch.ones(4, 3, 7, 7)}
    back = read_weights(convert_weights(file, tmp_path / "n.pth", named=named).target)
    assert list(back.weights) == list(named) and back.name_matching == "exact"


def test_weights_that_share_memory_are_written_apart(tmp_path: Path):
    base = torch.arange(12.0).reshape(3, 4)
    tied: dict[str, Tensor] = {"a": base, "b": base, "c": base.t()}
    torch.save(tied, tmp_path / "tied.pth")
    done = convert_weights(read_weights(tmp_path / "tied.pth"), tmp_path / "w.safetensors")
    torch.testing.assert_close(read_weights(done.target).weights, tied)


def test_a_failed_write_leaves_the_old_file(
    checkpoint: WeightsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = convert_weights(checkpoint, tmp_path / "w.safetensors").target
    before = target.read_bytes()

    def disk_full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("densepose.engine.weights_convert.save_file", disk_full)
    with pytest.raises(OSError, match="No space left"):
        convert_weights(checkpoint, target)
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_another_ending_is_refused(checkpoint: WeightsFile, tmp_path: Path):
    with pytest.raises(ValueError, match=r"w.onnx: the name has to end in .safetensors or .pth"):
        convert_weights(checkpoint, tmp_path / "w.onnx")
