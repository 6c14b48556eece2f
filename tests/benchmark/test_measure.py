"""Alternation, ratios, the table, the choice of cases and the file; no clock is involved."""

from __future__ import annotations

import json

import pytest
import torch
from torchvision.ops import box_iou

from densepose.benchmark import report
from densepose.benchmark.both_sides.inputs import make_picture
from densepose.benchmark.cases import all_cases, select
from densepose.benchmark.contestants import upstream
from densepose.benchmark.measure import Measurement, measure


class Scripted:
    """A contestant whose runs take the given seconds."""

    def __init__(self, name: str, seconds: list[float], log: list[str]) -> None:
        self.name, self.seconds, self.log = name, iter(seconds), log

    def prepare(self, case):
        self.case = case

    def run(self):
        self.log.append(self.name)
        value = next(self.seconds)
        seconds = {"first": value, "second": 2 * value}
        return {"seconds": seconds, "cpu_seconds": 4 * value, "peak_mib": 10 * value}


def example() -> tuple[Measurement, list[str]]:
    log: list[str] = []
    ours = Scripted("accelerated", [9.0, 1.0, 2.0, 4.0], log)
    plain = Scripted("plain torch", [8.0, 3.0, 4.0, 4.0], log)
    return measure("work", {"kind": "x"}, [ours, plain], warm_up=1, rounds=3), log


def test_contestants_take_turns_and_the_warm_up_does_not_count():
    measurement, log = example()
    assert log == ["accelerated", "plain torch", "plain torch", "accelerated"] * 2
    assert measurement.seconds["accelerated"]["first"] == [1.0, 2.0, 4.0]
    assert measurement.median("plain torch") == 12.0
    assert measurement.peak_mib == {"accelerated": 90.0, "plain torch": 80.0}


def test_the_ratio_is_the_median_of_the_rounds():
    measurement, _ = example()
    # 3 / 1, 4 / 2, 4 / 4; the ratio of the medians is the same here, of the sums it is not
    assert measurement.ratio("plain torch", "accelerated") == 2.0
    assert measurement.ratio("accelerated", "plain torch", "second") == 0.5


def test_the_table_has_a_line_for_every_stage_and_gaps_where_nothing_was_measured():
    alone = Measurement("other", {"accelerated": {"a": [0.5], "total": [0.5]}}, {})
    lines = report.table([example()[0], alone]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + 4 + 1
    assert "| **work**" in lines[2] and "6000" in lines[2] and "x2.00" in lines[2]
    assert "**other**" in lines[-1] and "500" in lines[-1] and "x" not in lines[-1]


def test_the_file_tells_where_the_times_are_from(tmp_path):
    report.write_json(tmp_path / "a" / "b.json", [example()[0]], quick=True)
    content = json.loads((tmp_path / "a" / "b.json").read_text())
    assert content["measurements"][0]["seconds"]["accelerated"]["first"] == [1.0, 2.0, 4.0]
    assert torch.__version__.startswith(content["versions"]["torch"])
    assert content["machine"]["cores"] >= 1 and content["quick"] is True
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]


def test_cases_are_chosen_by_words_of_their_names():
    chosen = [case.name for case in select(all_cases(), ["20 people", "demo"])]
    assert chosen == [
        "inference 800x1100, 20 people",
        "inference 240x320, 20 people",
        "chart output to result, 20 people of 297x507",
        "training, demo config",
    ]
    with pytest.raises(ValueError, match="--only walk: no case has this in its name; .* loading"):
        select(all_cases(), ["walk"])


@pytest.mark.parametrize("case", [c for c in all_cases() if c.kind == "training"])
def test_proposals_near_people_overlap_enough_to_train_on(case):
    picture = make_picture(0, **case.picture)
    near = picture.proposals[: case.picture["near"]]
    assert (box_iou(near, picture.boxes).amax(dim=1) > 0.7).all()
    again = make_picture(0, **case.picture)
    assert torch.equal(picture.proposals, again.proposals)
    assert torch.equal(picture.image, again.image)
    sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
    height, width = case.picture["size"]
    assert (sides > 8).all() and (picture.boxes >= 0).all()
    assert (picture.boxes[:, 2:] <= torch.tensor([width, height])).all()


def test_a_folder_without_the_project_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no projects/DensePose there"):
        upstream(tmp_path)
