"""A person annotated in a real browser by mouse and keys, from the box to a training."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from densepose.annotate.body import load_body
from densepose.cli.__main__ import main
from densepose.synthetic import make_synthetic_dataset
from tests.support.annotating import Robot, command
from tests.support.browser import BROWSER, open_browser
from tests.support.training import QUICK, options

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine: the pages of annotate are not clicked"
)
WORST_CM = 0.5  # of a robot that clicks on whole pixels of the views


def test_a_rendered_person_is_annotated_and_trained_on(tmp_path, monkeypatch, capsys):
    rendered = tmp_path / "my.test"
    make_synthetic_dataset(
        rendered, seed=2026, num_train=1, num_val=0, image_size=192, people=(1, 1)
    )
    (image,) = (rendered / "images" / "train").glob("*.jpg")
    iuv = rendered / "truth" / "train" / f"{image.stem}_iuv.png"
    words = (image.parent, "--output", tmp_path / "my.json", "--points", 2)
    with open_browser(tmp_path / "browser") as page:
        robot = Robot(page, iuv)
        with command(*words) as (process, address):
            page.open(address)
            robot.say_name("Robot")
            robot.draw_box()
            robot.draw_parts()
            regions = page.evaluate("instance.regions")
            os.kill(process.pid, signal.SIGKILL)
        with command(*words) as (_, address):
            page.open(address)
            robot.say_name("Robot")
            page.wait_for("instance !== null && layer !== null")
            assert page.evaluate("instance.regions") == regions
            page.press("Enter")
            placed = robot.place_points(most=5)
            page.evaluate("window.isOld = true")
            page.send("Page.reload")  # in the middle
            page.wait_for("!window.isOld && typeof step !== 'undefined' && current !== null")
            placed += robot.place_points()
        assert page.errors == []

    assert len(regions) >= 5 and placed >= 8
    assert main(["check-data", str(tmp_path / "my.json"), "--images", str(image.parent)]) == 0
    (person,) = json.loads((tmp_path / "my.json").read_text())["annotations"]
    assert len(person["dp_I"]) == placed
    truth = robot.truth_of(person)
    found_m, expected_m = (
        load_body().atlas.to_points(part, np.stack([u, v], axis=1))
        for part, u, v in (truth, (person["dp_I"], person["dp_U"], person["dp_V"]))
    )
    assert 100 * np.linalg.norm(found_m - expected_m, axis=1).max() < WORST_CM
    words = options((tmp_path / "my.json", image.parent), tmp_path / "run")
    more = ["DATASETS.TEST", "()", "TEST.EVAL_PERIOD", "0"]
    assert main(["train", "--config-file", QUICK, *words, *more]) == 0
    assert (tmp_path / "run" / "model_final.pth").is_file()
