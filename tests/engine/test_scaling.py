from __future__ import annotations

import pytest

from detectron2.config import CfgNode

from densepose.config import get_densepose_cfg
from densepose.engine import prepare
from densepose.engine.prepare import scale_config


def config(reference: int, batch: int, **solver: object) -> CfgNode:
    cfg = get_densepose_cfg()
    values = {
        "REFERENCE_BATCH_SIZE": reference,
        "IMS_PER_BATCH": batch,
        "BASE_LR": 0.01,
        "BASE_LR_END": 0.0,
        "MAX_ITER": 130_000,
        "STEPS": (100_000, 120_000),
        "WARMUP_ITERS": 1000,
        "CHECKPOINT_PERIOD": 10_000,
        **solver,
    }
    for key, value in values.items():
        cfg.SOLVER[key] = value
    return cfg


def test_values_are_used_as_they_are_and_one_line_says_how_to_scale(
    caplog: pytest.LogCaptureFixture,
):
    cfg = config(16, 2, BASE_LR=0.0025)
    with caplog.at_level("INFO"):
        assert scale_config(cfg) == cfg
    assert len(caplog.messages) == 1
    assert "written for 16 images per step, SOLVER.IMS_PER_BATCH is 2" in caplog.text
    assert "0.0025" in caplog.text and "--auto-scale-lr" in caplog.text


@pytest.mark.parametrize("reference", [0, 8])
def test_without_another_reference_nothing_is_said(
    reference: int, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO"):
        scale_config(config(reference, 8))
    assert caplog.messages == []


def test_a_quarter_of_the_batch_takes_a_quarter_of_the_rate_and_four_times_the_steps(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level("INFO"):
        once = scale_config(config(16, 4, AUTO_SCALE_LR=True))
    solver = once.SOLVER
    assert (solver.BASE_LR, solver.MAX_ITER, solver.WARMUP_ITERS) == (0.0025, 520_000, 4000)
    assert (solver.STEPS, solver.CHECKPOINT_PERIOD) == ((400_000, 480_000), 40_000)
    assert once.TEST.EVAL_PERIOD == 0
    assert "from 16 to 4 images per step (x0.25): SOLVER.BASE_LR 0.01 -> 0.0025" in caplog.text
    assert scale_config(once) == once


def test_rounding_keeps_counts_whole_and_positive():
    small = config(2, 16, AUTO_SCALE_LR=True, MAX_ITER=5, WARMUP_ITERS=1, STEPS=(3,))
    solver = scale_config(small).SOLVER
    assert (solver.MAX_ITER, solver.WARMUP_ITERS, solver.STEPS) == (1, 1, (1,))


@pytest.mark.parametrize("batch", [1, 3, 48])
def test_the_number_of_images_seen_stays(batch: int):
    solver = scale_config(config(16, batch, AUTO_SCALE_LR=True)).SOLVER
    assert solver.MAX_ITER * batch == pytest.approx(130_000 * 16, rel=1e-4)
    assert solver.BASE_LR / batch == pytest.approx(0.01 / 16)


def test_keys_of_the_command_line_are_not_scaled():
    solver = scale_config(config(16, 4, AUTO_SCALE_LR=True), given={"SOLVER.BASE_LR"}).SOLVER
    assert (solver.BASE_LR, solver.MAX_ITER) == (0.01, 520_000)


def test_the_number_of_processes_scales_by_detectron2s_rule_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(prepare.comm, "get_world_size", lambda: 1)
    with caplog.at_level("INFO"):
        solver = scale_config(config(16, 16, REFERENCE_WORLD_SIZE=8)).SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER) == (2, 0.01 / 8, 1_040_000)
    assert "--auto-scale-lr" not in caplog.text
