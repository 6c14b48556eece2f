"""What the processes of test_two_processes.py do; a module that they can import."""

from __future__ import annotations

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from densepose.config import load_config
from densepose.data.coco import load_densepose_coco
from densepose.data.mapper import DensePoseMapper
from densepose.engine.solver import build_optimizer
from densepose.engine.step import GRADIENT, StepTrainer, parallel
from densepose.modeling import register_all

QUICK = Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml"
STEPS = 2
EVERY_ANCHOR = 1_000_000


def exact_config() -> CfgNode:
    """The quick model with every anchor in the RPN's loss and the true boxes as proposals.

    Nothing is drawn at random then, so that one process and two see the same samples.
    """
    cfg = load_config(str(QUICK))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RPN.BATCH_SIZE_PER_IMAGE = EVERY_ANCHOR
    cfg.MODEL.RPN.LOSS_WEIGHT = 100.0  # the loss is divided by the size of the sample
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = 0
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR = "SGD", 1e-3
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    return cfg


def global_batch(cfg: CfgNode, json_path: Path, images: Path) -> list[dict[str, Any]]:
    """The images with one person: people with different numbers of points, and one with none."""
    records = load_densepose_coco(json_path, images, "tiny")
    mapper = DensePoseMapper(cfg, is_train=True)
    return [mapper(record) for record in records if len(record["annotations"]) == 1]


def agreed(name: str) -> bool:
    return "loss" in name or name == GRADIENT


def train_shard(args: Namespace) -> int:
    """Train on this process's shard of the batch; write losses and weights to ``args.output``."""
    register_all()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cfg = exact_config()
    model = build_model(cfg)
    initial = copy.deepcopy(model.state_dict())
    batch = global_batch(cfg, *args.data)
    shard = len(batch) // comm.get_world_size()
    mine = batch[comm.get_rank() * shard :][:shard]
    trainer = StepTrainer(
        parallel(model),
        [mine] * STEPS,
        build_optimizer(cfg, model),
    )
    mean = []
    with EventStorage() as storage:
        for trainer.iter in range(STEPS):
            trainer.run_step()
            latest = storage.latest()
            # The other numbers (anchors, proposals) are detectron2's, each process's own.
            mean.append({name: value for name, (value, _) in latest.items() if agreed(name)})
    result = {"mean": mean, "model": model.state_dict(), "initial": initial}
    torch.save(result, Path(args.output) / f"rank{comm.get_rank()}.pth")
    return 0
