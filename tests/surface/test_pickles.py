from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.files import refuse_wrong_kind
from densepose.surface.official.pickles import load_numpy_pickle


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


@pytest.mark.parametrize("form", ["binary", "text"])
@pytest.mark.parametrize("array", ARRAYS)
def test_reads_what_python_2_wrote(tmp_path, array, form):
    path = tmp_path / "old.pkl"
    path.write_bytes({"binary": python2_pickle, "text": python2_text_pickle}[form](array))
    got = load_numpy_pickle(path)["Pdist_matrix"]
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("protocol", range(6))
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
    with pytest.raises(InputError, match="evil.pkl: asks for .*only NumPy arrays and plain"):
        load_numpy_pickle(path)
    assert not traces.exists()
    for name in (b"os\nsystem", b"builtins\neval", b"numpy\nload", b"numpy\nfromfile"):
        path.write_bytes(b"c" + name + b"\n.")
        with pytest.raises(InputError, match="asks for " + name.decode().replace("\n", ".")):
            load_numpy_pickle(path)


def test_flags_of_a_dtype_are_not_believed(tmp_path):
    """NumPy would take numbers for addresses of objects, were it told that they are."""
    path = tmp_path / "evil.pkl"
    honest = python2_pickle(np.arange(4, dtype=np.int64))
    flags = b"J\xff\xff\xff\xff" * 2 + b"K"
    assert honest.count(flags + b"\x00tb") == 1
    path.write_bytes(honest.replace(flags + b"\x00tb", flags + b"\x3ftb"))
    assert load_numpy_pickle(path)["Pdist_matrix"].tolist() == [0, 1, 2, 3]


def test_arrays_can_be_written_to_and_keep_their_byte_order(tmp_path):
    path = tmp_path / "big.pkl"
    for protocol in range(6):
        path.write_bytes(pickle.dumps([np.arange(3, dtype=">i4"), np.float32(2), b"xy"], protocol))
        array, scalar, text = load_numpy_pickle(path)
        array[0] = 7
        assert array.tolist() == [7, 1, 2] and array.dtype == ">i4"
        assert scalar == 2 and scalar.dtype == np.float32 and text == b"xy"


def test_other_codecs_are_refused(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.")
    with pytest.raises(InputError, match="text encoding 'zip'"):
        load_numpy_pickle(path)


def test_damaged_pickles_are_named(tmp_path):
    path = tmp_path / "half.pkl"
    whole = pickle.dumps({"a": np.arange(100)})
    for content in (whole[: len(whole) // 2], b"no pickle at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="half.pkl: not a complete pickle"):
            load_numpy_pickle(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="half.pkl: the file is empty"):
        load_numpy_pickle(path)
    with pytest.raises(InputError):
        load_numpy_pickle(tmp_path / "absent.pkl")


def python2_text_pickle(array: np.ndarray) -> bytes:
    """{"Pdist_matrix": array} as Python 2 writes it by default: lines of text with escapes."""
    shape = "".join(f"I{n}\n" for n in array.shape)
    data = repr(array.tobytes())[1:]
    return (
        "(dp0\nS'Pdist_matrix'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\n"
        f"p3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n(I1\n({shape}tp8\ncnumpy\ndtype\np9\n"
        f"(S'{array.dtype.str[1:]}'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\n"
        f"I0\ntp14\nbI00\nS{data}\np15\ntp16\nbs."
    ).encode("latin1")


def test_a_shape_that_the_bytes_do_not_fill_is_refused(tmp_path):
    path = tmp_path / "wrong.pkl"
    path.write_bytes(python2_pickle(ARRAYS[0]).replace(b"J\x32\x00", b"J\x33\x00"))
    with pytest.raises(InputError, match="wrong.pkl: not a complete pickle"):
        load_numpy_pickle(path)


@pytest.mark.parametrize("content", [np.array([None, "x"]), np.zeros(2, [("a", "O"), ("b", "f4")])])
def test_arrays_of_objects_and_records_are_refused(tmp_path, content):
    path = tmp_path / "objects.pkl"
    path.write_bytes(pickle.dumps({"a": content}))
    with pytest.raises(InputError, match="an array of Python objects or records"):
        load_numpy_pickle(path)


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
    with pytest.raises(InputError, match=f"Pdist_matrix.pkl: .*{told}"):
        refuse_wrong_kind(path)
    with pytest.raises(InputError, match="gone.pkl: missing; look elsewhere"):
        refuse_wrong_kind(tmp_path / "gone.pkl", "look elsewhere")
