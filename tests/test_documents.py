"""Documents name files and commands that are there; the walks of a point and a logit stay short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from densepose.cli.__main__ import load_verb
from densepose.cli.parser import VerbParser

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[cd]*/README.md")]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_named_exists():
    named = re.findall(r"\b\w+(?:/\w+)+\.py", TEXT)
    assert len(named) > 30
    missing = [n for n in named if not any((ROOT / p / n).is_file() for p in ("", "densepose"))]
    assert missing == []


def test_the_walks_pass_at_most_9_and_13_files():
    loss, score = (
        re.findall(r"^ ?(\d+) \S+\.py", part, re.M) for part in TEXT.split("## From")[1:]
    )
    assert [int(n) for n in loss] == list(range(1, 10))
    assert [int(n) for n in score] == list(range(1, 14))


def test_links_between_documents_lead_somewhere():
    links = [
        (path.relative_to(ROOT), target)
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert len(links) > 20
    assert [
        (str(p), target) for p, target in links if not (ROOT / p.parent / target).exists()
    ] == []


def commands() -> list[tuple[str, str]]:
    """(document, command) of every line of a code block that runs this package."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        blocks += re.findall(r"(?:^ {4}\S.*\n)+", text, re.MULTILINE)
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            if line.strip().startswith("densepose "):
                found.append((document.name, line.strip()))
    return found


@pytest.mark.parametrize(("document", "command"), commands())
def test_commands_of_the_documents_are_accepted(document, command):
    _, verb, *words = shlex.split(command.split(" > ")[0], comments=True)
    if "..." not in words:
        VerbParser(verb, load_verb(verb)).parse_args(words)
