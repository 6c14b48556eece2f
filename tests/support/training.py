"""Whole trainings on the tiny set: options of the command line, small models, ``train_net.py``."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from . import ROOT
from .models import SMALL_CROPS, TINY

QUICK = str(ROOT / "tests" / "configs" / "synthetic_cpu.yaml")
ITERATIONS = 4
SMALL = {
    **TINY,
    **SMALL_CROPS,
    "MODEL.RESNETS.NORM": "LN",  # needs no statistics to predict after two steps
    "INPUT.MIN_SIZE_TRAIN": (120,),
    "INPUT.MIN_SIZE_TEST": 120,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,  # after two steps nobody is surely a person
    "TEST.DETECTIONS_PER_IMAGE": 5,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.REFERENCE_BATCH_SIZE": 0,
    "SOLVER.BASE_LR": 1e-4,
    "SOLVER.STEPS": (),
    "SOLVER.MAX_ITER": 2,
    "SOLVER.CHECKPOINT_PERIOD": 100,
    "SOLVER.EMA.ENABLED": False,
    "TEST.EVAL_PERIOD": 0,
    "DATALOADER.NUM_WORKERS": 0,
}


def options(data: tuple[Path, Path], output: Path, **changes: object) -> list[str]:
    annotations, images = data
    entry = {
        "NAME": "tiny",
        "ANNOTATIONS": str(annotations),
        "IMAGES": str(images),
        "SURFACE": "template",
    }
    values = {
        "DATASETS.REGISTER": [entry],
        "DATASETS.TRAIN": ("tiny",),
        "DATASETS.TEST": ("tiny",),
        "OUTPUT_DIR": output,
        "SOLVER.MAX_ITER": ITERATIONS,
        "SOLVER.CHECKPOINT_PERIOD": 2,
        "SOLVER.EMA.ENABLED": True,
        "TEST.EVAL_PERIOD": 3,
        "LOG_PERIOD": 1,
        "SEED": 1,
        **changes,
    }
    return [word for key, value in values.items() for word in (key, str(value))]


def train_net(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the tool as the command line does; returns its exit status."""
    tool = str(ROOT / "tools" / "train_net.py")
    monkeypatch.setattr("sys.argv", [tool, *words])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(tool, run_name="__main__")
    return int(caught.value.code or 0)
