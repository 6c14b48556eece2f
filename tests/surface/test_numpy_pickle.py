from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from densepose.surface.numpy_pickle import load_numpy_pickle


def python2_pickle(array: np.ndarray) -> bytes:
    """{"Pdist_matrix": array} as Python 2 and an old NumPy pickled it: flags are 0 and 1."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    shape = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in array.shape) + b"t"
    make = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + text(array.dtype.str[1:].encode()) + b"K\x00K\x01tR"
    order = b"\x89" if array.flags.c_contiguous else b"\x88"
    none, minus_one = b"N", b"J\xff\xff\xff\xff"
    flags = b"(K\x03" + text(b"<") + none * 3 + minus_one * 2 + b"K\x00tb"
    state = b"(K\x01" + shape + dtype + flags + order + text(array.tobytes("A")) + b"tb"
    return b"\x80\x02}" + text(b"Pdist_matrix") + make + state + b"s."


ARRAYS = [
    np.random.default_rng(0).uniform(size=(50, 1)).astype(np.float32),
    np.arange(12, dtype=np.float64).reshape(3, 4),
    np.arange(5, dtype=np.int64),
    np.zeros((0, 3), np.float16),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_reads_what_python_2_wrote(tmp_path, array):
    path = tmp_path / "old.pkl"
    path.write_bytes(python2_pickle(array))
    got = load_numpy_pickle(path)["Pdist_matrix"]
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("array", ARRAYS)
def test_reads_what_this_python_writes(tmp_path, array, protocol):
    path = tmp_path / "new.pkl"
    content = {"a": array, "b": [1, 2.5, "text", None, True, (3,)]}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    got = load_numpy_pickle(path)
    np.testing.assert_array_equal(got["a"], array)
    assert got["b"] == content["b"]


class Harmful:
    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self):
        return (Path.touch, (self._place,))


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    path, traces = tmp_path / "evil.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"Pdist_matrix": Harmful(traces)}))
    with pytest.raises(ValueError, match="evil.pkl: asks for .*only NumPy arrays and plain"):
        load_numpy_pickle(path)
    assert not traces.exists()
    for name in (b"os\nsystem", b"builtins\neval", b"numpy\nload", b"numpy\nfromfile"):
        path.write_bytes(b"c" + name + b"\n.")
        with pytest.raises(ValueError, match="asks for " + name.decode().replace("\n", ".")):
            load_numpy_pickle(path)


def test_other_codecs_are_refused(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.")
    with pytest.raises(ValueError, match="text encoding 'zip'"):
        load_numpy_pickle(path)


def test_damaged_pickles_are_named(tmp_path):
    path = tmp_path / "half.pkl"
    whole = pickle.dumps({"a": np.arange(100)})
    for content in (whole[: len(whole) // 2], b"", b"no pickle at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="half.pkl: not a complete pickle"):
            load_numpy_pickle(path)
    with pytest.raises(FileNotFoundError):
        load_numpy_pickle(tmp_path / "absent.pkl")
