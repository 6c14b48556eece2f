import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.files import LOCK, atomic, did_you_mean, held, markdown_table, sha256, to_json


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "report.npz"
    with atomic(path) as temporary:
        np.savez(temporary, a=np.arange(3))  # NumPy would append .npz to another suffix
        assert not path.exists()
        assert list(path.parent.glob("*.npz")) == []  # no reader of the folder takes the half file
    assert np.load(path)["a"].tolist() == [0, 1, 2]
    assert os.listdir(path.parent) == ["report.npz"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_as_a_whole(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(path, durable=durable) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_nothing_and_keeps_the_old_one(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.fixture
def small_files():
    """No file may have more than 1000 bytes, as on a disk that becomes full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def hides_the_reason(path):
    with contextlib.suppress(OSError):
        path.write_bytes(bytes(2000))
    raise RuntimeError("unexpected pos 704 vs 598")  # torch.save


@pytest.mark.parametrize("write", [hides_the_reason, lambda path: path.write_bytes(bytes(2000))])
def test_a_refusal_of_the_disk_is_named_whatever_the_library_says(tmp_path, write, small_files):
    path = tmp_path / "a.pth"
    path.write_text("old")
    with pytest.raises(InputError, match=r"a.pth: cannot be written \(File too large\)"):
        with atomic(path) as temporary:
            write(temporary)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.pth"]


def test_a_folder_that_is_gone_is_named(tmp_path):
    path = tmp_path / "folder" / "a.pth"
    with pytest.raises(InputError, match=r"a.pth: cannot be written \(No such file"):
        with atomic(path) as temporary:
            temporary.write_text("")
            shutil.rmtree(path.parent)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/a.pth: cannot be written"):
        with atomic(tmp_path / "file" / "a.pth"):
            pass


def test_other_errors_of_a_writer_stay_what_they_are(tmp_path):
    for error in (RuntimeError("bug"), FileNotFoundError(2, "No such file", "input.jpg")):
        with pytest.raises(type(error)) as caught, atomic(tmp_path / "a"):
            raise error
        assert caught.value is error


HOLD = """
import sys, time
from densepose.files import held
with held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_written_by_one_process_until_that_is_dead(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"out: process {other.pid} is writing"):
            with held(tmp_path / "out"):
                pass
        other.kill()
    with held(tmp_path / "out"), held(tmp_path / "out", again=True):
        assert (tmp_path / "out" / LOCK).is_file()
    assert not any((tmp_path / "out").iterdir())


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic(tmp_path / "a") as temporary:
        temporary.write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_longest_name_a_folder_takes_can_be_written(tmp_path):
    with atomic(tmp_path / ("x" * 255)) as temporary:
        temporary.write_text("")
    assert len(os.listdir(tmp_path)) == 1


def test_hash_is_that_of_the_bytes(tmp_path):
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_json_has_null_where_there_is_no_number():
    value = {
        "a": np.float32("nan"),
        "b": [np.array([1.0, np.inf]), (2, None)],
        "c": Path("x") / "y",
    }
    assert json.loads(to_json(value)) == {"a": None, "b": [[1.0, None], [2, None]], "c": "x/y"}
    assert to_json({"n": np.int64(3), "t": True}, indent=None) == '{"n": 3, "t": true}'


def test_json_of_an_unknown_type_is_refused():
    with pytest.raises(TypeError, match="set"):
        to_json({"a": {1, 2}})


def test_a_table_has_names_at_the_left_and_numbers_at_the_right():
    assert markdown_table(["method", "AP"], [["a", "3.10"], ["longest", "-"]]).splitlines() == [
        "| method   |   AP |",
        "|:---------|-----:|",
        "| a        | 3.10 |",
        "| longest  |    - |",
    ]


def test_nearest_known_words():
    known = ["densepose_coco_2014_train", "densepose_coco_2014_minival", "other"]
    assert did_you_mean("densepose_coco_2014_trian", known) == (
        ", did you mean 'densepose_coco_2014_train'?"
    )
    assert " or " in did_you_mean("densepose_coco_2014", known, count=2)
    assert did_you_mean("zzz", known) == ""
