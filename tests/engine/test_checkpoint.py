"""The checkpointer: what it writes, finds, resumes from, and refuses."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing, nn

from detectron2.config import CfgNode, get_cfg
from detectron2.engine import DefaultTrainer
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.events import EventWriter

from densepose.engine.checkpoint import SafeCheckpointer, find_checkpoints, save_checkpoint
from densepose.engine.weights import read_checkpoint
from densepose.errors import InputError
from tests.support.two_folders import resume_in_own_folders


class State:
    """The least that can be saved and loaded."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def state_dict(self) -> dict[str, int]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.value = state["value"]


def save(folder: Path, name: str, iteration: int) -> Path:
    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, iteration)
    checkpointer = SafeCheckpointer(model, folder, trainer=State(iteration))
    checkpointer.save(name, iteration=iteration)
    return folder / f"{name}.pth"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def change_one_weight(path: Path) -> None:
    """One bit of a tensor's data."""
    with zipfile.ZipFile(path) as archive:
        entry = next(info for info in archive.infolist() if "/data/0" in info.filename)
        weight = archive.read(entry)
    content = bytearray(path.read_bytes())
    content[content.index(weight)] ^= 1
    path.write_bytes(content)


def last(folder: Path) -> str:
    return Path(SafeCheckpointer(nn.Linear(2, 2), folder).get_checkpoint_file()).name


def test_what_is_saved_is_resumed_and_leaves_no_other_file(tmp_path: Path):
    save(tmp_path, "model_0000009", 9)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["last_checkpoint", "model_0000009.pth"]
    model, state = nn.Linear(2, 2), State()
    checkpointer = SafeCheckpointer(model, tmp_path, trainer=state)
    assert checkpointer.has_checkpoint()
    extra = checkpointer.resume_or_load("never read", resume=True)
    assert extra["iteration"] == state.value == 9
    assert model.weight.unique().tolist() == [9.0]


def test_without_resume_weights_alone_are_loaded(tmp_path: Path):
    path = save(tmp_path, "model_0000009", 9)
    model, state = nn.Linear(2, 2), State(1)
    checkpointer = SafeCheckpointer(model, tmp_path / "other", trainer=state)
    checkpointer.resume_or_load(str(path), resume=False)
    assert (model.weight.unique().tolist(), state.value) == ([9.0], 1)
    assert "2 weights matched" in (tmp_path / "other" / "load_report.txt").read_text()


def test_a_new_run_is_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    checkpointer = SafeCheckpointer(nn.Linear(2, 2), tmp_path)
    assert checkpointer.resume_or_load("", resume=True) == {}
    assert f"{tmp_path} has no checkpoint: a new run starts" in caplog.text


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path, "model_final", 1)

    def failing(*_: object) -> None:
        raise RuntimeError("unexpected pos")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(RuntimeError, match="unexpected pos"):
        save_checkpoint(path, {"model": {}})
    monkeypatch.undo()
    assert read_checkpoint(path)["iteration"] == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_tagged_checkpoint_comes_first_then_the_newest(tmp_path: Path):
    numbers = {"model_0000009": 9, "model_final": 29, "model_0000019": 19, "mine": 0}
    for name, iteration in ({"model_best": 9} | numbers).items():
        save(tmp_path, name, iteration)
    assert last(tmp_path) == "mine.pth"
    (tmp_path / "last_checkpoint").unlink()
    for name in ("model_final.pth", "model_0000019.pth", "model_0000009.pth"):
        assert last(tmp_path) == name
        (tmp_path / name).unlink()
    assert last(tmp_path) == ""  # model_best.pth is of no known place in the run


def test_the_end_of_a_run_lies_before_its_continuation(tmp_path: Path):
    for name, iteration in (("model_final", 14), ("model_0000009", 9), ("model_0000019", 19)):
        save(tmp_path, name, iteration)
    names = [path.name for path in find_checkpoints(tmp_path)]
    assert names == ["model_0000019.pth", "model_final.pth", "model_0000009.pth"]


