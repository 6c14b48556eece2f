"""The frame of the command line: verbs, help, mistakes and exit statuses."""

from __future__ import annotations

import shlex
import subprocess
import sys
import types

import pytest

from densepose.cli import VERBS
from densepose.cli.__main__ import load_verb, main, with_new_names
from densepose.cli.parser import VerbParser
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
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert printed.startswith("densepose try: ")
    assert "Traceback" not in printed


@pytest.mark.parametrize("words", [["try", "--debug"], ["--debug", "try"]])
def test_with_debug_the_traceback_is_shown_as_well(verb, capsys, words):
    verb(raising(InputError("a.json: wrong")))
    assert main(words) == 1
    printed = capsys.readouterr().err
    assert "in run" in printed
    assert printed.endswith("densepose try: a.json: wrong\n")


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
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "in run" in printed
    assert "fault of the program" in printed.splitlines()[-1]


def test_an_interruption_has_its_own_status(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


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
