"""All commands of README and docs are accepted by the command line, their Python is valid."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from densepose.cli import VERBS
from densepose.cli.__main__ import load_verb
from densepose.cli.parser import VerbParser
from tests.support import ROOT

FOLDERS = ("*.md", "docs/**/*.md", "datasets/*.md", "configs/*.md")
DOCUMENTS = sorted({path for pattern in FOLDERS for path in ROOT.glob(pattern)})
HISTORY = ("CHANGELOG.md",)  # names of its time
COMMAND = re.compile(rf"(?:^|\s|/)densepose ((?:{'|'.join(VERBS)})\b.*)")
NUMBER = re.compile(r"(?<= )[MN](?= |$)")  # stands for a number


def commands(path: Path) -> list[str]:
    """Lines of code blocks, fenced or indented."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^    (\S*densepose .*)", text, re.M)
    found = (COMMAND.search(line) for line in lines)
    return [match[1].split(" > ")[0] for match in found if match]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documented_commands_are_accepted(path: Path):
    for command in [] if path.name in HISTORY else commands(path):
        name, *words = shlex.split(command, comments=True)
        if words not in ([], ["--help"]):
            words = [NUMBER.sub("1", f" {word}")[1:] for word in words]
            assert VerbParser(name, load_verb(name)).parse_args(words) is not None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documented_python_is_valid(path: Path):
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        assert ast.parse(block).body


def test_commands_are_found():
    assert sum(len(commands(path)) for path in DOCUMENTS) > 15
