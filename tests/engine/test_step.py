from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from densepose.engine.step import OptimizationStep


class Net(nn.Module):
    """Two losses of a weight vector w (2,): |w x|^2 and the sum of w; the batch brings x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, batch: list[Tensor]) -> dict[str, Tensor]:
        return {"loss_b": (self.w * batch[0]).square().sum(), "loss_a": self.w.sum()}


def step(model: nn.Module, **options: object) -> OptimizationStep:
    return OptimizationStep(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_one_step_by_hand():
    model = Net()
    outcome = step(model)([torch.tensor([1.0, 0.0])])
    # Gradient of w: (2 * 1 + 1, 1).
    assert outcome.mean == {"loss_a": 3.0, "loss_b": 1.0, "grad_norm": pytest.approx(math.sqrt(10))}
    assert (outcome.own, outcome.updated) == (outcome.mean, True)
    assert outcome.total_loss == 4.0
    assert model.w.tolist() == pytest.approx([0.7, 1.9])


def test_gradients_are_clipped_after_their_norm_was_read():
    model = Net()
    outcome = step(model, clip=lambda params: [p.grad.zero_() for p in params])([torch.ones(2)])
    assert outcome.mean["grad_norm"] > 1
    assert model.w.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_changes_where_a_loss_is_not_finite(bad: float):
    model = Net()
    taken = step(model)
    outcome = taken([torch.tensor([bad, 1.0])])
    assert not outcome.updated and not math.isfinite(outcome.own["loss_b"])
    assert math.isfinite(outcome.own["loss_a"])
    assert model.w.tolist() == [1.0, 2.0]
    assert taken([torch.ones(2)]).updated


def test_nothing_changes_where_only_a_gradient_is_not_finite():
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

        def forward(self, batch: object) -> dict[str, Tensor]:
            return {"loss": self.w.sqrt().sum()}

    model = Root()
    outcome = step(model)(None)
    assert (outcome.mean["loss"], outcome.updated) == (0.0, False)
    assert model.w.tolist() == [0.0]


def test_bfloat16_computes_products_in_it_and_keeps_float32_weights():
    class Linear(nn.Linear):
        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            self.seen = super().forward(batch)
            return {"loss": self.seen.float().square().sum()}

    model = Linear(3, 2)
    assert step(model, precision=torch.bfloat16)(torch.ones(1, 3)).updated
    assert model.seen.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32


def test_state_brings_the_momentum_back():
    def two_steps(restart: bool) -> list[float]:
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        taken = OptimizationStep(model, optimizer)
        taken([torch.ones(2)])
        if restart:
            state = taken.state_dict()
            taken = OptimizationStep(
                model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            )
            taken.load_state_dict(state)
        taken([torch.ones(2)])
        return model.w.tolist()

    assert two_steps(restart=True) == two_steps(restart=False)
