"""Our numbers beside those of detectron2's evaluator, where a checkout of detectron2 is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("DETECTRON2_CHECKOUT")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOUT, reason="DETECTRON2_CHECKOUT names no checkout of detectron2")
def test_every_number_is_equal_to_the_last_digit(tmp_path):
    tool = ROOT / "tools" / "compare_evaluation_with_detectron2.py"
    command = [sys.executable, str(tool), "--detectron2", CHECKOUT, "--images", "25"]
    done = subprocess.run(
        [*command, "--work-dir", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Three sets with three metrics and four variants each.
    assert done.stdout.count("largest difference 0 ") == 3 * 7
