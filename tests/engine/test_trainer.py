"""The training loop around a model of two numbers, so that whole runs take milliseconds."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from detectron2.engine import HookBase
from detectron2.evaluation import DatasetEvaluator

from densepose.engine import trainer as trainer_module
from densepose.engine.loaders import build_train_loader
from densepose.engine.trainer import Trainer
from densepose.errors import InputError, mistake_text
from tests.support.lines import RECORDS, Line, LineTrainer, line_config, point


class Recorder(HookBase):
    """Keeps the losses of each step as they are, and does something after one of them."""

    def __init__(self, at: int = -1, action: Any = None) -> None:
        self.losses: dict[int, float] = {}
        self.norms: list[float] = []
        self.at, self.action = at, action

    def after_backward(self) -> None:
        self.norms.append(float(self.trainer.bare_model.b.grad.abs()))

    def after_step(self) -> None:
        self.losses[self.trainer.iter] = self.trainer.storage.history("total_loss").latest()
        if self.trainer.iter == self.at:
            self.action()


def train(
    cfg: Any, *, resume: bool = False, hook: HookBase | None = None, cls: Any = LineTrainer
) -> LineTrainer:
    trainer = cls(cfg)
    trainer.register_hooks([hook])
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def checkpoint(folder: Path, name: str = "model_final") -> dict[str, Any]:
    return torch.load(folder / f"{name}.pth", weights_only=True)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_gives_the_losses_of_an_uninterrupted_one(tmp_path: Path, workers: int):
    """Also where SEED is drawn by the run, and whatever an evaluation in between draws."""
    whole, parts = Recorder(), Recorder(at=4, action=interrupt)
    first = train(line_config(tmp_path / "whole"), hook=whole)
    cfg = line_config(tmp_path / "parts", CHECKPOINT_PERIOD=2)
    cfg.SEED = -1
    cfg.DATALOADER.NUM_WORKERS = workers

    class SameSeed(LineTrainer):
        def resume_or_load(self, resume: bool = True) -> None:
            self.seed = self.seed if resume else 7
            super().resume_or_load(resume)

        @classmethod
        def test(cls, cfg: Any, model: Any, evaluators: Any = None) -> dict[str, Any]:
            torch.rand(3)
            return {}

    cfg.TEST.EVAL_PERIOD = 2
    with pytest.raises(KeyboardInterrupt, match="SIGTERM after 6 iterations, saved model_0000005"):
        train(cfg, hook=parts, cls=SameSeed)
    damaged = tmp_path / "parts" / "model_0000005.pth"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    resumed = Recorder()
    again = train(cfg, resume=True, hook=resumed, cls=SameSeed)
    assert (again.start_iter, list(resumed.losses)) == (4, [4, 5, 6, 7])
    assert {**parts.losses, **resumed.losses} == whole.losses
    assert again.evaluated_model.state_dict() == first.evaluated_model.state_dict()
    assert again.bare_model.state_dict() == first.bare_model.state_dict()
    assert again.evaluated_model.state_dict() != again.bare_model.state_dict()
    assert [line["iteration"] for line in curve(tmp_path / "parts")] == list(range(8))


def test_checkpoints_have_detectron2s_nesting_and_the_average(tmp_path: Path):
    trainer = train(line_config(tmp_path))
    saved = checkpoint(tmp_path)
    assert saved["model"] == trainer.evaluated_model.state_dict()
    assert saved["iteration"] == saved["trainer"]["iteration"] == 7
    assert saved["trainer"]["_trainer"]["optimizer"]["param_groups"]
    assert {"LRScheduler", "TrainingClock", "WeightAverage"} <= set(saved["trainer"]["hooks"])


def test_the_learning_rate_warms_up_and_decays(tmp_path: Path):
    train(line_config(tmp_path))
    rates = [line["lr"] for line in curve(tmp_path)]
    assert rates[0] == pytest.approx(0.1 / 1000)
    assert rates[2:] == pytest.approx(
        [0.1 * (1 + math.cos(math.pi * n / 8)) / 2 for n in range(2, 8)], rel=1e-3
    )


class Bad(LineTrainer):
    records = [{**record, "y": math.nan} if record["number"] == 5 else record for record in RECORDS]


def test_nan_names_the_loss_and_the_images_and_leaves_a_snapshot(tmp_path: Path):
    with pytest.raises(ValueError, match=r"loss_line = nan.*images of the batch:.* 5 \(f"):
        train(line_config(tmp_path), cls=Bad)
    (snapshot,) = tmp_path.glob("nonfinite_*_rank0.json")
    content = json.loads(snapshot.read_text(), parse_constant=lambda word: 1 / 0)
    assert content["losses"]["loss_line"] == "nan" and "SEED: 7" in content["config"]
    assert not (tmp_path / "model_final.pth").exists()


class Broken(LineTrainer):
    """One of its images cannot be read."""

    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        def mapped(record: dict[str, Any]) -> dict[str, Any]:
            if record["number"] == cls.broken:
                raise InputError("cannot be decoded")
            return point(record)

        return build_train_loader(cfg, mapped, RECORDS)

    broken = 5


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_computed_is_saved_before_a_bad_image_ends_the_run(tmp_path: Path, workers: int):
    whole, parts = Recorder(), Recorder()
    train(line_config(tmp_path / "whole"), hook=whole)
    cfg = line_config(tmp_path / "parts")
    cfg.DATALOADER.NUM_WORKERS = workers
    with pytest.raises(InputError, match="f: image .*cannot be decoded"):
        train(cfg, hook=parts, cls=Broken)
    done = len(parts.losses)
    assert 0 < done < 8
    assert checkpoint(tmp_path / "parts", f"model_{done - 1:07d}")["iteration"] == done - 1
    resumed = Recorder()
    train(cfg, hook=resumed, resume=True)  # the image was replaced
    assert {**parts.losses, **resumed.losses} == whole.losses


def test_a_lost_data_worker_is_one_sentence(tmp_path: Path):
    class Killed(LineTrainer):
        @classmethod
        def build_train_loader(cls, cfg: Any) -> Any:
            return build_train_loader(cfg, lambda _: os.kill(os.getpid(), 9), RECORDS)

    cfg = line_config(tmp_path)
    cfg.DATALOADER.NUM_WORKERS = 1
    with pytest.raises(RuntimeError) as caught:
        train(cfg, cls=Killed)
    assert "a worker process was ended from outside" in mistake_text(caught.value)


def test_a_checkpoint_that_cannot_be_written_is_named_and_leaves_no_half(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    action = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(
            InputError, match=r"model_final.pth: cannot be written \(File too large"
        ):
            train(line_config(tmp_path), hook=Recorder(at=2, action=action))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == []


def test_bad_steps_are_skipped_where_that_is_allowed(tmp_path: Path):
    trainer = train(line_config(tmp_path, SKIP_NONFINITE_STEPS=9), cls=Bad)
    assert trainer.steps.skips < 9
    assert all(value.isfinite() for value in trainer.bare_model.state_dict().values())
    assert trainer.iter == 8


def test_a_time_limit_ends_the_run_in_good_order(tmp_path: Path):
    cfg = line_config(tmp_path, MAX_MINUTES=1e-9, MAX_ITER=10**9)
    trainer = train(cfg)
    assert trainer.iter == 2  # the time of the first step is known with the second
    assert checkpoint(tmp_path)["iteration"] == 1
    again = train(cfg, resume=True)
    assert again.iter == again.start_iter == 2


def test_a_complete_run_is_not_trained_further(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = train(line_config(tmp_path))
    with caplog.at_level("INFO"):
        second = train(line_config(tmp_path), resume=True)
    assert "nothing is left to train" in caplog.text
    assert second.bare_model.state_dict() == first.bare_model.state_dict()


def test_weights_are_loaded_where_there_is_nothing_to_resume(tmp_path: Path):
    torch.save({"a": torch.tensor(5.0)}, tmp_path / "start.pth")
    cfg = line_config(tmp_path / "run", MAX_ITER=1, BASE_LR=0.0001)
    cfg.MODEL.WEIGHTS = str(tmp_path / "start.pth")
    trainer = train(cfg, resume=True)
    assert trainer.bare_model.a.item() == pytest.approx(5.0, abs=0.01)
    assert "1 weights matched, 1 new" in (tmp_path / "run" / "load_report.txt").read_text()


def test_only_so_many_checkpoints_are_kept_as_asked_for(tmp_path: Path):
    def names() -> list[str]:
        return [path.name for path in sorted(tmp_path.glob("model_*.pth"))]

    train(line_config(tmp_path, CHECKPOINT_PERIOD=2))
    numbers = [f"model_{n:07d}.pth" for n in (1, 3, 5, 7)]
    assert names() == [*numbers, "model_final.pth"]
    train(
        line_config(tmp_path, CHECKPOINT_PERIOD=2, CHECKPOINTS_TO_KEEP=2, MAX_ITER=10), resume=True
    )
    # Those that were kept on purpose stay.
    numbers = [f"model_{n:07d}.pth" for n in (1, 3, 7, 9)]
    assert names() == [*numbers, "model_final.pth"]


def test_learns_the_line(tmp_path: Path):
    cfg = line_config(tmp_path, MAX_ITER=300, WARMUP_ITERS=10)
    cfg.LOG_PERIOD = 100
    trainer = train(cfg)
    assert trainer.bare_model.a.item() == pytest.approx(2.0, abs=0.05)
    assert trainer.bare_model.b.item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_autocast_in_both_precisions_on_the_cpu(tmp_path: Path, precision: str):
    cfg = line_config(tmp_path)
    cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.PRECISION = True, precision

    class Product(Line):
        def forward(self, batch: Any) -> dict[str, torch.Tensor]:
            self.seen = torch.nn.functional.linear(self.a.reshape(1, 1), self.b.reshape(1, 1))
            return super().forward(batch)

    class Half(LineTrainer):
        @classmethod
        def build_model(cls, cfg: Any) -> Product:
            return Product()

    trainer = train(cfg, cls=Half)
    assert trainer.bare_model.seen.dtype == getattr(torch, precision)
    assert trainer.bare_model.a.dtype == torch.float32
    assert all(line["grad_norm"] >= 0 for line in curve(tmp_path))
    scaled = "grad_scaler" in checkpoint(tmp_path)["trainer"]["_trainer"]
    assert scaled == (precision == "float16")


# --- a user's script, as detectron2's documentation teaches ---


class MeanOfA(DatasetEvaluator):
    def evaluate(self) -> dict[str, dict[str, float]]:
        return {"line": {"AP": 3.0}}


class UsersTrainer(LineTrainer):
    @classmethod
    def build_test_loader(cls, cfg: Any, dataset_name: str) -> list[Any]:
        return []

    @classmethod
    def build_evaluator(cls, cfg: Any, dataset_name: str) -> DatasetEvaluator:
        return MeanOfA()

    def build_hooks(self) -> list[HookBase | None]:
        self.recorder = Recorder()
        hooks = super().build_hooks()
        hooks.insert(-1, self.recorder)
        return hooks


def test_a_users_subclass_with_an_evaluator_and_a_hook(tmp_path: Path):
    cfg = line_config(tmp_path)
    cfg.DATASETS.TEST, cfg.TEST.EVAL_PERIOD, cfg.TEST.BEST_METRIC = ("mine",), 3, "line/AP"
    cfg.TEST.EXPECTED_RESULTS = [["line", "AP", 3.0, 0.1]]
    trainer = UsersTrainer(cfg)
    trainer.resume_or_load(resume=False)
    assert trainer.train() == {"line": {"AP": 3.0}}
    assert len(trainer.recorder.norms) == 8  # after_backward, which detectron2 never calls
    scores = {line["iteration"]: line["line/AP"] for line in curve(tmp_path) if "line/AP" in line}
    assert scores == {2: 3.0, 5: 3.0, 8: 3.0}
    assert checkpoint(tmp_path, "model_best")["iteration"] == 2


def test_expected_results_that_are_missed_end_the_run_with_an_error(tmp_path: Path):
    cfg = line_config(tmp_path)
    cfg.DATASETS.TEST, cfg.TEST.EXPECTED_RESULTS = ("mine",), [["line", "AP", 9.0, 0.1]]
    with pytest.raises(SystemExit):
        train(cfg, cls=UsersTrainer)


# --- keys ---


class Conv(torch.nn.Module):
    """A backbone with batch norm; the loss is its output."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        images = torch.stack([torch.full((3, 8, 8), record["x"]) for record in batch])
        return {"loss": self.backbone(images).square().mean()}


