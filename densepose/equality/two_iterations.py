"""Train any config for two iterations in seconds: real backbone, narrow heads, small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils.events import EventStorage

from densepose.benchmark.generated_files import write_loading_files
from densepose.data.registration import register_from_config
from densepose.engine.loaders import build_train_loader
from densepose.engine.model import build_run_model
from densepose.engine.solver import build_optimizer
from densepose.engine.step import OptimizationStep

from .our_model import load_checked
from .same_batch import make_plausible

DATA = "two_iterations"
ITERATIONS = 2
_WIDTH = "64"  # of everything behind the backbone; group norms want two groups of 32
SMALL = (
    *("MODEL.FPN.OUT_CHANNELS", _WIDTH, "MODEL.HRNET.HRFPN.OUT_CHANNELS", _WIDTH),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", _WIDTH, "MODEL.ROI_MASK_HEAD.CONV_DIM", _WIDTH),
    *("MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM", _WIDTH),
    *("MODEL.ROI_DENSEPOSE_HEAD.NUM_STACKED_CONVS", "1"),
    *("MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS", _WIDTH),
    *("MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES", _WIDTH),
    *("MODEL.RPN.POST_NMS_TOPK_TRAIN", "30", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8"),
    *("INPUT.MIN_SIZE_TRAIN", "(128,)", "INPUT.MAX_SIZE_TRAIN", "192"),
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.REFERENCE_BATCH_SIZE", "0"),
    *("SOLVER.BASE_LR", "0.0001", "DATALOADER.NUM_WORKERS", "0"),
)


def write_data(folder: Path) -> list[str]:
    """Write a few generated images with annotations; options that train on them."""
    write_loading_files(folder, 4)
    entry = {"NAME": DATA, "ANNOTATIONS": str(folder / "truth.json")}
    entry |= {"IMAGES": str(folder / "images"), "SURFACE": "template"}
    return ["DATASETS.REGISTER", repr([entry]), "DATASETS.TRAIN", repr((DATA,))]


def small_config(path: str | Path, data: Sequence[str], opts: Sequence[str] = ()) -> CfgNode:
    """The config with narrow heads, small images and the options of ``write_data``."""
    # A teacher that labels further images belongs to the data, not to the model.
    return load_checked(path, [*SMALL, *data, "BOOTSTRAP_DATASETS", "[]", *opts])


def train_two_iterations(cfg: CfgNode) -> list[float]:
    """Total loss of each of two steps of the config's loader, model, optimizer and clipping.

    Raises:
        FloatingPointError: a loss or a gradient is not finite.
    """
    if DATA not in DatasetCatalog:
        register_from_config(cfg)
    model = build_run_model(cfg).train()
    # Random weights behind frozen norms that do nothing would make activations explode.
    make_plausible(model)
    step = OptimizationStep.from_config(cfg, model, build_optimizer(cfg, model))
    totals = []
    with EventStorage():
        for _, batch in zip(range(ITERATIONS), build_train_loader(cfg), strict=False):
            outcome = step(batch)
            if not (outcome.updated and math.isfinite(outcome.total_loss)):
                raise FloatingPointError(f"step {len(totals) + 1}: {outcome.own}")
            totals.append(outcome.total_loss)
    return totals
