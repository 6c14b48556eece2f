"""From the command line to a checked config and a prepared process.

A schedule written for one batch size can be scaled to another by the linear rule. With ``scale =
batch / reference batch`` the learning rate is multiplied by ``scale`` and everything that counts
iterations is divided by it, so the network sees the same number of images and the same steps per
image. Goyal et al., "Accurate, Large Minibatch SGD", 2017. Nothing is scaled unless
SOLVER.AUTO_SCALE_LR (``--auto-scale-lr``) or detectron2's own SOLVER.REFERENCE_WORLD_SIZE asks for
it.
"""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
import tempfile
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

import detectron2
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

import densepose
from densepose.config import check_config, find_config, load_config
from densepose.data.registration import register_builtin, register_from_config
from densepose.errors import InputError
from densepose.files import write_text

from .logs import FILE_ONLY, setup_logging
from .seeding import prepare_torch

logger = logging.getLogger(__name__)

RATES = ("SOLVER.BASE_LR", "SOLVER.BASE_LR_END")
ITERATIONS = (
    "SOLVER.MAX_ITER",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.STEPS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
)


def setup(args: Namespace) -> CfgNode:
    """Read the config and prepare the run: ``read_config``, then ``prepare``."""
    return prepare(read_config(args), args)


def read_config(args: Namespace) -> CfgNode:
    """The config of a command line.

    Args:
        args: with ``config_file`` and ``opts``; optional ``auto_scale_lr``.

    Raises:
        InputError: a config file is missing; a misspelt key; the message has the nearest ones; a
            value of the wrong type.
    """
    path = find_config(args.config_file) if args.config_file else None
    return load_config(path, _opts(args))


def _opts(args: Namespace) -> list[str]:
    scales = ["SOLVER.AUTO_SCALE_LR", "True"] if getattr(args, "auto_scale_lr", False) else []
    return [*args.opts, *scales]


def folder_of(cfg: CfgNode, args: Namespace) -> Path:
    """The folder that a run writes into; an evaluation leaves the files of the training alone."""
    return Path(cfg.OUTPUT_DIR) / "inference" if args.eval_only else Path(cfg.OUTPUT_DIR)


def prepare(cfg: CfgNode, args: Namespace) -> CfgNode:
    """Prepare this process and write ``log.txt`` and ``config.yaml``.

    Registers the data sets and the models, scales the schedule if asked to, seeds the random
    numbers.

    Args:
        cfg: from ``read_config``.
        args: those of ``read_config``, with ``eval_only``.

    Returns:
        The frozen config.

    Raises:
        InputError: keys contradict each other; OUTPUT_DIR cannot be written.
    """
    folder = folder_of(cfg, args)
    _make_folder(folder)
    setup_logging(folder / "log.txt", rank=comm.get_rank())
    logger.info(_environment_text(args), extra=FILE_ONLY)
    register_builtin()
    register_from_config(cfg)
    check_config(cfg)
    if not args.eval_only:
        cfg = scale_config(cfg, given=_opts(args)[::2])
    prepare_torch(cfg)
    logger.info("Config:\n%s", cfg.dump(), extra=FILE_ONLY)
    if comm.is_main_process():
        write_text(folder / "config.yaml", cfg.dump())
    return cfg


def scale_config(cfg: CfgNode, given: Collection[str] = ()) -> CfgNode:
    """The config with its schedule scaled to the batch size or the number of processes, if asked.

    Where nothing is asked for and SOLVER.IMS_PER_BATCH differs from SOLVER.REFERENCE_BATCH_SIZE,
    one log line says how to scale. The result carries its own batch size as the reference, so that
    scaling a saved config once more changes nothing.

    Args:
        cfg: a checked config; not modified.
        given: keys of the command line, whose values are kept as they are.

    Returns:
        A frozen config.
    """
    solver = cfg.SOLVER
    batch, reference = solver.IMS_PER_BATCH, solver.REFERENCE_BATCH_SIZE
    if solver.AUTO_SCALE_LR:
        return _scaled(cfg, batch / reference, given)
    if solver.REFERENCE_WORLD_SIZE:
        return DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
    if reference not in (0, batch):
        logger.info(
            "The schedule was written for %d images per step, SOLVER.IMS_PER_BATCH is %d; learning"
            " rate %g and %d iterations are used as they are. --auto-scale-lr scales them",
            reference,
            batch,
            solver.BASE_LR,
            solver.MAX_ITER,
        )
    return cfg


def _scaled(cfg: CfgNode, scale: float, given: Collection[str]) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    changes = []
    for key in (*RATES, *ITERATIONS):
        section, name = key.split(".")
        before = cfg[section][name]
        if key not in given:
            cfg[section][name] = before * scale if key in RATES else _iterations(before, scale)
        if cfg[section][name] != before:
            changes.append(f"{key} {before} -> {cfg[section][name]}")
    logger.info(
        "Schedule scaled from %d to %d images per step (x%g): %s",
        cfg.SOLVER.REFERENCE_BATCH_SIZE,
        cfg.SOLVER.IMS_PER_BATCH,
        scale,
        ", ".join(changes) or "nothing to change",
    )
    cfg.SOLVER.REFERENCE_BATCH_SIZE = cfg.SOLVER.IMS_PER_BATCH
    cfg.freeze()
    return cfg


def _iterations(count: Any, scale: float) -> Any:
    """Whole iterations, at least 1 where they were not 0."""
    if isinstance(count, (tuple, list)):
        return tuple(_iterations(entry, scale) for entry in count)
    return max(1, round(count / scale)) if count else 0


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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"OUTPUT_DIR {folder} cannot be written ({error})") from error


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