@pytest.mark.parametrize(
    "changes",
    [{"SOLVER__CHANNELS_LAST": True}, {"SOLVER__COMPILE": "aot_eager"}],
)
def test_channels_last_and_compile_train_as_the_plain_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
):
    def built(cfg: Any) -> Conv:
        torch.manual_seed(0)
        return Conv()

    class Real(LineTrainer):
        build_model = Trainer.build_model

    monkeypatch.setattr(trainer_module, "build_run_model", built)
    recorders = []
    for case in ({}, changes):
        cfg = line_config(tmp_path / str(len(recorders)))
        cfg.SOLVER.EMA.ENABLED = False
        for key, value in case.items():
            cfg.merge_from_list([key.replace("__", "."), value])
        recorders.append(LossRecorder())
        trainer = train(cfg, cls=Real, hook=recorders[-1])
    assert recorders[1].losses == pytest.approx(recorders[0].losses, rel=1e-4)
    names = [name for name, _ in trainer.bare_model.named_parameters()]
    assert names[0] == "backbone.0.weight"
    if cfg.SOLVER.CHANNELS_LAST:
        weight = trainer.bare_model.backbone[0].weight
        assert weight.is_contiguous(memory_format=torch.channels_last)


class LossRecorder(HookBase):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_step(self) -> None:
        self.losses.append(self.trainer.storage.history("total_loss").latest())


def test_precise_bn_gives_the_true_statistics(tmp_path: Path):
    class Normed(LineTrainer):
        @classmethod
        def build_model(cls, cfg: Any) -> Conv:
            return Conv()

    cfg = line_config(tmp_path, BASE_LR=1e-9)
    cfg.TEST.PRECISE_BN.ENABLED, cfg.TEST.PRECISE_BN.NUM_ITER = True, 20
    cfg.SOLVER.EMA.ENABLED = False
    trainer = train(cfg, cls=Normed)
    conv, norm = trainer.bare_model.backbone
    x = torch.tensor(
        [b["x"] for batch in islice(Normed.build_train_loader(cfg), 20) for b in batch]
    )
    with torch.no_grad():
        expected = conv(x[:, None, None, None].expand(-1, 3, 8, 8)).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-3, atol=1e-3)
