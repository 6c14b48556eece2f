from __future__ import annotations

import pytest
import torch

from densepose.modeling.losses.chart import Term, shared_counts, weighted_sums


def test_one_process_divides_by_its_own_counts():
    assert shared_counts(torch.tensor([7, 0, 3])).tolist() == [7.0, 1.0, 3.0]


def test_averaged_over_processes_the_loss_is_the_mean_over_all(monkeypatch: pytest.MonkeyPatch):
    values = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0])]  # of two processes
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda total: total.fill_(4.0))
    losses = [v.sum() / shared_counts(torch.tensor([len(v)]))[0] for v in values]
    assert (sum(losses) / 2).item() == pytest.approx(torch.cat(values).mean().item())


def test_terms_by_hand():
    values = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    some = torch.tensor([1.0, 0.0, 0.5])
    terms = [
        Term("mean", values, 2.0),
        Term("sum", values, 2.0, is_mean=False),
        Term("weighted", values, 1.0, some),
        Term("weighted sum", values, 1.0, some, is_mean=False),
        Term("none", values[:0], 3.0),
    ]
    losses = weighted_sums(terms)
    found = {name: round(value.item(), 5) for name, value in losses.items()}
    want = {"mean": 6.0, "sum": 18.0, "weighted": 4 / 1.5, "weighted sum": 4.0, "none": 0.0}
    assert found == pytest.approx(want, abs=1e-4)
    losses["none"].backward()
    assert values.grad.tolist() == [0.0, 0.0, 0.0]
