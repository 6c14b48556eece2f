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
from densepose.cli.__main__ import load_verb, main, message_of
from densepose.cli.parser import VerbParser
from densepose.data.registration import register_builtin
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
        ValueError("a.json: expected a list, got 3"),
        KeyError("no data set is called 'x'"),
        FileNotFoundError("a.json: no such file"),
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
    verb(raising(ValueError("a.json: wrong")))
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "in run" in told
    assert told.endswith("densepose try: a.json: wrong\n")


def test_a_fault_of_the_program_is_not_hidden(verb):
    verb(raising(TypeError("unsupported operand")))
    with pytest.raises(TypeError, match="unsupported operand"):
        main(["try"])
    verb(raising(ModuleNotFoundError("No module named 'densepose.typo'", name="densepose.typo")))
    with pytest.raises(ModuleNotFoundError, match="densepose.typo"):
        main(["try"])


def test_an_interruption_has_its_own_status(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bare_key_is_told_with_its_kind():
    assert message_of(KeyError("dp_x")).startswith("KeyError 'dp_x'")
    assert message_of(KeyError("no data set 'a'")) == "no data set 'a'"


@pytest.fixture
def data_sets_back_in_place():
    """Puts the registered data sets back to where they were expected before."""
    yield
    register_builtin()


@pytest.mark.usefixtures("data_sets_back_in_place")
def test_the_doctor_tells_what_is_there_and_how_to_get_the_rest(tmp_path, capsys):
    assert doctor.run(argparse.Namespace(data_dir=str(tmp_path), json=True)) == 0
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["torch"]["status"] == "ok"
    synthetic = findings["densepose_synthetic_train"]
    assert synthetic["status"] == "optional"
    assert synthetic["mend"] == f"densepose make-data --out {tmp_path}/densepose_synthetic"
    assert str(tmp_path) in findings["Pdist_matrix.pkl"]["mend"]


def test_the_doctor_finds_evaluation_files_that_are_there(tmp_path):
    folder = tmp_path / "densepose_smpl"
    folder.mkdir()
    for name in ("SMPL_subdiv.mat", "Pdist_matrix.float32.npy"):
        (folder / name).touch()
    status = {f.name: f.status for f in doctor.surface_files(str(tmp_path))}
    assert status["SMPL_subdiv.mat"] == "ok"
    assert status["Pdist_matrix.pkl"] == "ok"  # the converted file is all that is needed
    assert status["SMPL_SUBDIV_TRANSFORM.mat"] == "optional"


def test_the_doctor_survives_a_look_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "machine", raising_look(RuntimeError("driver too old")))
    monkeypatch.setattr(doctor, "weights", raising_look(ImportError("No module named 'torch'")))
    assert doctor.run(argparse.Namespace(data_dir=None, json=False)) == 1
    told = capsys.readouterr().out
    assert "driver too old" in told
    assert "No module named 'torch'" in told


def raising_look(error):
    def look():
        raise error

    return look


def test_every_command_of_the_doctor_is_printed_whole(capsys):
    command = "curl -o " + "x" * 300
    doctor.print_table(
        [doctor.Finding("weights", "a", "optional", "gone", f"{command} && unzip b")]
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert command in lines
    assert "unzip b" in lines
