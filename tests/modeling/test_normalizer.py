from __future__ import annotations

import pytest
import torch

from densepose.modeling.losses.normalizer import shared_counts


def test_one_process_divides_by_its_own_counts():
    assert shared_counts(torch.tensor([7, 0, 3])).tolist() == [7.0, 1.0, 3.0]


def test_averaged_over_processes_the_loss_is_the_mean_over_all(monkeypatch: pytest.MonkeyPatch):
    values = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0])]  # of two processes
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda total: total.fill_(4.0))
    losses = [v.sum() / shared_counts(torch.tensor([len(v)]))[0] for v in values]
    assert (sum(losses) / 2).item() == pytest.approx(torch.cat(values).mean().item())
