from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from densepose.engine.checkpoint import (
    find_last_valid,
    load_weights,
    mark_as_last,
    periodic_checkpoints,
    save_checkpoint,
)
from densepose.engine.name_matching import match_names
from densepose.engine.weights_file import WeightsFile, read_weights


def save(folder: Path, name: str, iteration: int, *, last: bool = True) -> Path:
    path = folder / name
    save_checkpoint(path, {"model": {"w": torch.full((2,), iteration)}, "iteration": iteration})
    if last:
        mark_as_last(path)
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_what_is_saved_is_read_back_and_leaves_no_other_file(tmp_path: Path):
    save(tmp_path, "model_0000009.pth", 9)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last_checkpoint",
        "model_0000009.pth",
    ]
    found = find_last_valid(tmp_path)
    assert found is not None and found.extra["iteration"] == 9


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path, "model_final.pth", 1)

    def disk_full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match=r"model_final.pth: the checkpoint could not be written"):
        save_checkpoint(path, {"model": {}})
    monkeypatch.undo()
    assert read_weights(path).extra["iteration"] == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_order_of_checkpoints_is_by_iteration(tmp_path: Path):
    for name in ("model_0000009.pth", "model_final.pth", "model_0000019.pth", "model_best.pth"):
        save(tmp_path, name, 0)
    names = [path.name for path in periodic_checkpoints(tmp_path)]
    assert names == ["model_final.pth", "model_0000019.pth", "model_0000009.pth"]


def test_a_truncated_last_checkpoint_is_passed_over_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    save(tmp_path, "model_0000009.pth", 9)
    cut(save(tmp_path, "model_0000019.pth", 19))
    found = find_last_valid(tmp_path)
    assert found is not None and found.extra["iteration"] == 9
    assert "model_0000019.pth: the file is truncated" in caplog.text


def test_a_missing_last_checkpoint_is_passed_over(tmp_path: Path):
    save(tmp_path, "model_0000009.pth", 9)
    save(tmp_path, "model_0000019.pth", 19).unlink()
    found = find_last_valid(tmp_path)
    assert found is not None and found.extra["iteration"] == 9


def test_no_checkpoint_and_only_damaged_ones(tmp_path: Path):
    assert find_last_valid(tmp_path) is None
    cut(save(tmp_path, "model_0000009.pth", 9))
    with pytest.raises(ValueError, match=r"none of its checkpoints can be read \(model_0000009"):
        find_last_valid(tmp_path)


def test_loading_reports_in_full_and_keeps_what_does_not_fit(tmp_path: Path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    nn.init.constant_(model[1].weight, 5.0)
    weights = {"0.weight": torch.ones(2, 2), "1.weight": torch.ones(7, 2), "old": torch.ones(1)}
    report = load_weights(model, WeightsFile(Path("w.pth"), weights), report_dir=tmp_path)
    assert model[0].weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert model[1].weight.unique().tolist() == [5.0]
    assert report.untouched == ("0.bias", "1.bias", "1.weight")
    written = (tmp_path / "load_report.txt").read_text()
    assert "1.weight: (7, 2) in the file, (3, 2) in the model" in written


def test_a_file_that_fits_nowhere_is_refused_but_reported(tmp_path: Path):
    other = WeightsFile(Path("w.pth"), {"conv.weight": torch.ones(1)})
    with pytest.raises(ValueError, match="no weight of the file fits"):
        load_weights(nn.Linear(2, 2), other, report_dir=tmp_path)
    assert "left over" in (tmp_path / "load_report.txt").read_text()


def test_names_of_other_programs_are_matched_by_their_ends():
    model = {"backbone.bottom_up.conv.weight": torch.zeros(2, 2)}
    file = WeightsFile(Path("w.pkl"), {"conv.weight": torch.ones(2, 2)}, name_matching="suffix")
    assert list(match_names(file, model)) == ["backbone.bottom_up.conv.weight"]
