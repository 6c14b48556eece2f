"""What files of weights are read, and which are refused, without running their code."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from densepose.engine.load_report import compare_weights
from densepose.engine.weights import match_names, read_checkpoint
from densepose.errors import InputError
from densepose.model_zoo import files, resolve_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
HEURISTICS = "matching_heuristics"


def test_reads_what_torch_and_safetensors_write(tmp_path: Path):
    torch.save(WEIGHTS, tmp_path / "plain.pth")
    torch.save({"model": WEIGHTS, "iteration": 7}, tmp_path / "full.pth")
    metadata = {HEURISTICS: "True", "config": "VERSION: 2"}
    save_file(WEIGHTS, tmp_path / "safe.safetensors", metadata=metadata)
    torch.save({"model_state": WEIGHTS}, tmp_path / "pycls.pyth")
    for name, extra in (
        ("plain.pth", {}),
        ("full.pth", {"iteration": 7}),
        ("safe.safetensors", {HEURISTICS: True, "config": "VERSION: 2"}),
        ("pycls.pyth", {HEURISTICS: True}),
    ):
        content = read_checkpoint(tmp_path / name)
        torch.testing.assert_close(content.pop("model"), WEIGHTS)
        assert content == extra


@pytest.mark.parametrize("name", ["w.pth", "w.pkl", "w.bin"])
@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_weights_are_found_where_other_programs_keep_them(tmp_path: Path, name: str, key: str):
    """Whatever the file is called; numbers of NumPy beside the weights are read, too."""
    beside = {"epoch": 3, "best": np.float64(0.5), "seen": np.int64(7), "curve": np.arange(3)}
    (tmp_path / "torch").mkdir()
    torch.save({key: WEIGHTS, **beside}, tmp_path / "torch" / name)
    arrays = {n: v.numpy() for n, v in WEIGHTS.items()}
    (tmp_path / name).write_bytes(pickle.dumps({key: arrays, **beside}, protocol=2))
    for path in (tmp_path / "torch" / name, tmp_path / name):
        content = read_checkpoint(path)
        torch.testing.assert_close(content.pop("model"), WEIGHTS)
        assert content.pop("curve").tolist() == [0, 1, 2]
        assert content == {"epoch": 3, "best": 0.5, "seen": 7}


def test_numbers_between_weights_are_no_weights(tmp_path: Path):
    torch.save({**WEIGHTS, "epoch": 3, "best": np.float32(1)}, tmp_path / "w.pth")
    content = read_checkpoint(tmp_path / "w.pth")
    assert content["model"].keys() == WEIGHTS.keys() and content["epoch"] == 3
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="w.pth: holds no weights, but epoch"):
        read_checkpoint(tmp_path / "w.pth")


def test_takes_the_prefix_of_a_parallel_model_off(tmp_path: Path):
    torch.save({f"module.{name}": value for name, value in WEIGHTS.items()}, tmp_path / "w.pth")
    assert set(read_checkpoint(tmp_path / "w.pth")["model"]) == set(WEIGHTS)


def test_shipped_stands_for_the_weights_of_the_package(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "SHIPPED_FOLDER", tmp_path)
    with pytest.raises(InputError, match="no weights come with this package"):
        resolve_weights("shipped://")
    save_file(WEIGHTS, tmp_path / "people.safetensors", metadata={"config": "synthetic/x"})
    assert resolve_weights("shipped://") == tmp_path / "people.safetensors"


@pytest.mark.parametrize(
    ("content", "extra"),
    [
        ({"model": {"w": np.ones(2)}, "__author__": "zoo"}, {"__author__": "zoo"}),
        (
            {"blobs": OrderedDict(w=np.ones(2), w_momentum=np.zeros(1)), "cfg": "x"},
            {"cfg": "x", "w_momentum": np.zeros(1), "__author__": "Caffe2", HEURISTICS: True},
        ),
        ({"w": np.ones(2)}, {"__author__": "Caffe2", HEURISTICS: True}),
    ],
)
def test_reads_released_pickles_of_arrays(tmp_path: Path, content: object, extra: object):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    read = read_checkpoint(path)
    torch.testing.assert_close(read.pop("model"), {"w": torch.ones(2, dtype=torch.float64)})
    assert read == extra


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("ran-code"),))


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_runs_no_code_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"evil{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": {"w": Evil()}}))
    else:
        torch.save({"model": {"w": Evil()}}, path)
    refused = r"asks for (posix|pathlib|getattr)\S*; only .* are read from a .*could run code"
    with pytest.raises(ValueError, match=rf"evil{suffix}: {refused}") as caught:
        read_checkpoint(path)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran-code").exists()


@pytest.fixture
def good(tmp_path: Path) -> dict[str, bytes]:
    torch.save(WEIGHTS, tmp_path / "good.pth")
    save_file(WEIGHTS, tmp_path / "good.safetensors")
    arrays = pickle.dumps({"a.weight": np.zeros((9, 9))}, protocol=2)
    good = {"good.pkl": arrays}
    return good | {path.name: path.read_bytes() for path in tmp_path.glob("good.*")}


@pytest.mark.parametrize(
    ("name", "kept", "message"),
    [
        ("good.pth", 0.5, "the file is truncated at"),
        ("good.pkl", 0.5, "the file is truncated at"),
        ("good.safetensors", 0.95, "the file is truncated or damaged"),
        ("good.safetensors", 0.1, "the file is truncated or damaged"),
    ],
)
def test_a_truncated_file_is_recognised(tmp_path: Path, good, name: str, kept: float, message: str):
    path = tmp_path / name
    path.write_bytes(good[name][: int(kept * len(good[name]))])
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.pth", b"<!DOCTYPE html><html><body>404</body></html>", "this is a web page"),
        ("pointer.pth", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("empty.pth", b"", "the file is empty"),
        ("noise.pth", bytes(range(256)), "not a readable file of weights"),
        ("noise.safetensors", bytes(range(256)), "the file is truncated or damaged"),
        ("noise.pkl", b"broken.", "not a complete pickle"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        read_checkpoint(path)


def test_says_what_is_not_a_weight(tmp_path: Path):
    torch.save({"model": {"w": "text"}}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match="entry 'w' is a str, expected a tensor"):
        read_checkpoint(tmp_path / "odd.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"expected a dictionary of weights, got list"):
        read_checkpoint(tmp_path / "list.pth")
    with pytest.raises(InputError, match="no such file of weights"):
        read_checkpoint(tmp_path / "missing.pth")


def test_a_pickle_with_any_byte_changed_gives_weights_or_one_kind_of_error(tmp_path: Path):
    good = pickle.dumps({"model": {"w": np.arange(3.0)}, "__author__": "zoo"}, protocol=2)
    random = np.random.default_rng(0)
    path, refused = tmp_path / "w.pkl", 0
    for _ in range(300):
        changed = bytearray(good)
        changed[random.integers(len(good))] = random.integers(256)
        path.write_bytes(changed)
        try:
            read_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith(str(path))
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("kind", [object, [("a", "f4"), ("b", "O")]])
def test_arrays_of_objects_are_no_weights(tmp_path: Path, kind: object):
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"w": np.zeros(2, dtype=kind)}))
    with pytest.raises(ValueError, match="w.pkl: "):
        read_checkpoint(path)


MODEL = {
    "backbone.bottom_up.stem.conv1.weight": torch.zeros(4, 3),
    "backbone.bottom_up.res2.0.conv1.weight": torch.zeros(5, 4),
    "roi_heads.box_predictor.cls_score.weight": torch.zeros(2, 7),
    "roi_heads.densepose_predictor.ann_index_lowres.bias": torch.zeros(15),
}
CAFFE2 = {
    "conv1_w": torch.rand(4, 3),
    "res2_0_branch2a_w": torch.rand(5, 4),
    "cls_score_w": torch.rand(2, 7),
    "AnnIndex_lowres_b": torch.rand(15),
}


def from_caffe2(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    checkpoint = {"model": weights, "__author__": "Caffe2", HEURISTICS: True}
    return match_names("w.pkl", checkpoint, MODEL)


def test_caffe2_names_find_their_places():
    found = from_caffe2(CAFFE2)
    assert found.keys() == MODEL.keys()
    # Class 0, the background, is last here.
    classes = "roi_heads.box_predictor.cls_score.weight"
    torch.testing.assert_close(found[classes], CAFFE2["cls_score_w"][[1, 0]])


def test_caffe2_weights_that_do_not_fit_are_reported():
    found = from_caffe2(CAFFE2 | {"AnnIndex_lowres_b": torch.ones(2), "conv_fcn1_w": torch.ones(1)})
    report = compare_weights("w.pkl", found, MODEL)
    (name,) = set(MODEL) - set(report.matched)
    assert name in report.untouched
    assert "roi_heads.keypoint_head.conv_fcn1.weight" in report.left_over


def test_one_weight_for_two_places_is_refused():
    model = {"a.conv.weight": torch.zeros(2), "b.conv.weight": torch.zeros(2)}
    checkpoint = {"model": {"conv.weight": torch.ones(2)}, HEURISTICS: True}
    with pytest.raises(ValueError, match=r"w.pkl: its names cannot be matched"):
        match_names("w.pkl", checkpoint, model)
    with pytest.raises(ValueError, match=r"w.pkl: its names cannot be matched"):
        from_caffe2({"conv_a": torch.ones(1), "conv.a": torch.ones(1)})


def test_a_backbones_own_names_get_their_place():
    model = {
        "backbone.bottom_up.conv1.weight": torch.zeros(2),
        "backbone.fpn_conv.0.weight": torch.zeros(4),
    }
    own = {"conv1.weight": torch.ones(2), "final_layers.0.weight": torch.ones(9)}
    found = match_names("w.pth", {"model": own}, model)
    assert set(found) == {"backbone.bottom_up.conv1.weight", "final_layers.0.weight"}
    # A file with a name of the model stays as it is.
    mixed = {"conv1.weight": torch.ones(2), "backbone.fpn_conv.0.weight": torch.ones(4)}
    assert match_names("w.pth", {"model": mixed}, model) == mixed
