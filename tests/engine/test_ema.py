from __future__ import annotations

import pytest
import torch
from torch import nn

from densepose.engine.ema import WeightAverage


def layer(value: float) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(2)
    nn.init.constant_(norm.weight, value)
    return norm


def test_matches_the_definition_written_as_a_loop():
    model = layer(0.0)
    average = WeightAverage(model, decay=0.5)
    expected = 0.0
    for step in range(1, 30):
        nn.init.constant_(model.weight, float(step))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        average.update(model)
    assert average.average["weight"].tolist() == pytest.approx([expected, expected])


def test_first_update_by_hand():
    model = layer(0.0)
    average = WeightAverage(model, decay=0.999)
    nn.init.constant_(model.weight, 11.0)
    average.update(model)  # decay is 2 / 11
    assert average.average["weight"].tolist() == pytest.approx([9.0, 9.0])


def test_buffers_are_averaged_and_counters_copied():
    model = layer(1.0)
    average = WeightAverage(model, decay=0.0)
    model.running_mean += 3
    model.num_batches_tracked += 7
    average.update(model)
    assert average.average["running_mean"].tolist() == [3.0, 3.0]
    assert average.average["num_batches_tracked"].item() == 7


def test_applied_swaps_and_gives_back_even_after_an_error():
    model = layer(1.0)
    average = WeightAverage(model, decay=0.9)
    nn.init.constant_(model.weight, 5.0)
    with pytest.raises(RuntimeError, match="in the block"), average.applied(model):
        assert model.weight.tolist() == [1.0, 1.0]
        raise RuntimeError("in the block")
    assert model.weight.tolist() == [5.0, 5.0]


def test_continues_from_saved_values():
    model = layer(0.0)
    first, second = WeightAverage(model, decay=0.9), WeightAverage(model, decay=0.9)
    nn.init.constant_(model.weight, 2.0)
    first.update(model)
    second.load(first.average, first.updates)
    first.update(model)
    second.update(model)
    torch.testing.assert_close(second.average, first.average)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_rejects_a_decay_outside_the_range(decay: float):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\), got"):
        WeightAverage(layer(1.0), decay)
