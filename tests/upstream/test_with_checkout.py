"""Both packages side by side, where a checkout of detectron2 is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.upstream.golden import NARROW

CHECKOUT = os.environ.get("DETECTRON2_CHECKOUT")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHECKOUT, reason="DETECTRON2_CHECKOUT names no checkout of detectron2"),
]


@pytest.mark.parametrize(
    "words",
    [
        ("models", "--only", "R_50_FPN_DL_WC1M_s1x", *NARROW),
        ("evaluator", "--images", "25"),
        ("bootstrap",),
        ("speed", "--quick", "--rounds", "1", "--only", "evaluation, 4 images, from memory"),
    ],
    ids=lambda words: words[0],
)
def test_everything_is_equal(words: tuple[str, ...], tmp_path: Path):
    command, *options = words
    if command == "speed":
        options += ["--output", str(tmp_path / "speed.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tools.upstream", command, "--detectron2", CHECKOUT, *options],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
