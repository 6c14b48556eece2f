"""From the command line to a checked config and a prepared process."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

import detectron2
from detectron2.config import CfgNode
from detectron2.utils import comm

import densepose
from densepose.config import check_config, find_config, load_config
from densepose.data.registration import register_builtin, register_from_config

from .checkpoint import write_text
from .logs import FILE_ONLY, setup_logging
from .scaling import scale_config
from .seeding import prepare_torch

logger = logging.getLogger(__name__)


def setup(args: Namespace) -> CfgNode:
    """Read the config, prepare this process and write ``log.txt`` and ``config.yaml``.

    Registers the data sets and the models, scales the schedule if asked to, seeds the random
    numbers. In an evaluation the two files go to OUTPUT_DIR/inference, so
    that those of the training stay.

    Args:
        args: with ``config_file``, ``opts`` and ``eval_only``; optional ``auto_scale_lr``.

    Returns:
        The frozen config.

    Raises:
        FileNotFoundError: a config file is missing.
        KeyError: a misspelt key; the message has the nearest ones.
        ValueError: a value of the wrong type, or keys that contradict each other.
    """
    path = find_config(args.config_file) if args.config_file else None
    opts = list(args.opts)
    if getattr(args, "auto_scale_lr", False):
        opts += ["SOLVER.AUTO_SCALE_LR", "True"]
    cfg = load_config(path, opts)
    folder = Path(cfg.OUTPUT_DIR) / "inference" if args.eval_only else Path(cfg.OUTPUT_DIR)
    writable = _make_folder(folder)
    setup_logging(folder / "log.txt" if writable else None, rank=comm.get_rank())
    logger.info(_environment_text(args), extra=FILE_ONLY)
    register_builtin()
    register_from_config(cfg)
    check_config(cfg)
    if not args.eval_only:
        cfg = scale_config(cfg, given=opts[::2])
    prepare_torch(cfg)
    logger.info("Config:\n%s", cfg.dump(), extra=FILE_ONLY)
    if writable and comm.is_main_process():
        write_text(folder / "config.yaml", cfg.dump())
    return cfg


def choose_device(cfg: CfgNode) -> CfgNode:
    """A copy of the config whose MODEL.DEVICE exists in this process.

    ``cuda``, the default of detectron2 and of all its YAML files, becomes ``cpu`` with one log line
    where there is no CUDA device. In a run of several processes each uses its own GPU, whatever
    number is given. The copy is for building a model: what is saved names the device that was
    asked for.
    """
    wanted = cfg.MODEL.DEVICE
    device = "cuda" if wanted == "auto" else wanted
    if device.startswith("cuda") and not torch.cuda.is_available():
        logger.info("No CUDA device: MODEL.DEVICE %s is cpu", wanted)
        device = "cpu"
    elif device.startswith("cuda:") and comm.get_world_size() > 1:
        logger.info("MODEL.DEVICE %s: each process uses its own GPU", wanted)
        device = "cuda"  # torch's current device
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = device
    cfg.freeze()
    return cfg


def _make_folder(folder: Path) -> bool:
    """Whether the folder is there afterwards; if not, the checks before the run say why."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _environment_text(args: Namespace) -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return "\n".join(
        [
            f"Command: {shlex.join(sys.argv)}",
            f"Arguments: {vars(args)}",
            f"densepose {densepose.__version__}, detectron2 {detectron2.__version__}, torch"
            f" {torch.__version__},"
            f" NumPy {np.__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"Process {comm.get_rank()} of {comm.get_world_size()}, {os.cpu_count()} cores,"
            f" {torch.get_num_threads()} threads of torch, GPU: {device}",
        ]
    )
