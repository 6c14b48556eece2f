from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from densepose.evaluation.torch_pickle import PlainObject, StoredTensor, load_torch_pickle


@dataclass
class Found:
    """A class of the writing program, as the pickle names it."""

    labels: torch.Tensor
    note: str | None = None


Found.__module__ = "densepose.structures.somewhere"

NUMBERS = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
TENSORS = [
    NUMBERS,
    NUMBERS[1, :, 2],
    NUMBERS.permute(2, 0, 1),
    torch.tensor(7),
    torch.zeros(0, 4),
    torch.tensor([True, False]),
    torch.arange(5, dtype=torch.uint8),
    torch.arange(3).half(),
]


@pytest.fixture
def writing(monkeypatch):
    """Lets the pickle module find the class under the name it gives itself."""
    import sys
    from types import ModuleType

    module = ModuleType("densepose.structures.somewhere")
    module.Found = Found
    monkeypatch.setitem(sys.modules, module.__name__, module)


def save_plain(content, path) -> None:
    with open(path, "wb") as file:
        pickle.dump(content, file)


def save_older(content, path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, save_older, save_plain])
def test_tensors_are_those_that_torch_wrote(tmp_path, save):
    save([{"tensors": TENSORS, "name": "a"}, (1.5, None)], tmp_path / "a.pkl")
    first, second = load_torch_pickle(tmp_path / "a.pkl", ())
    assert second == (1.5, None) and first["name"] == "a"
    for got, want in zip(first["tensors"], TENSORS, strict=True):
        assert isinstance(got, StoredTensor)
        assert got.array().dtype == want.numpy().dtype
        np.testing.assert_array_equal(got.array(), want.numpy())


@pytest.mark.parametrize("save", [torch.save, save_older, save_plain])
def test_objects_of_known_classes_become_plain_ones(tmp_path, save, writing):
    save([Found(NUMBERS, "b")], tmp_path / "a.pkl")
    (found,) = load_torch_pickle(tmp_path / "a.pkl", ["Found"])
    assert isinstance(found, PlainObject) and found.class_name == "Found" and found.note == "b"
    np.testing.assert_array_equal(found.labels.array(), NUMBERS.numpy())
    with pytest.raises(ValueError, match=r"a\.pkl: asks for densepose\.[a-z.]*\.Found"):
        load_torch_pickle(tmp_path / "a.pkl", ["Lost"])


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("save", [torch.save, save_older, save_plain])
def test_files_that_would_run_code_are_refused(tmp_path, save):
    mark = tmp_path / "was_here"
    save([{"file_name": Malicious(f"touch {mark}")}], tmp_path / "evil.pkl")
    with pytest.raises(ValueError, match=r"evil\.pkl: asks for (posix|nt)\.system; only tensors"):
        load_torch_pickle(tmp_path / "evil.pkl", ["Found"])
    assert not mark.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__", "exec"])
def test_functions_of_python_are_refused(tmp_path, name):
    (tmp_path / "a.pkl").write_bytes(f"cbuiltins\n{name}\n(S'1'\ntR.".encode())
    with pytest.raises(ValueError, match=f"asks for builtins.{name}"):
        load_torch_pickle(tmp_path / "a.pkl", ())


@pytest.mark.parametrize("name", ["os.system", "__class__", "Found.__init__.__globals__"])
def test_names_below_known_classes_are_refused(tmp_path, name):
    content = b"\x80\x04\x8c\x12densepose.somewhere" + b"\x8c" + bytes([len(name)]) + name.encode()
    content = content.replace(b"\x8c\x12", b"\x8c\x13") + b"\x93."
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="asks for densepose.somewhere"):
        load_torch_pickle(tmp_path / "a.pkl", ["Found"])


@pytest.mark.parametrize("save", [torch.save, save_older, save_plain])
def test_damaged_files_are_named(tmp_path, save):
    path = tmp_path / "a.pkl"
    save([{"tensor": torch.arange(4000)}], path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1000):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged|has .* bytes"):
            load_torch_pickle(path, ())[0]["tensor"].array()
    path.write_text("file_name,scores\n")
    with pytest.raises(ValueError, match=r"a\.pkl: damaged, or not written by torch\.save"):
        load_torch_pickle(path, ())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(ValueError, match=r"an archive without data\.pkl"):
        load_torch_pickle(path, ())


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (25,), (1,)), (20, (5,), (1,)), (-1, (2,), (1,)), (5, (3,), (-1,)), (0, (9999,), (0,))],
)
def test_views_that_leave_their_storage_are_refused(tmp_path, offset, shape, strides):
    torch.save(NUMBERS, tmp_path / "a.pkl")
    storage = load_torch_pickle(tmp_path / "a.pkl", ()).storage
    with pytest.raises(ValueError, match="leaves its storage of 24 numbers"):
        StoredTensor(storage, offset, shape, strides).array()