def test_every_flipped_bit_and_every_block_of_zeros_is_found(tmp_path: Path):
    """Wherever it changes what is read; the gaps between the tensors hold nothing."""
    good = save(tmp_path, "model_0000009", 9).read_bytes()
    read = read_checkpoint(tmp_path / "model_0000009.pth")
    path, found, random = tmp_path / "x.pth", 0, np.random.default_rng(0)
    for number in range(300):
        changed, at = bytearray(good), int(random.integers(len(good)))
        if number % 3:
            changed[at] ^= 1 << int(random.integers(8))
        else:
            changed[at : at + 64] = bytes(len(changed[at : at + 64]))
        path.write_bytes(changed)
        try:
            again = read_checkpoint(path)
        except InputError as error:
            assert str(error).startswith(str(path))
            found += 1
        else:
            torch.testing.assert_close(again, read, rtol=0, atol=0)
    assert found > 50


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float):
    torch.save({"weight": torch.full((2, 2), value), "bias": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="1 weights hold NaN or infinite values: weight"):
        SafeCheckpointer(nn.Linear(2, 2)).load(str(tmp_path / "w.pth"))


@pytest.mark.parametrize("damage", [cut, change_one_weight, Path.unlink])
def test_a_damaged_last_checkpoint_is_skipped_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage
):
    save(tmp_path, "model_0000009", 9)
    damage(save(tmp_path, "model_0000019", 19))
    assert last(tmp_path) == "model_0000009.pth"
    assert "Checkpoint skipped" in caplog.text and "model_0000019.pth" in caplog.text


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path):
    cut(save(tmp_path, "model_0000009", 9))
    checkpointer = SafeCheckpointer(nn.Linear(2, 2), tmp_path, trainer=State())
    with pytest.raises(ValueError, match=r"none of its checkpoints can be read \(model_0000009"):
        checkpointer.resume_or_load("", resume=True)


def test_weights_alone_are_not_resumed_from(tmp_path: Path):
    SafeCheckpointer(nn.Linear(2, 2), tmp_path).save("model_final")
    checkpointer = SafeCheckpointer(nn.Linear(2, 2), tmp_path, trainer=State())
    with pytest.raises(ValueError, match=r"model_final.pth: holds no trainer, only weights"):
        checkpointer.resume_or_load("", resume=True)
    checkpointer.load(str(tmp_path / "model_final.pth"))  # as detectron2: takes what is there


def test_another_model_is_not_resumed(tmp_path: Path):
    save(tmp_path, "model_final", 1)
    checkpointer = SafeCheckpointer(nn.Linear(2, 3), tmp_path, trainer=State())
    with pytest.raises(ValueError, match="no weight of the file fits"):
        checkpointer.resume_or_load("", resume=True)


class StateWithAverage(State):
    """A trainer that has the hook of a moving average."""

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "hooks": {"WeightAverage": {"updates": 0}}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.average = state["value"], state["hooks"]["WeightAverage"]


def test_training_continues_with_its_own_weights_beside_their_average(tmp_path: Path):
    own, average = ({"weight": torch.full((1, 1), value)} for value in (1.0, 2.0))
    content = {"model": average, "trainer": {"value": 3}, "iteration": 3}
    content["trainer"]["hooks"] = {"WeightAverage": {"train_model": own, "updates": 7}}
    save_checkpoint(tmp_path / "model_0000003.pth", content)
    model = nn.Linear(1, 1, bias=False)
    checkpointer = SafeCheckpointer(model, tmp_path, trainer=State())
    extra = checkpointer.resume_or_load("", resume=True)
    assert model.weight.item() == 1.0 and extra["average"]["weight"].item() == 2.0
    # A trainer with an average saves and loads the average, and its hook has the other weights.
    trainer = StateWithAverage()
    SafeCheckpointer(model, tmp_path, trainer=trainer).resume_or_load("", resume=True)
    assert model.weight.item() == 2.0
    assert trainer.average["train_model"] == own and trainer.average["updates"] == 7
    checkpointer.load(str(tmp_path / "model_0000003.pth"), checkpointables=[])
    assert model.weight.item() == 2.0  # to be used, the average is taken


def test_loading_reports_in_full_and_keeps_what_does_not_fit(tmp_path: Path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    nn.init.constant_(model[1].weight, 5.0)
    weights = {"0.weight": torch.ones(2, 2), "1.weight": torch.ones(7, 2), "old": torch.ones(1)}
    torch.save(weights, tmp_path / "w.pth")
    checkpointer = SafeCheckpointer(model, report_dir=tmp_path)
    checkpointer.load(str(tmp_path / "w.pth"))
    assert model[0].weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert model[1].weight.unique().tolist() == [5.0]
    assert checkpointer.report.untouched == ("0.bias", "1.bias", "1.weight")
    written = (tmp_path / "load_report.txt").read_text()
    assert "1.weight: (7, 2) in the file, (3, 2) in the model" in written


def test_a_file_that_fits_nowhere_is_refused_but_reported(tmp_path: Path):
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no weight of the file fits"):
        SafeCheckpointer(nn.Linear(2, 2), tmp_path).load(str(tmp_path / "w.pth"))
    assert "left over" in (tmp_path / "load_report.txt").read_text()


def test_names_are_matched_by_their_ends_where_the_address_asks_for_it(tmp_path: Path):
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "w.pth")
    model = nn.Sequential(nn.Linear(2, 2))
    checkpointer = SafeCheckpointer(model)
    checkpointer.load(f"{tmp_path / 'w.pth'}?matching_heuristics=True")
    assert model[0].weight.unique().tolist() == [1.0]
    with pytest.raises(ValueError, match="'heuristics=1' is unknown"):
        checkpointer.load(f"{tmp_path / 'w.pth'}?heuristics=1")


