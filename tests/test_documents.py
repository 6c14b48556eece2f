"""Documents name files that are there; the two walks of docs/architecture.md stay short."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[cd]*/README.md")]
    links = [
        (path.relative_to(ROOT), target)
        for path in documents
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert len(links) > 20
    assert [
        (str(p), target) for p, target in links if not (ROOT / p.parent / target).exists()
    ] == []
