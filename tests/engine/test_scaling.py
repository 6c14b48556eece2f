from __future__ import annotations

import pytest

from detectron2.config import CfgNode

from densepose.config import get_densepose_cfg
from densepose.engine.scaling import Schedule, scale_config, scale_schedule

S1X = Schedule(0.01, 0.0, 130_000, 1000, (100_000, 120_000), 5000, 10_000)


def config(reference: int, batch: int) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.SOLVER.REFERENCE_BATCH_SIZE = reference
    cfg.SOLVER.IMS_PER_BATCH = batch
    cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS = 0.01, 130_000, (100_000, 120_000)
    return cfg


def test_a_quarter_of_the_batch_takes_a_quarter_of_the_rate_and_four_times_the_steps():
    scaled = scale_schedule(S1X, reference_batch=16, batch=4)
    assert scaled == Schedule(0.0025, 0.0, 520_000, 4000, (400_000, 480_000), 20_000, 40_000)


def test_rounding_keeps_counts_whole_and_positive():
    small = Schedule(0.1, 0.01, 5, 1, (3,), 0, 1)
    scaled = scale_schedule(small, reference_batch=2, batch=16)
    assert scaled == Schedule(0.8, 0.08, 1, 1, (1,), 0, 1)


@pytest.mark.parametrize("batch", [1, 3, 16, 48])
def test_the_number_of_images_seen_stays(batch: int):
    scaled = scale_schedule(S1X, reference_batch=16, batch=batch)
    assert scaled.max_iter * batch == pytest.approx(S1X.max_iter * 16, rel=1e-4)
    assert scaled.base_lr / batch == pytest.approx(S1X.base_lr / 16)


def test_rejects_a_batch_of_nothing():
    with pytest.raises(ValueError, match="must be positive, got reference 16 and 0"):
        scale_schedule(S1X, reference_batch=16, batch=0)


def test_config_is_scaled_once_and_says_so(caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO"):
        once = scale_config(config(16, 8))
    assert (once.SOLVER.BASE_LR, once.SOLVER.MAX_ITER) == (0.005, 260_000)
    assert once.SOLVER.STEPS == (200_000, 240_000)
    assert "from 16 to 8 images per step (x0.5): base lr 0.01 -> 0.005" in caplog.text
    assert scale_config(once).SOLVER.MAX_ITER == 260_000


@pytest.mark.parametrize("reference", [0, 8])
def test_config_without_reference_or_of_the_same_batch_stays(reference: int):
    cfg = config(reference, 8)
    assert scale_config(cfg).dump() == cfg.dump()
