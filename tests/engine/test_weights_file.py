from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from densepose.engine import shipped_model
from densepose.engine.weights_file import read_weights, resolve_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def test_reads_what_torch_and_safetensors_write(tmp_path: Path):
    torch.save(WEIGHTS, tmp_path / "plain.pth")
    torch.save({"model": WEIGHTS, "iteration": 7}, tmp_path / "full.pth")
    save_file(WEIGHTS, tmp_path / "safe.safetensors")
    for name in ("plain.pth", "full.pth", "safe.safetensors"):
        file = read_weights(tmp_path / name)
        torch.testing.assert_close(file.weights, WEIGHTS)
        assert file.name_matching == "exact"
    assert read_weights(tmp_path / "full.pth").extra == {"iteration": 7}


def test_shipped_stands_for_the_weights_of_the_package(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shipped_model, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="no weights come with this package"):
        resolve_weights("shipped://")
    save_file(WEIGHTS, tmp_path / "people.safetensors", metadata={"config": "synthetic/x"})
    assert resolve_weights("shipped://") == tmp_path / "people.safetensors"


def test_takes_the_prefix_of_a_parallel_model_off(tmp_path: Path):
    torch.save({f"module.{name}": value for name, value in WEIGHTS.items()}, tmp_path / "w.pth")
    assert set(read_weights(tmp_path / "w.pth").weights) == set(WEIGHTS)


@pytest.mark.parametrize(
    ("content", "matching"),
    [
        ({"model": {"w": np.ones(2, np.float32)}, "__author__": "zoo"}, "exact"),
        (
            {
                "model": {"w": np.ones(2, np.float32)},
                "__author__": "x",
                "matching_heuristics": True,
            },
            "suffix",
        ),
        ({"blobs": OrderedDict(w=np.ones(2, np.float32), w_momentum=np.ones(2))}, "caffe2"),
        ({"w": np.ones(2, np.float32)}, "caffe2"),
    ],
)
def test_reads_released_pickles_of_arrays(tmp_path: Path, content: object, matching: str):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    file = read_weights(path)
    assert file.name_matching == matching
    torch.testing.assert_close(file.weights, {"w": torch.ones(2)})


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
        read_weights(path)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran-code").exists()


def damaged(tmp_path: Path) -> dict[str, Path]:
    torch.save(WEIGHTS, tmp_path / "good.pth")
    good = (tmp_path / "good.pth").read_bytes()
    save_file(WEIGHTS, tmp_path / "good.safetensors")
    arrays = pickle.dumps({"a.weight": np.zeros((9, 9))}, protocol=2)
    contents = {
        "truncated.pth": good[: len(good) // 2],
        "truncated.safetensors": (tmp_path / "good.safetensors").read_bytes()[:-1],
        "header.safetensors": (tmp_path / "good.safetensors").read_bytes()[:20],
        "truncated.pkl": arrays[: len(arrays) // 2],
        "page.pth": b"<!DOCTYPE html><html><body>404</body></html>",
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "empty.pth": b"",
        "noise.pth": bytes(range(256)),
        "noise.safetensors": bytes(range(256)),
        "noise.pkl": b"broken",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated.pth", "the file is truncated at"),
        ("truncated.safetensors", "the file is truncated at"),
        ("header.safetensors", "the file is truncated at 20 bytes"),
        ("truncated.pkl", "the file is truncated at"),
        ("page.pth", "this is a web page, not a file of weights"),
        ("pointer.pth", "Git LFS pointer"),
        ("empty.pth", "the file is empty"),
        ("noise.pth", "not a readable file of weights"),
        ("noise.safetensors", "not a readable safetensors file"),
        ("noise.pkl", "not a complete pickle"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, name: str, message: str):
    path = damaged(tmp_path)[name]
    with pytest.raises(ValueError, match=message) as caught:
        read_weights(path)
    assert str(caught.value).startswith(str(path))


def test_says_what_is_not_a_weight(tmp_path: Path):
    torch.save({"model": {"w": "text"}}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match="entry 'w' is a str, expected a tensor"):
        read_weights(tmp_path / "odd.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"expected a dictionary of weights, got list"):
        read_weights(tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match="no such file of weights"):
        read_weights(tmp_path / "missing.pth")


def test_names_that_a_torch_file_wants_matched_by_their_ends(tmp_path: Path):
    torch.save({"model": WEIGHTS, "matching_heuristics": True}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").name_matching == "suffix"


def test_metadata_of_a_safetensors_file_is_read(tmp_path: Path):
    metadata = {"matching_heuristics": "True", "config": "VERSION: 2"}
    save_file(WEIGHTS, tmp_path / "w.safetensors", metadata=metadata)
    file = read_weights(tmp_path / "w.safetensors")
    assert file.name_matching == "suffix"
    assert file.extra == metadata


def test_a_pickle_with_any_byte_changed_gives_weights_or_one_kind_of_error(tmp_path: Path):
    good = pickle.dumps({"model": {"w": np.arange(3.0)}, "__author__": "zoo"}, protocol=2)
    random = np.random.default_rng(0)
    path, refused = tmp_path / "w.pkl", 0
    for _ in range(300):
        changed = bytearray(good)
        changed[random.integers(len(good))] = random.integers(256)
        path.write_bytes(changed)
        try:
            read_weights(path)
        except ValueError as error:
            assert str(error).startswith(str(path))
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("kind", [object, [("a", "f4"), ("b", "O")]])
def test_arrays_of_objects_are_no_weights(tmp_path: Path, kind: object):
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"w": np.zeros(2, dtype=kind)}))
    with pytest.raises(ValueError, match="w.pkl: "):
        read_weights(path)
