"""Our samplers and category maps beside detectron2's, where a checkout of it is at hand."""

from __future__ import annotations

import copy
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("DETECTRON2_CHECKOUT")
TOOL = Path(__file__).parents[3] / "tools" / "compare_bootstrapping_with_detectron2.py"


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOUT, reason="DETECTRON2_CHECKOUT names no checkout of detectron2")
def test_everything_that_is_not_random_is_equal():
    done = subprocess.run(
        [sys.executable, str(TOOL), "--detectron2", CHECKOUT],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("equal ")]
    assert len(lines) == 15


def test_a_difference_is_found(capsys: pytest.CaptureFixture[str]):
    compare = runpy.run_path(str(TOOL))["compare"]
    point = [1.5, 2.5, 7.0, 0.25, 0.75]
    found = {
        "categories": [[7, [[[1, 2, 3, 4], 0]]]],
        "all pixels": [[point]],
        "densepose_uniform many": [[point]],
        "densepose_uniform few": [[[7.0, 1]]],
        "densepose_uniform union": [[point[:3]]],
        "masks": {"part masks": [[0, 1]]},
    }
    assert compare(found, copy.deepcopy(found))
    for name, other in {
        "categories": [[7, [[[1, 2, 3, 4], 1]]]],
        "all pixels": [[[1.5, 2.5, 7.0, 0.25, 0.76]]],
        "densepose_uniform many": [[[1.5, 3.5, 7.0, 0.25, 0.75]]],
        "densepose_uniform few": [[[7.0, 2]]],
        "densepose_uniform union": [[]],
        "masks": {"part masks": [[0, 2]]},
    }.items():
        capsys.readouterr()
        assert not compare(found, {**found, name: other})
        assert f"DIFFERENT {name}: " in capsys.readouterr().out
