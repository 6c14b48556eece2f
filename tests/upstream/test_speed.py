"""Alternation, ratios, the table and the file, without a clock; processes; every kind of work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torchvision.ops import box_iou

from tools.upstream import process, speed
from tools.upstream.inputs import make_picture


class Scripted:
    """A contestant whose runs take the given seconds."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, iter(seconds), log

    def measure(self, function: str) -> process.Answer:
        assert function == "run"
        self.log.append(self.name)
        value = next(self.seconds)
        return process.Answer({"first": value, "second": 2 * value}, 4 * value, 10 * value)


def example() -> tuple[speed.Measurement, list[str]]:
    log: list[str] = []
    ours = Scripted("accelerated", [9.0, 1.0, 2.0, 4.0], log)
    plain = Scripted("plain torch", [8.0, 3.0, 4.0, 4.0], log)
    return speed.measure("work", [ours, plain], warm_up=1, rounds=3), log


def test_contestants_take_turns_and_the_warm_up_does_not_count():
    measurement, log = example()
    assert log == ["accelerated", "plain torch", "plain torch", "accelerated"] * 2
    assert measurement.seconds["accelerated"]["first"] == [1.0, 2.0, 4.0]
    assert measurement.median("plain torch") == 12.0
    assert measurement.peak_mib == {"accelerated": 90.0, "plain torch": 80.0}


def test_the_ratio_is_the_median_of_the_rounds():
    measurement, _ = example()
    # 3 / 1, 4 / 2, 4 / 4
    assert measurement.ratio("plain torch", "accelerated") == 2.0
    assert measurement.ratio("accelerated", "plain torch", "second") == 0.5


def test_the_table_has_gaps_where_nothing_was_measured():
    alone = {"accelerated": {"a": [0.5], "total": [0.5], "CPU time": [0.7]}}
    lines = speed.table([example()[0], speed.Measurement("other", alone, {})]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + 4 + 2
    assert "| **work**" in lines[2] and "6000" in lines[2] and "x2.00" in lines[2]
    assert "**other**" in lines[-2] and "500" in lines[-2] and "x" not in lines[-2]


def test_the_file_says_where_the_times_are_from(tmp_path: Path):
    speed.write(tmp_path / "a" / "b.json", [example()[0]], {"quick": True})
    content = json.loads((tmp_path / "a" / "b.json").read_text())
    assert content["measurements"][0]["seconds"]["accelerated"]["first"] == [1.0, 2.0, 4.0]
    assert torch.__version__.startswith(content["versions"]["torch"])
    assert content["cores"] >= 1 and content["quick"] is True


def test_rows_are_chosen_by_words_of_their_names():
    chosen = [work.name for work in speed.select(speed.all_work(), ["20 people", "demo"])]
    assert chosen == [
        "inference 800x1100, 20 people",
        "inference 240x320, 20 people",
        "chart output to result, 20 people of 297x507",
        "training, demo config",
    ]
    with pytest.raises(ValueError, match="--only walk: nothing has this in its name; .* loading"):
        speed.select(speed.all_work(), ["walk"])
    on_gpu = speed.select(speed.all_work(), [], "cuda")
    assert {work.kind for work in on_gpu} == {"inference", "training"}
    with pytest.raises(ValueError, match="--rounds must be 1 or more, got 0"):
        speed.run(rounds=0)


@pytest.mark.parametrize("work", [w for w in speed.all_work() if w.kind == "training"])
def test_proposals_near_people_overlap_enough_to_train_on(work: speed.Work):
    picture = make_picture(0, **work.case.picture)
    near = picture.proposals[: work.case.picture["near"]]
    assert (box_iou(near, picture.boxes).amax(dim=1) > 0.7).all()
    again = make_picture(0, **work.case.picture)
    assert torch.equal(picture.image, again.image)
    height, width = work.case.picture["size"]
    assert (picture.boxes >= 0).all()
    assert (picture.boxes[:, 2:] <= torch.tensor([width, height])).all()


@pytest.mark.slow
def test_every_kind_of_work_runs(tmp_path: Path):
    words = ["64x96, 5 people", "5 people of 30x50", "12 RoIs", "loading", "evaluation", "vertices"]
    output = tmp_path / "speed.json"
    how = {"quick": True, "rounds": 1, "warm_up": 0, "half": True}
    measured = speed.run(only=words, output=output, **how)
    both = ["accelerated", "plain torch"]
    alone = ["accelerated"]
    assert [sorted(m.seconds) for m in measured] == [both, both, both] + [alone] * 5
    inference, conversion, training, loading, evaluation, *_ = measured
    assert {"backbone and FPN", "DensePose branch"} <= set(inference.seconds["plain torch"])
    assert {"forward", "backward", "update"} <= set(training.seconds["accelerated"])
    assert "score GPS, GPSm and IoU" in evaluation.seconds["accelerated"]
    assert all(m.seconds["accelerated"][speed.CPU_TIME][0] > 0 for m in measured)
    assert len(json.loads(output.read_text())["measurements"]) == len(measured)


def test_a_process_that_ends_gives_its_reason(tmp_path: Path):
    with process.Side("ours", "no_such_module", tmp_path) as side:
        with pytest.raises(RuntimeError, match="ended with status 1(.|\n)*no_such_module"):
            side.call("run")


def test_a_function_that_fails_gives_its_traceback():
    with process.ours() as side:
        with pytest.raises(RuntimeError, match="this package failed in score_set(.|\n)*nowhere"):
            side.call("score_set", folder="nowhere", official="nowhere")
        with pytest.raises(RuntimeError, match="KeyError: 'no_such_call'"):
            side.call("no_such_call")


def test_a_process_finds_packages_of_the_users_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/of/the/user")
    first, own, users = process.environment_of(Path("/x"))["PYTHONPATH"].split(os.pathsep)
    assert (first, own, users) == ("/x", str(process.HERE.parent), "/of/the/user")


def test_folders_that_are_no_checkouts_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no projects/DensePose in it"):
        process.detectron2(tmp_path)
    with pytest.raises(ValueError, match="no densepose package in it"):
        process.ours("before", tmp_path)
