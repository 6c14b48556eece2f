"""The frame of the command line: verbs, help, mistakes and exit statuses."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import types

import pytest

from densepose.cli import VERBS, doctor
from densepose.cli.__main__ import load_verb, main, with_new_names
from densepose.cli.parser import VerbParser
from densepose.data.registration import register_builtin
from densepose.errors import InputError
from tests.support import ROOT


@pytest.fixture
def verb(monkeypatch):
    """Registers a verb ``try`` whose run does what the test gives it."""

    def register(run):
        module = types.ModuleType("densepose.cli.try_it")
        module.HELP, module.EXAMPLE, module.run = "try something", "densepose try --size 3", run
        module.add_arguments = lambda parser: parser.add_argument("--size", type=int)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(VERBS, "try", "try_it")

    return register


def raising(error):
    def run(_):
        raise error

    return run


def test_the_overview_names_every_verb_and_imports_nothing_heavy():
    code = (
        "import sys; from densepose.cli.__main__ import main; main(['--help']);"
        "sys.exit(bool({'torch', 'detectron2', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(f"densepose {verb} " in result.stdout for verb in VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_the_examples_of_a_verb_are_accepted_by_it(name):
    module = load_verb(name)
    parser = VerbParser(name, module)
    assert module.EXAMPLE.splitlines()[0] in parser.format_help()
    prefix = f"densepose {name} "
    lines = module.EXAMPLE.replace("\\\n", " ").splitlines()
    commands = [line[line.index(prefix) + len(prefix) :] for line in lines if prefix in line]
    for command in commands:
        # What follows two spaces is a remark, what follows > is for the shell.
        words = shlex.split(command.split(" > ")[0].split("   (")[0], comments=True)
        parser.parse_args(words)
    assert commands or f"densepose {name}" in module.EXAMPLE


def test_no_verb_is_a_wrong_command_line(capsys):
    assert main([]) == 2
    assert "densepose train" in capsys.readouterr().out


def test_a_misspelt_verb_is_answered_with_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_a_misspelt_option_is_answered_with_the_nearest(verb, capsys):
    verb(lambda args: 0)
    with pytest.raises(SystemExit) as stopped:
        main(["try", "--siez", "3"])
    assert stopped.value.code == 2
    assert "unknown --siez 3, did you mean '--size'?" in capsys.readouterr().err


def test_a_value_of_the_wrong_type_is_one_line(verb, capsys):
    verb(lambda args: 0)
    with pytest.raises(SystemExit) as stopped:
        main(["try", "--size", "large"])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_status_of_a_verb_is_the_status_of_the_command(verb):
    verb(lambda args: args.size)
    assert [main(["try", "--size", size]) for size in ("0", "1")] == [0, 1]


@pytest.mark.parametrize(
    "error",
    [
        InputError("a.json: expected a list, got 3"),
        FileNotFoundError(2, "No such file or directory", "a.json"),
        ModuleNotFoundError("No module named 'torch'", name="torch"),
    ],
)
def test_a_mistake_of_the_user_is_told_without_a_traceback(verb, capsys, error):
    verb(raising(error))
    assert main(["try"]) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert told.startswith("densepose try: ")
    assert "Traceback" not in told


@pytest.mark.parametrize("words", [["try", "--debug"], ["--debug", "try"]])
def test_with_debug_the_traceback_is_shown_as_well(verb, capsys, words):
    verb(raising(InputError("a.json: wrong")))
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "in run" in told
    assert told.endswith("densepose try: a.json: wrong\n")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a formula got a wrong shape"),
        KeyError("part"),
        ModuleNotFoundError("No module named 'densepose.typo'", name="densepose.typo"),
    ],
)
def test_a_fault_of_the_program_shows_where_and_says_so(verb, capsys, error):
    verb(raising(error))
    assert main(["try"]) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told and "in run" in told
    assert "fault of the program" in told.splitlines()[-1]


def test_an_interruption_has_its_own_status(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.fixture
def data_sets_back_in_place():
    """Puts the registered data sets back to where they were expected before."""
    yield
    register_builtin()


@pytest.mark.usefixtures("data_sets_back_in_place")
def test_the_doctor_says_what_is_missing_and_how_to_get_it(tmp_path, capsys):
    options = {"data_dir": str(tmp_path), "details": False}
    assert doctor.run(argparse.Namespace(**options, json=True)) == 0
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["torch"]["status"] == "ok"
    synthetic = findings["densepose_synthetic_train"]
    assert synthetic["status"] == "optional"
    assert synthetic["fix"] == "densepose download densepose_synthetic_train"
    assert findings["Pdist_matrix.pkl"]["fix"] == "densepose download evaluation"
    assert doctor.run(argparse.Namespace(**options, json=False)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 8 <= len(lines) <= 15
    assert "Ready:   densepose predict photo.jpg" in lines
    needs = "densepose download densepose_coco_2014_minival evaluation flip"
    assert f"DensePose-COCO needs: {needs}" in lines


def test_the_doctor_finds_evaluation_files_that_are_there(tmp_path):
    folder = tmp_path / "densepose_smpl"
    folder.mkdir()
    for name in ("SMPL_subdiv.mat", "Pdist_matrix.float32.npy"):
        (folder / name).touch()
    status = {f.name: f.status for f in doctor.evaluation_files(str(tmp_path))}
    assert status["SMPL_subdiv.mat"] == "ok"
    assert status["Pdist_matrix.pkl"] == "ok"  # the converted file is all that is needed
    assert status["SMPL_SUBDIV_TRANSFORM.mat"] == "optional"


def test_the_doctor_survives_an_examination_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "machine", raising_look(RuntimeError("driver too old")))
    monkeypatch.setattr(doctor, "weights", raising_look(ImportError("No module named 'torch'")))
    assert doctor.run(argparse.Namespace(data_dir=None, json=False, details=True)) == 1
    text = capsys.readouterr().out
    assert "driver too old" in text
    assert "No module named 'torch'" in text


def raising_look(error):
    def look():
        raise error

    return look


WITHOUT = """
import importlib.metadata, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == sys.argv[2]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
version = importlib.metadata.version

def without(name):
    if name == sys.argv[1]:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = without
from densepose.cli.__main__ import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("numpy", "numpy"),
        ("rich", "rich"),
        ("torch", "torch"),
        ("opencv-python-headless", "cv2"),
        ("", "detectron2"),
    ],
)
def test_the_doctor_names_a_package_that_is_missing(package, module):
    command = [sys.executable, "-c", WITHOUT, package, module, "doctor"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [s for s in result.stdout.splitlines() if s.strip().startswith(package or module)]
    assert "not installed" in line
    assert "Not usable yet" in result.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["fetch"], ["download"]),
        (["fetch", "--verify"], ["download", "--verify"]),
        (["prepare-evaluation", "--list"], ["download", "--list"]),
        (["prepare-evaluation"], ["download", "evaluation"]),
        (
            ["prepare-evaluation", "--export-template", "out"],
            ["build-surface", "template", "--output", "out"],
        ),
    ],
)
def test_a_former_command_is_understood_with_a_note(old, new, capsys):
    assert with_new_names(old) == new
    assert capsys.readouterr().err.count("\n") == 1


def test_the_demo_has_moved(capsys):
    assert main(["demo"]) == 2
    assert "make demo" in capsys.readouterr().err
