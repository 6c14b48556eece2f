from __future__ import annotations

import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from densepose.surface.official import pickles as numpy_pickle
from densepose.surface.official import pickles as stored_array
from densepose.surface.official.pickles import load_numpy_pickle, open_numpy_pickle
from densepose.surface.official.reading import refuse_wrong_kind


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
    for content in (whole[: len(whole) // 2], b"no pickle at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="half.pkl: not a complete pickle"):
            load_numpy_pickle(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="half.pkl: the file is empty"):
        load_numpy_pickle(path)
    with pytest.raises(FileNotFoundError):
        load_numpy_pickle(tmp_path / "absent.pkl")


# Large arrays, which stay in the file ------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch):
    """Strings from 16 bytes on count as large, and are read 7 bytes at a time."""
    monkeypatch.setattr(numpy_pickle, "LARGE_BYTES", 16)
    monkeypatch.setattr(stored_array, "_PIECE", 7)
    monkeypatch.setattr(numpy_pickle, "_LINE_PIECE", 5)


def python2_text_pickle(array: np.ndarray) -> bytes:
    """{"a": array} as Python 2 writes it by default: in lines of text, strings with escapes."""
    shape = "".join(f"I{n}\n" for n in array.shape)
    data = repr(array.tobytes())[1:]
    return (
        "(dp0\nS'a'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\n"
        f"S'b'\np5\ntp6\nRp7\n(I1\n({shape}tp8\ncnumpy\ndtype\np9\n(S'{array.dtype.str[1:]}'\np10\n"
        "I0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
        f"S{data}\np15\ntp16\nbs."
    ).encode("latin1")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("form", ["text", "old", *range(6)])
@pytest.mark.parametrize("array", [*ARRAYS, np.asfortranarray(ARRAYS[1]), np.arange(300) % 128])
def test_large_arrays_are_read_in_pieces(tmp_path, array, form):
    path = tmp_path / "large.pkl"
    if form == "text":
        array = np.ascontiguousarray(array)
        path.write_bytes(python2_text_pickle(array))
    elif form == "old":
        path.write_bytes(python2_pickle(array).replace(b"T\x0c\x00\x00\x00Pdist_matrix", b"U\x01a"))
    else:
        path.write_bytes(pickle.dumps({"a": array}, protocol=form))
    stored = open_numpy_pickle(path)["a"]
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    blocks = list(stored.blocks(5))
    assert all(len(block) == 5 for block in blocks[:-1])
    got = np.concatenate([*blocks, np.zeros(0, array.dtype)])
    np.testing.assert_array_equal(got, array.ravel(order="F" if stored.fortran else "C"))
    np.testing.assert_array_equal(load_numpy_pickle(path)["a"], array)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_cut_off_array_is_told_before_it_is_read(tmp_path, protocol):
    path = tmp_path / "cut.pkl"
    whole = pickle.dumps(np.arange(1000.0), protocol=protocol)
    path.write_bytes(whole[:4000])
    with pytest.raises(ValueError, match=r"cut.pkl: not a complete pickle \(the file ends at byte"):
        open_numpy_pickle(path)


@pytest.mark.usefixtures("small_pieces")
def test_a_shape_that_the_bytes_do_not_fill_is_refused(tmp_path):
    path = tmp_path / "wrong.pkl"
    path.write_bytes(python2_pickle(ARRAYS[0]).replace(b"J\x32\x00", b"J\x33\x00"))
    with pytest.raises(ValueError, match=r"shape \(51, 1\) and float32 needs 204 bytes, got 200"):
        open_numpy_pickle(path)
    path.write_bytes(pickle.dumps({"a": np.array([None, "x"])}))
    with pytest.raises(ValueError, match="an array of Python objects"):
        load_numpy_pickle(path)


def test_memory_does_not_grow_with_a_large_array(tmp_path):
    path = tmp_path / "large.pkl"
    array = np.arange(16_000_000, dtype=np.float32)
    path.write_bytes(pickle.dumps({"a": array[:, None]}, protocol=4))
    tracemalloc.start()
    total = sum(float(block[-1]) for block in open_numpy_pickle(path)["a"].blocks(1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == sum(range(999_999, 16_000_000, 1_000_000))
    assert peak < array.nbytes / 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>", "this is a web page"),
        (b"\n  <?xml version='1.0'?><Error><Code>AccessDenied</Code>", "this is a web page"),
        (b"\x1f\x8b\x08rest", "this is a gzip archive; unpack it first"),
        (b"PK\x03\x04rest", "this is a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "the file is empty"),
    ],
)
def test_what_comes_in_place_of_a_file_is_recognised(tmp_path, content, told):
    path = tmp_path / "Pdist_matrix.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"Pdist_matrix.pkl: .*{told}"):
        refuse_wrong_kind(path)
    with pytest.raises(FileNotFoundError, match="gone.pkl: missing; look elsewhere"):
        refuse_wrong_kind(tmp_path / "gone.pkl", "look elsewhere")
