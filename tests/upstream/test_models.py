"""The numbers of the comparison of models, by hand; what counts as equal; what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tools.upstream import models, record


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


def compare(**changes: torch.Tensor) -> models.Equality:
    ours = {**results(), **{name.replace("__", "/"): value for name, value in changes.items()}}
    return models.Equality("c", tensors=7, **models.compare_results(ours, results()))


def test_equal_results():
    got = compare()
    assert got.passed and got.largest_value == 1
    assert (got.maps, got.labels, got.labels_differ, got.losses, got.gradients) == (0, 6, 0, 0, 0)


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
    assert got.maps == 0.5
    assert (got.labels_differ, got.uv_steps, got.uv_differ) == (1, 3, 1)
    assert got.losses == pytest.approx(0.1)
    assert got.gradients == pytest.approx(0.5 / 13)  # of (3, 4, 12)
    assert got.gradient_worst == pytest.approx(0.5 / 5)
    assert not got.passed


@pytest.mark.parametrize(
    "change",
    [
        {"maps": 2e-4},
        {"accelerated": 2e-4},
        {"labels_differ": 1},
        {"uv_steps": 2},
        {"losses": 2e-4},
        {"gradients": 2e-4},
        {"boxes_px": 1e-2},
    ],
)
def test_each_limit_counts(change: dict[str, float]):
    assert not replace(compare(), **change).passed


def test_a_gradient_without_size_has_no_direction():
    assert compare(gradient__noise=torch.tensor([-5e-9])).gradient_worst == 0


def test_results_on_one_side_only_are_refused():
    ours = {name: value for name, value in results().items() if name != "loss/a"}
    with pytest.raises(ValueError, match="1 results on one side only: loss/a"):
        models.compare_results(ours, results())
    with pytest.raises(ValueError, match=r"shapes differ: \(3, 4\) here, \(2, 4\) there"):
        compare(map__u=torch.zeros(3, 4))


def test_the_table_shows_what_fails():
    views = [models.Equality("two sizes", 0.0, 1.0, 0, 10, 0, 0)]
    views.append(replace(views[0], name="turned by 90 degrees", labels_differ=3))
    bad = replace(compare(), name="bad", labels_differ=3)
    text = models.tables([replace(compare(), same_models=("d",)), bad], views)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert lines["c"].rstrip(" |").endswith("yes") and "- c: d" in text
    assert "3 of 6" in lines["bad"] and lines["bad"].rstrip(" |").endswith("**no**")
    assert "deviates" in lines["turned by 90 degrees"]
    assert models.passed([compare()], views) and not models.passed([bad], views)


def test_the_mirror_table_stays_on_the_charts():
    table = models.mirror_table()
    assert table.shape == (25, 256, 256, 2)
    assert 0 <= table.min() and table.max() <= 1
    assert table[3, 0, 0].tolist() == [1, 0]


def test_configs_of_a_checkout(tmp_path: Path):
    project = tmp_path / "projects" / "DensePose"
    for name in ("densepose/config.py", "configs/b.yaml", "configs/Base-X.yaml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    for name in ("cse/e.yaml", "quick/a_quick.yaml"):
        (project / "configs" / name).parent.mkdir()
        (project / "configs" / name).touch()
    assert record.chart_configs(tmp_path) == ["b", "quick/a_quick"]
    assert record.chart_configs(tmp_path, ["quick"]) == ["quick/a_quick"]
    with pytest.raises(ValueError, match="no config has R_50 in its name; there are"):
        record.chart_configs(tmp_path, ["R_50"])
    with pytest.raises(ValueError, match="give a checkout of detectron2"):
        record.chart_configs(tmp_path / "configs")
