from __future__ import annotations

import os

import numpy as np
import pytest

from densepose.surface import scattered_reads
from densepose.surface.scattered_reads import read_scattered


@pytest.fixture
def mapped(tmp_path) -> np.memmap:
    np.save(tmp_path / "values.npy", np.random.default_rng(0).uniform(size=5000).astype("f4"))
    return np.load(tmp_path / "values.npy", mmap_mode="r")


def test_elements_of_a_map_are_those_of_the_array(mapped):
    index = np.random.default_rng(1).integers(0, 5000, 700)
    for array in (mapped, np.array(mapped)):
        got = read_scattered(array, index)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, np.array(mapped)[index])
    assert read_scattered(mapped, np.zeros(0, np.int64)).shape == (0,)


def test_a_part_of_a_map_starts_where_it_starts(mapped):
    np.testing.assert_array_equal(read_scattered(mapped[40:], np.array([0, 7])), mapped[[40, 47]])


def test_systems_without_positioned_reads_use_the_map(mapped, monkeypatch):
    monkeypatch.delattr(scattered_reads.os, "pread", raising=False)
    np.testing.assert_array_equal(read_scattered(mapped, np.array([9, 3])), mapped[[9, 3]])


@pytest.mark.parametrize("index", [[-1], [5000]])
def test_places_beyond_the_array_are_refused(mapped, index):
    with pytest.raises(IndexError, match="from 0 to 4999"):
        read_scattered(mapped, np.array(index))


def test_a_file_that_was_cut_is_noticed(mapped):
    os.truncate(mapped.filename, 4096)
    with pytest.raises(OSError, match=r"values\.npy: shorter than it was"):
        read_scattered(mapped, np.array([4999]))
