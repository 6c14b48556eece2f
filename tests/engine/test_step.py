from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detectron2.utils.events import EventStorage

from densepose.engine.step import StepTrainer
from densepose.errors import InputError


class Net(nn.Module):
    """Two losses of a weight vector w (2,): |w x|^2 and the sum of w; the batch brings x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, batch: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"loss_b": (self.w * batch[0]["x"]).square().sum(), "loss_a": self.w.sum()}


class Root(Net):
    """A finite loss whose gradient at 0 is infinite."""

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": (self.w - self.w.detach()).sqrt().sum()}


def run(model: nn.Module, x: list[float], **options: Any) -> dict[str, float]:
    """One step; the numbers that it wrote."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = StepTrainer(model, [[{"x": torch.tensor(x)}]], optimizer, **options)
    trainer.iter = 0
    with EventStorage() as storage:
        trainer.run_step()
        return {name: value for name, (value, _) in storage.latest().items()}


def test_one_step_by_hand():
    model = Net()
    written = run(model, [1.0, 0.0])
    # Gradient of w: (2 * 1 + 1, 1).
    assert written.pop("grad_norm") == pytest.approx(math.sqrt(10))
    assert written.pop("data_time") == pytest.approx(written.pop("rank_data_time"), rel=1e-6)
    assert written == {"loss_a": 3.0, "loss_b": 1.0, "total_loss": 4.0}
    assert model.w.tolist() == pytest.approx([0.7, 1.9])


@pytest.mark.parametrize(("model", "x"), [(Net(), math.nan), (Net(), math.inf), (Root(), 1.0)])
def test_nothing_changes_where_a_loss_or_a_gradient_is_not_finite(
    model: nn.Module, x: float, tmp_path: Path
):
    assert run(model, [x, 1.0], skips=1, snapshots=tmp_path) == {}
    assert model.w.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="iteration 0: (loss_b|grad_norm) = "):
        run(model, [x, 1.0], snapshots=tmp_path)


class Diverged(Net):
    """Raises what detectron2's RPN does about the images of one batch."""

    def forward(self, batch: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        if not batch[0]["x"].isfinite().all():
            raise FloatingPointError("Predicted boxes contain Inf/NaN.")
        return super().forward(batch)


def test_what_the_model_itself_finds_is_reported_and_skipped_like_a_loss(tmp_path: Path):
    model = Diverged()
    with pytest.raises(
        InputError, match="iteration 0: Predicted boxes contain Inf/NaN. loss = nan"
    ):
        run(model, [math.nan, 1.0], snapshots=tmp_path)
    assert (tmp_path / "nonfinite_0000000_rank0.json").is_file()
    assert run(model, [math.nan, 1.0], skips=1, snapshots=tmp_path) == {}
    assert model.w.tolist() == [1.0, 2.0]
    assert run(model, [1.0, 0.0])["total_loss"] == 4.0


def test_an_overflow_of_scaled_gradients_is_no_fault():
    model = Root()
    written = run(model, [1.0, 1.0], precision=torch.float16)
    assert written["total_loss"] == 0.0 and "grad_norm" not in written
    assert model.w.tolist() == [1.0, 2.0]


class Bad(Net):
    """Losses that are what the batch says."""

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        return {name: value * self.w.sum() for name, value in batch[0]["losses"].items()}


def test_message_and_snapshot_name_the_losses_and_the_images(tmp_path: Path):
    losses = {"loss_box_reg": 1.0, "loss_densepose_U": math.nan}
    batch = [{"image_id": 7, "file_name": "a.jpg", "losses": losses}, {"image_id": 9}]
    optimizer = torch.optim.SGD((model := Bad()).parameters(), lr=0.1)
    trainer = StepTrainer(model, [batch], optimizer, snapshots=tmp_path, config="SEED: 1")
    trainer.iter = 12
    path = tmp_path / "nonfinite_0000012_rank0.json"
    with pytest.raises(ValueError) as caught:
        trainer.run_step()
    assert str(caught.value).startswith(
        "iteration 12: loss_densepose_U = nan, grad_norm = nan; images of the batch: 7 (a.jpg),"
        f" 9 (?). Details: {path}."
    )
    assert json.loads(path.read_text()) == {
        "iteration": 12,
        "losses": {"loss_box_reg": 3.0, "loss_densepose_U": "nan", "grad_norm": "nan"},
        "learning_rate": 0.1,
        "images": ["7 (a.jpg)", "9 (?)"],
        "config": ["SEED: 1"],
    }
