from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
import pytest

from densepose.evaluation.array_archive import read_arrays

# What ``read_prediction`` says "damaged" about.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)
ARRAYS = {
    "number": np.int64(7),
    "none": np.zeros(0, np.uint8),
    "flags": np.array([True, False]),
    "table": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty_table": np.zeros((0, 4), np.float32),
    "text": np.array(["a", "bc"]),
    "big_endian": np.arange(3, dtype=">i4"),
}


def same(path) -> None:
    got = read_arrays(path)
    with np.load(path) as want:
        assert list(got) == want.files
        for name in want.files:
            assert got[name].dtype == want[name].dtype and got[name].shape == want[name].shape
            np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    same(tmp_path / "a.npz")


def test_archives_of_another_form_are_left_to_zipfile(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made by hand"
    same(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        stream = io.BytesIO()
        np.save(stream, np.arange(5))
        archive.writestr("a.npy", stream.getvalue())
    same(path)


def test_an_archive_without_members_has_no_arrays(tmp_path):
    zipfile.ZipFile(tmp_path / "a.npz", "w").close()
    assert read_arrays(tmp_path / "a.npz") == {}


def test_columns_before_rows_and_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", table=np.asfortranarray(ARRAYS["table"]))
    with pytest.raises(ValueError, match="objects, or columns before rows"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", thing=np.array([{}], object))
    with pytest.raises(ValueError, match="objects, or columns before rows"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_damage_is_noticed(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, table=np.random.default_rng(0).integers(0, 9, 400))
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(whole), 300):
        # Dates, versions and attributes are nobody's business; other bytes are.
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(spoiled))
        try:
            got = read_arrays(path)
        except (
            zipfile.BadZipFile,
            EOFError,
            ValueError,
            NotImplementedError,
            RuntimeError,
            OSError,
        ):
            continue
        except Exception as error:
            assert type(error).__name__ in ("error", "UnicodeDecodeError"), repr(error)
            continue
        for table in got.values():
            np.testing.assert_array_equal(table, np.random.default_rng(0).integers(0, 9, 400))
    for length in rng.integers(0, len(whole), 50):
        path.write_bytes(whole[:length])
        with pytest.raises(DAMAGE):
            read_arrays(path)


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, table=np.zeros(100_000))
    content = bytearray(path.read_bytes())
    # The size after unpacking, in the directory at the end.
    start = content.rindex(b"PK\x01\x02") + 24
    assert int.from_bytes(content[start : start + 4], "little") == 800_128
    content[start : start + 4] = (500).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(zipfile.BadZipFile, match=r"table\.npy does not have its checksum"):
        read_arrays(path)
