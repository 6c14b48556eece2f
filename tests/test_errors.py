"""What is a user's mistake, and how it reads."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from densepose.errors import InputError, mistake_text


def test_a_mistake_is_its_message():
    assert mistake_text(InputError("a.json: is empty")) == "a.json: is empty"


class Damaged(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise InputError("a.jpg: is damaged")


def test_a_mistake_in_a_worker_reads_the_same():
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Damaged(), num_workers=1)))
    assert mistake_text(caught.value) == "a.jpg: is damaged"
    assert mistake_text(pickle.loads(pickle.dumps(InputError("b")))) == "b"


def test_what_the_system_refuses_names_the_file(tmp_path: Path):
    for path, reason in (
        (tmp_path / "absent", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(OSError) as caught:
            path.read_bytes()
        assert mistake_text(caught.value) == f"{path}: {reason}"
    full = OSError(errno.ENOSPC, "No space left on device")
    assert mistake_text(full) == "No space left on device"


@pytest.mark.parametrize(("end", "is_mistake"), [("Killed", True), ("Segmentation fault", False)])
def test_a_worker_that_was_ended_is_no_fault_but_one_that_crashed_is(end: str, is_mistake: bool):
    error = RuntimeError(f"DataLoader worker (pid 7) is killed by signal: {end}. ")
    assert (mistake_text(error) is not None) == is_mistake


def test_too_little_memory_is_a_mistake():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    assert mistake_text(error) == "CUDA out of memory; use smaller batches or images"
    assert mistake_text(MemoryError()) == "out of memory; use smaller batches or images"


@pytest.mark.parametrize(
    "error", [ValueError("shapes differ"), KeyError("dp_x"), OSError("truncated"), RuntimeError()]
)
def test_everything_else_is_a_fault_of_the_program(error: Exception):
    assert mistake_text(error) is None
