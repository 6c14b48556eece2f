from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from densepose.cli.convert import convert
from densepose.engine.weights import HEURISTICS, read_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3) / 7, "a.bias": torch.ones(2) / 3}


@pytest.fixture
def checkpoint(tmp_path: Path) -> dict[str, Any]:
    content = {"model": WEIGHTS, "iteration": 7, "config": "VERSION: 2", "trainer": {"x": 1}}
    torch.save(content, tmp_path / "model.pth")
    return read_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back_as_they_were(checkpoint, tmp_path: Path, suffix: str):
    target = tmp_path / "new" / f"w{suffix}"
    text = convert(checkpoint, target, notes={"licence": "CC0"})
    back = read_checkpoint(target)
    torch.testing.assert_close(back["model"], WEIGHTS, rtol=0, atol=0)
    assert HEURISTICS not in back
    notes = back if suffix == ".safetensors" else back["metadata"]
    assert notes["config"] == "VERSION: 2" and notes["iteration"] == "7"
    assert notes["licence"] == "CC0"
    assert "2 tensors" in text and "skipped, not weights: trainer" in text
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_converted_file_keeps_its_notes_when_it_is_converted_again(checkpoint, tmp_path: Path):
    convert(checkpoint, tmp_path / "a.pth", notes={"licence": "CC0"})
    text = convert(read_checkpoint(tmp_path / "a.pth"), tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        notes = file.metadata()
    assert notes["config"] == "VERSION: 2" and notes["format"] == "pt"
    assert "left out" not in text


def test_half_precision_is_for_matrices_that_it_can_hold(tmp_path: Path):
    weights = {
        "conv.weight": torch.linspace(-1, 1, 9).reshape(3, 3) / 1.1,
        "norm.running_var": torch.full((4,), 1e-9),
        "large.weight": torch.full((2, 2), 1e6),
        "count": torch.ones(2, 2, dtype=torch.int64),
    }
    text = convert({"model": weights}, tmp_path / "h.safetensors", half=True)
    back = read_checkpoint(tmp_path / "h.safetensors")["model"]
    assert {n for n, v in back.items() if v.dtype == torch.float16} == {"conv.weight"}
    torch.testing.assert_close(back["norm.running_var"], weights["norm.running_var"])
    assert "1 in half precision" in text and "too large for half precision: large.weight" in text
    torch.testing.assert_close(
        back["conv.weight"].float(), weights["conv.weight"], rtol=2**-11, atol=0
    )


def caffe2_file(folder: Path) -> dict[str, Any]:
    blobs = {"conv1_w": np.ones((4, 3, 7, 7), np.float32), "conv1_w_momentum": np.ones(2)}
    path = folder / "old.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs, "cfg": "TRAIN: 1"}, protocol=2))
    return read_checkpoint(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_caffe2_names_are_rewritten_and_still_matched_by_their_ends(tmp_path: Path, suffix: str):
    text = convert(caffe2_file(tmp_path), tmp_path / f"new{suffix}")
    back = read_checkpoint(tmp_path / f"new{suffix}")
    assert list(back["model"]) == ["stem.conv1.weight"] and back[HEURISTICS]
    assert back["__author__"] != "Caffe2"  # or detectron2 would rewrite the names again
    assert "skipped, not weights: cfg, conv1_w_momentum" in text


def test_names_that_are_not_caffe2s_are_refused(tmp_path: Path):
    twins = {"conv_a": torch.ones(1), "conv.a": torch.ones(1)}
    checkpoint = {"model": twins, "__author__": "Caffe2", HEURISTICS: True}
    with pytest.raises(ValueError, match="not those of a Caffe2 model"):
        convert(checkpoint, tmp_path / "w.pth")


def test_weights_that_share_memory_are_written_apart(tmp_path: Path):
    base = torch.arange(12.0).reshape(3, 4)
    tied = {"a": base, "b": base, "c": base.t()}
    convert({"model": tied}, tmp_path / "w.safetensors")
    torch.testing.assert_close(read_checkpoint(tmp_path / "w.safetensors")["model"], tied)


def test_a_failed_write_leaves_the_old_file(
    checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "w.safetensors"
    convert(checkpoint, target)
    before = target.read_bytes()

    def disk_full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", disk_full)
    with pytest.raises(OSError, match="No space left"):
        convert(checkpoint, target)
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_another_ending_is_refused(checkpoint, tmp_path: Path):
    with pytest.raises(ValueError, match=r"w.onnx: the name has to end in .safetensors or .pth"):
        convert(checkpoint, tmp_path / "w.onnx")
