"""Random numbers of a run: functions of its seed, never of what was drawn before.

Each training step and each mapped record begins with its own seed, so a resumed run draws what an
uninterrupted one would have drawn, whatever the number of data workers, and an evaluation in
between changes nothing.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

logger = logging.getLogger(__name__)


def prepare_torch(cfg: CfgNode) -> None:
    """Apply SEED, CUDNN_BENCHMARK, FLOAT32_PRECISION and DETERMINISTIC to this process.

    A negative SEED gives other random numbers in each run.
    """
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not cfg.DETERMINISTIC
    if cfg.FLOAT32_PRECISION:
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
    torch.use_deterministic_algorithms(cfg.DETERMINISTIC, warn_only=True)
    if cfg.DETERMINISTIC:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if cfg.SEED < 0:
            logger.warning("DETERMINISTIC is on but SEED is %d: set a SEED of 0 or more", cfg.SEED)


def set_seed(*numbers: int, device: torch.device | None = None) -> None:
    """Seed Python, NumPy, torch on the CPU and on ``device`` from whole numbers of 0 or more."""
    # A sequence of numbers, well mixed: neighbouring steps get unrelated seeds.
    seeds = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(int(seeds[2]))
    if device is not None and device.type == "cuda":
        torch.cuda.manual_seed(int(seeds[2]))


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Within the block CPU random numbers follow ``numbers``; afterwards they are as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    set_seed(*numbers)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
