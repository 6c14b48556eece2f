"""A trainer whose model has two numbers, so that whole runs take milliseconds."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detectron2.config import CfgNode

from densepose.config import get_densepose_cfg
from densepose.engine.loaders import build_train_loader
from densepose.engine.trainer import Trainer

RECORDS = [{"number": n, "width": 2 + n % 3, "height": 3, "file_name": "f"} for n in range(11)]


class Line(nn.Module):
    """Fits y = a x + b to the records of a batch, with an error that is drawn at random."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.0))
        self.b = nn.Parameter(torch.tensor(0.0))

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        x, y = (torch.tensor([record[name] for record in batch]) for name in ("x", "y"))
        noise = 0.01 * (torch.rand(()) + random.random() + np.random.rand())
        return {"loss_line": (self.a * x + self.b - y).square().mean() * (1 + noise)}


def point(record: dict[str, Any]) -> dict[str, Any]:
    """A point of y = 2 x + 1 with a random x, and the record's number as the image's id."""
    x = math.sin(record["number"]) + 0.1 * (
        random.random() + np.random.rand() + float(torch.rand(1))
    )
    y = record.get("y", 2 * x + 1)
    return {"x": x, "y": y, "image_id": record["number"], "file_name": record["file_name"]}


class LineTrainer(Trainer):
    """Overrides the model and the data as detectron2's documentation teaches."""

    records: list[dict[str, Any]] = RECORDS

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        return Line()

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg, point, cls.records)


def line_config(folder: Path, **solver: Any) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.OUTPUT_DIR = str(folder)
    cfg.DATASETS.TEST = ()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.LOG_PERIOD = 1
    cfg.SEED = 7
    values = {
        "OPTIMIZER": "ADAMW",
        "BASE_LR": 0.1,
        "LR_SCHEDULER_NAME": "WarmupCosineLR",
        "WARMUP_ITERS": 2,
        "MAX_ITER": 8,
        "IMS_PER_BATCH": 2,
        **solver,
    }
    for key, value in values.items():
        cfg.SOLVER[key] = value
    cfg.SOLVER.EMA.ENABLED = True
    return cfg