# What the second of two processes has where the first has model_0000009.pth, and what both say.
SECOND = {
    "same": "",
    "nothing": "process 0 finds model_0000009.pth to resume from, process 1 finds no checkpoint;"
    " put OUTPUT_DIR on a disk that all machines share",
    "older": "process 0 finds model_0000009.pth to resume from, process 1 finds model_0000004.pth",
    "other": "process 1 finds model_0000009.pth of other content",
    "damaged": "none of its checkpoints can be read",
}


def test_processes_agree_on_a_checkpoint_or_all_stop(tmp_path: Path):
    for case in SECOND:
        torch.manual_seed(0)
        save(tmp_path / case / "0", "model_0000009", 9)
        if case != "nothing":
            torch.manual_seed(0)
            number = 4 if case == "older" else 9
            path = save(
                tmp_path / case / "1", f"model_{number:07d}", 8 if case == "other" else number
            )
            if case == "damaged":
                cut(path)
    multiprocessing.spawn(resume_in_own_folders, (str(tmp_path), list(SECOND)), nprocs=2)
    for case, sentence in SECOND.items():
        for rank in range(2):
            answer = (tmp_path / case / f"{rank}.txt").read_text()
            assert sentence in answer if sentence else answer == "9", (case, rank)


@META_ARCH_REGISTRY.register()
class LineForCheckpoints(nn.Module):
    """Fits y = a x + b to the records of a batch."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.zeros_(self.line.weight), nn.init.zeros_(self.line.bias)

    def forward(self, batch: list[dict[str, float]]) -> dict[str, Tensor]:
        x, y = (torch.tensor([[record[name]] for record in batch]) for name in ("x", "y"))
        return {"loss_line": (self.line(x) - y).square().mean()}


class TheirTrainer(DefaultTrainer):
    """detectron2's own, on a tiny model; batch n is the same in every run."""

    def __init__(self, cfg: CfgNode, start: int = 0) -> None:
        self.start = start
        super().__init__(cfg)

    def build_train_loader(self, cfg: CfgNode) -> Any:
        points = (math.sin(n) for n in range(self.start, 1000))
        return [[{"x": x, "y": 2 * x + 1}] for x in points]

    def build_writers(self) -> list[EventWriter]:
        return []


def their_cfg(folder: Path, max_iter: int) -> CfgNode:
    folder.mkdir(exist_ok=True)
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = "LineForCheckpoints", "cpu"
    cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR, cfg.DATASETS.TEST = "", str(folder), ()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS = max_iter, (6,), 2
    cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY_BIAS = 0.1, 0.01
    return cfg


def test_a_run_of_detectron2_is_resumed_with_optimizer_and_schedule(tmp_path: Path):
    whole = TheirTrainer(their_cfg(tmp_path / "whole", 8))
    whole.train()
    TheirTrainer(their_cfg(tmp_path / "parts", 4)).train()
    assert (tmp_path / "parts" / "last_checkpoint").read_text() == "model_final.pth"
    resumed = TheirTrainer(their_cfg(tmp_path / "parts", 8), start=4)
    checkpointer = SafeCheckpointer(resumed.model, tmp_path / "parts", trainer=resumed)
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 3
    assert resumed.iter == 3 and resumed.scheduler.last_epoch == 4
    resumed.start_iter = 4
    resumed.train()
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict())
    torch.testing.assert_close(
        resumed._trainer.optimizer.state_dict(), whole._trainer.optimizer.state_dict()
    )


def test_the_state_of_another_optimizer_is_not_loaded(tmp_path: Path):
    TheirTrainer(their_cfg(tmp_path, 4)).train()
    resumed = TheirTrainer(their_cfg(tmp_path, 8), start=4)
    resumed._trainer.optimizer = torch.optim.AdamW(resumed.model.parameters())
    checkpointer = SafeCheckpointer(resumed.model, tmp_path, trainer=resumed)
    with pytest.raises(InputError, match="final.pth: holds the state of SGD, the config"):
        checkpointer.resume_or_load("", resume=True)
