from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from densepose.config import get_densepose_cfg
from densepose.engine.prepare import choose_device, seed_process


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "auto"])
def test_without_a_gpu_the_cpu_is_taken_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = get_densepose_cfg()
    cfg.MODEL.DEVICE = device
    with caplog.at_level("INFO"):
        assert choose_device(cfg).MODEL.DEVICE == "cpu"
    assert caplog.messages == ["No CUDA device: MODEL.DEVICE is cpu"]


def test_with_gpus_each_process_takes_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    cfg = get_densepose_cfg()
    cfg.MODEL.DEVICE = "cuda"
    assert choose_device(cfg).MODEL.DEVICE == "cuda:1"
    assert choose_device(cfg, force_cpu=True).MODEL.DEVICE == "cpu"
    cfg.MODEL.DEVICE = "cpu"
    assert choose_device(cfg).MODEL.DEVICE == "cpu"


def numbers(seed: int, start_iter: int = 0) -> tuple[float, float]:
    cfg = get_densepose_cfg()
    cfg.SEED = seed
    seed_process(cfg, start_iter=start_iter)
    return float(np.random.rand()), float(torch.rand(1))


def test_a_seed_repeats_and_a_resumed_run_draws_other_numbers():
    assert numbers(3) == numbers(3)
    assert numbers(3) != numbers(4)
    assert numbers(3) != numbers(3, start_iter=100)
    assert numbers(-1) != numbers(-1)


def test_deterministic_mode_wants_a_seed(caplog: pytest.LogCaptureFixture):
    cfg = get_densepose_cfg()
    cfg.DETERMINISTIC, cfg.CUDNN_BENCHMARK = True, True
    seed_process(cfg)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert "DETERMINISTIC is on but SEED is -1" in caplog.text
