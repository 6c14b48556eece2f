from __future__ import annotations

import json
import subprocess
import sys

import pytest

from densepose.cli import make_data
from densepose.cli.__main__ import main

# In a process that starts like this, importing one of the three raises ImportError.
NO_TORCH = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "detectron2"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
"""


def test_the_command_makes_a_set_and_says_so_in_one_line(tmp_path, capsys):
    words = ["make-data", "--out", str(tmp_path / "set"), "--num-train", "1", "--num-val", "1"]
    words += ["--image-size", "64", "--workers", "1", "--people", "1", "--seed", "3"]
    assert main(words) == 0
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    assert "1 training and 1 held-out images" in line and "2 images made in" in line
    settings = json.loads((tmp_path / "set" / "manifest.json").read_text())["settings"]
    assert settings["people"] == [1, 1] and settings["seed"] == 3
    assert main(words) == 0
    assert "0 images made" in capsys.readouterr().out


def test_the_command_needs_no_torch(tmp_path):
    words = ["make-data", "--out", str(tmp_path / "set"), "--num-train", "1", "--num-val", "1"]
    words += ["--image-size", "64", "--workers", "1", "--people", "1"]
    code = NO_TORCH + f"from densepose.cli.__main__ import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 images made in" in done.stdout


def test_a_folder_of_somebody_else_is_told_in_one_message(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    assert main(["make-data", "--out", str(tmp_path), "--workers", "1"]) == 1
    assert "nothing is written" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "people"), [("2", (2, 2)), ("1-3", (1, 3))])
def test_numbers_of_people(text, people):
    assert make_data.people_range(text) == people


@pytest.mark.parametrize("text", ["", "two", "1-", "-3", "1-x"])
def test_misspelt_numbers_of_people_are_a_wrong_command_line(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["make-data", "--out", str(tmp_path / "set"), f"--people={text}"])
    assert stop.value.code == 2
    assert "FEWEST-MOST such as 1-3" in capsys.readouterr().err
