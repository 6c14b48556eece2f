from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from densepose.config import get_densepose_cfg
from densepose.engine.seeding import prepare_torch, seeded, set_seed


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def prepared(seed: int) -> tuple[float, float, float]:
    cfg = get_densepose_cfg()
    cfg.SEED = seed
    prepare_torch(cfg)
    return draws()


def test_a_seed_repeats_and_a_negative_one_does_not():
    assert prepared(3) == prepared(3) != prepared(4)
    assert prepared(-1) != prepared(-1)


def test_deterministic_mode_wants_a_seed(caplog: pytest.LogCaptureFixture):
    cfg = get_densepose_cfg()
    cfg.DETERMINISTIC, cfg.CUDNN_BENCHMARK = True, True
    prepare_torch(cfg)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert "DETERMINISTIC is on but SEED is -1" in caplog.text


def test_detectron2s_keys_of_torch():
    cfg = get_densepose_cfg()
    cfg.CUDNN_BENCHMARK, cfg.FLOAT32_PRECISION = True, "medium"
    prepare_torch(cfg)
    assert torch.backends.cudnn.benchmark
    assert torch.get_float32_matmul_precision() == "medium"


def test_numbers_of_a_block_repeat_and_leave_no_trace():
    set_seed(1)
    expected = draws()
    set_seed(1)
    with seeded(5, 6):
        first = draws()
    assert draws() == expected
    with seeded(5, 6):
        assert draws() == first
    with seeded(6, 5):
        assert all(a != b for a, b in zip(draws(), first, strict=True))
