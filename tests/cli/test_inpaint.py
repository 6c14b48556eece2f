"""From a trained teacher to a student that learns from what it inpainted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from densepose.cli.__main__ import run_verb
from densepose.data.inpainted import read_inpainted, read_marker
from densepose.inpainting import command
from tests.support import ROOT
from tests.support.inpainting_scenes import painted, write_truth
from tests.support.training import options

TEACHER = str(ROOT / "tests" / "configs" / "teacher_cpu.yaml")
STUDENT = str(ROOT / "tests" / "configs" / "distilled_cpu.yaml")


@pytest.fixture(scope="module")
def weights(tiny_coco, tmp_path_factory) -> Path:
    """A teacher that was trained for two steps."""
    output = tmp_path_factory.mktemp("teacher")
    words = options(tiny_coco, output, **{"SOLVER.MAX_ITER": 2, "DATASETS.TEST": ()})
    assert run_verb("train", ["--config-file", TEACHER, *words]) == 0
    return output / "model_final.pth"


def inpaint(tiny_coco, weights: Path, out: Path, *words: str) -> int:
    command = ["--config-file", TEACHER, "--weights", str(weights), "--out", str(out), *words]
    return run_verb("inpaint", [*command, *options(tiny_coco, out.parent / "unused")])


def test_a_teacher_inpaints_and_a_student_learns_from_it(tiny_coco, weights, tmp_path, capsys):
    out = tmp_path / "inpainted"
    assert inpaint(tiny_coco, weights, out, "--scales", "1") == 0
    told = capsys.readouterr().out
    files = sorted(out.glob("*.npz"))
    assert f"7 people in {len(files)} images inpainted" in told
    assert len(files) == 5  # one of the six images shows nobody with points
    image = read_inpainted(files[0])
    assert all(np.count_nonzero(part) > 100 for part in image.part)
    assert read_marker(out)["crop_sizes_px"] == [64]
    words = options(
        tiny_coco,
        tmp_path / "student",
        **{"DATASETS.INPAINTED": out, "SOLVER.MAX_ITER": 2, "DATASETS.TEST": ()},
    )
    assert run_verb("train", ["--config-file", STUDENT, *words]) == 0
    assert "loss_densepose_dense_I" in (tmp_path / "student" / "metrics.json").read_text()

    # The same again changes nothing; other settings are refused.
    assert inpaint(tiny_coco, weights, out, "--scales", "1") == 0
    assert "5 images were there already" in capsys.readouterr().out
    assert inpaint(tiny_coco, weights, out, "--scales", "1", "--no-mirror") == 1
    assert "was made with" in capsys.readouterr().err

    # A file is lost: an error that names it, or a person fewer, by choice.
    files[0].unlink()
    assert run_verb("train", ["--config-file", STUDENT, *words, "SOLVER.MAX_ITER", "9"]) == 1
    assert files[0].name in capsys.readouterr().err
    counted = [*words, "DATASETS.ON_MISSING_INPAINTED", "count"]
    assert run_verb("train", ["--config-file", STUDENT, *counted]) == 0


def test_a_teacher_is_compared_with_the_baselines_and_the_network_alone(
    tiny_coco, weights, tmp_path, capsys
):
    content = json.loads(tiny_coco[0].read_text())
    for image in content["images"]:
        size = image["height"], image["width"]
        write_truth(tmp_path / "truth", image["id"], painted(size), np.ones(size, np.uint8))
    words = ["--scales", "1", "--truth", str(tmp_path / "truth")]
    assert inpaint(tiny_coco, weights, tmp_path / "inpainted", *words) == 0
    told = capsys.readouterr().out
    written = json.loads((tmp_path / "inpainted" / "accuracy.json").read_text())
    others = {"nearest", "smooth", "surface", "network"}
    assert set(written["methods"]) == others | {"teacher"}
    assert written["judged"] == "teacher"
    assert set(written["auc10_of_a_person_less_that_of"]) == others
    pixels = [scores["all"]["pixels"] for scores in written["methods"].values()]
    assert len(set(pixels)) == 1 and pixels[0] > 1000
    assert "| network " in told and "teacher less network" in told
    shares = [written["methods"][name]["all"]["auc30"] for name in ("teacher", "network")]
    assert shares[0] != shares[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to do"),
        (["--out", "x", "--dataset", "tinny"], "no data set is called 'tinny'"),
        (["--out", "x", "--config-file", TEACHER], "a teacher needs weights"),
        (["--out", "x", "--config-file", STUDENT, "--weights", "y"], "a teacher is a DensePoseFCN"),
    ],
)
def test_mistakes_are_told(tiny_coco, tmp_path, capsys, words, message):
    register = options(tiny_coco, tmp_path)[:4]
    assert run_verb("inpaint", [*words, *register]) == 1
    assert message in capsys.readouterr().err


def test_baselines_need_no_weights(tiny_coco, tmp_path, capsys):
    out = tmp_path / "smooth"
    words = ["--method", "smooth", "--out", str(out), "--limit", "2"]
    assert run_verb("inpaint", [*words, *options(tiny_coco, tmp_path / "unused")[:4]]) == 0
    assert len(list(out.glob("*.npz"))) == 2
    assert read_marker(out)["method"] == "smooth"


def test_interpolation_on_the_body_needs_no_weights_but_a_body(
    tiny_coco, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "surface"
    words = ["--method", "surface", "--out", str(out), "--limit", "2"]
    register = options(tiny_coco, tmp_path / "unused")[:4]
    assert run_verb("inpaint", [*words, *register]) == 0
    assert len(list(out.glob("*.npz"))) == 2
    assert read_marker(out)["method"] == "surface"
    # More images of the same set: the smoothing is that of the set.
    assert run_verb("inpaint", [*words[:-2], *register]) == 0
    assert "2 images were there already" in capsys.readouterr().out
    monkeypatch.setattr(command, "ChartAtlas", int)  # as if these charts were of another kind
    assert run_verb("inpaint", [*words, *register]) == 1
    assert "without a body in three dimensions" in capsys.readouterr().err
