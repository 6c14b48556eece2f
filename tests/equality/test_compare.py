"""The numbers of a comparison, by hand; what counts as equal; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densepose.equality.compare import Equality, compare_gradients, compare_results, names_digest
from densepose.equality.configs import chart_configs, group_by_model, project_of
from densepose.equality.report import report
from densepose.equality.run import Findings
from densepose.equality.views import TurnError, ViewEquality, mirror_table


def results() -> dict[str, torch.Tensor]:
    iuv = torch.zeros(3, 2, 3, dtype=torch.uint8)
    iuv[0, 0] = 5
    return {
        "map/u": torch.zeros(2, 4),
        "map/v": torch.ones(2, 4),
        "iuv/0": iuv,
        "loss/a": torch.tensor(2.0),
        "gradient/x": torch.tensor([3.0, 4.0]),
        "gradient/y": torch.tensor([12.0]),
        "gradient/noise": torch.tensor([1e-9]),
    }


def compare(**changes: torch.Tensor) -> Equality:
    theirs = results()
    ours = {**theirs, **{name.replace("__", "/"): value for name, value in changes.items()}}
    fast = {name: value + 1e-6 for name, value in theirs.items() if name.startswith("map/")}
    numbers = compare_results(ours, theirs, fast)
    return Equality(config="c", tensors=7, names_sha256="", loads_there=True, **numbers)


def test_equal_results():
    got = compare()
    assert got.passed
    assert (got.map_difference, got.labels, got.labels_differ, got.loss_relative) == (0, 6, 0, 0)
    assert got.accelerated == pytest.approx(1e-6, rel=0.1)
    assert got.largest_value == 1


def test_differences_by_hand():
    iuv = results()["iuv/0"].clone()
    iuv[0, 1, 0] = 1  # a pixel with another label: its U and V do not count
    iuv[1, 1, 0] = 200
    iuv[2, 0, 2] = 3
    got = compare(
        map__u=torch.full((2, 4), -0.5),
        iuv__0=iuv,
        loss__a=torch.tensor(2.2),
        gradient__x=torch.tensor([3.0, 4.5]),
    )
    assert got.maps == {"u": 0.5, "v": 0}
    assert (got.labels_differ, got.uv_steps, got.uv_differ) == (1, 3, 1)
    assert got.loss_relative == pytest.approx(0.1)
    assert got.gradient_relative == pytest.approx(0.5 / 13)  # of (3, 4, 12)
    assert got.gradient_worst == pytest.approx(0.5 / 5)
    assert not got.passed


@pytest.mark.parametrize(
    "change",
    [
        {"maps": {"u": 2e-4}},
        {"accelerated": 2e-4},
        {"labels_differ": 1},
        {"uv_steps": 2},
        {"losses": {"a": (1.001, 1.0)}},
        {"gradient_relative": 2e-4},
        {"loads_there": False},
    ],
)
def test_each_limit_counts(change: dict[str, object]):
    assert compare().passed and not replace(compare(), **change).passed


def test_a_gradient_without_size_has_no_direction():
    ours = {**results(), "gradient/noise": torch.tensor([-5e-9])}
    assert compare_gradients(ours, results())["gradient_worst"] == 0


def test_results_on_one_side_only_are_refused():
    theirs = results()
    ours = {name: value for name, value in theirs.items() if name != "loss/a"}
    with pytest.raises(ValueError, match="1 results on one side only: loss/a"):
        compare_results(ours, theirs, {})
    with pytest.raises(ValueError, match=r"shapes differ: \(3, 4\) here, \(2, 4\) there"):
        compare(map__u=torch.zeros(3, 4))


def test_json_and_back():
    equality = replace(compare(), same_models=["d"])
    assert Equality.from_json(json.loads(json.dumps(equality.to_json()))) == equality


def test_digest_knows_names_and_shapes():
    a, b = torch.zeros(2, 3), torch.zeros(3, 2)
    assert names_digest({"x": a, "y": b}) == names_digest({"y": b, "x": a + 1})
    assert names_digest({"x": a}) != names_digest({"x": b}) != names_digest({"z": b})


def checkout(folder: Path) -> Path:
    """A folder that looks like a checkout: a base, two configs of one model, one embedding."""
    project = folder / "projects" / "DensePose"
    (project / "densepose").mkdir(parents=True)
    (project / "densepose" / "config.py").write_text("")
    configs = project / "configs"
    (configs / "cse").mkdir(parents=True)
    (configs / "quick").mkdir()
    base = Path(__file__).parents[2] / "configs" / "Base-DensePose-RCNN-FPN.yaml"
    (configs / "Base-X.yaml").write_text(f'_BASE_: "{base}"\n')
    (configs / "cse" / "e.yaml").write_text("SEED: 1\n")
    (configs / "quick" / "a_quick.yaml").write_text('_BASE_: "../Base-X.yaml"\nSEED: 3\n')
    (configs / "a.yaml").write_text('_BASE_: "Base-X.yaml"\nMODEL:\n  WEIGHTS: "x.pkl"\n')
    (configs / "b.yaml").write_text('_BASE_: "Base-X.yaml"\nMODEL:\n  RESNETS:\n    DEPTH: 101\n')
    return folder


def test_configs_of_a_checkout(tmp_path: Path):
    project = project_of(checkout(tmp_path))
    names = chart_configs(project)
    assert names == ["a", "b", "quick/a_quick"]
    assert group_by_model(project, names, ()) == {"a": ["quick/a_quick"], "b": []}
    assert chart_configs(project, ["a"]) == ["a"]
    assert chart_configs(project, ["quick", "b"]) == ["b", "quick/a_quick"]
    with pytest.raises(ValueError, match="no config has R_50 in its name; there are"):
        chart_configs(project, ["R_50"])


def test_a_folder_that_is_no_checkout(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="give the folder of a checkout of detectron2"):
        project_of(tmp_path)


def test_the_report_shows_what_fails():
    view = ViewEquality("two sizes", 4, 0.0, 1e-6, 0.0, 0, 10, 0, 0, expected_to_differ=False)
    turn = TurnError(20, (40.0, 120.0), 1e-4, 6.78)
    bad = replace(compare(), config="bad", labels_differ=3)
    findings = Findings(
        [compare(), bad], [view], [turn], {"c": [2.0, 1.0]}, {"c": [], "bad": ["SEED"]}
    )
    facts = {"when": "today", "commit": "abc", "python": "3", "versions": {"torch": "2"}}
    text = report(findings, {**facts, "checkout_sha256": "0" * 64, "command": "python x"})
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert lines["c"].rstrip(" |").endswith("yes")
    assert "3 of 6" in lines["bad"] and lines["bad"].rstrip(" |").endswith("**no**")
    assert "bad differs in SEED" in text and "c (2, 1)" in text and "two sizes" in lines
    assert "40 x 120" in lines["20 degrees"] and "6.78" in lines["20 degrees"]
    assert view.passed and not replace(view, labels_differ=1).passed


def test_the_mirror_table_stays_on_the_charts():
    table = mirror_table()
    assert table.shape == (25, 256, 256, 2)
    assert 0 <= table.min() and table.max() <= 1
    assert table[3, 0, 0].tolist() == [1, 0]
