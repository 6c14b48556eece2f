"""``densepose score PREDICTIONS ANNOTATIONS``: needs no model, no torch, no detectron2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import densepose
from densepose.cli.__main__ import main
from densepose.errors import InputError
from densepose.evaluation.predictions import (
    PredictionWriter,
    write_challenge_results,
    write_prediction,
)
from densepose.surface import evaluation_surface
from tests.support import ROOT
from tools.upstream.generated import IMAGE_SIZE, generated_set, generated_surface

MADE = generated_set("noisy", num_images=6)


@pytest.fixture
def files(tmp_path, monkeypatch) -> dict[str, str]:
    """Annotations and predictions on disk, and a small surface in place of the real ones."""
    surface = generated_surface(vertices_per_part=20)
    monkeypatch.setattr(evaluation_surface, "load_evaluation_surface", lambda *_: surface)
    (tmp_path / "truth.json").write_text(json.dumps(MADE.ground_truth))
    writer = PredictionWriter(tmp_path / "predictions")
    for prediction in MADE.predictions:
        writer.write(prediction)
    write_challenge_results(tmp_path / "results.json", MADE.predictions)
    names = ("truth.json", "predictions", "results.json", "out", "photos")
    return {name.split(".")[0]: str(tmp_path / name) for name in names}


def score(files: dict[str, str], *words: str, predictions: str = "predictions") -> int:
    paths = [files[predictions], files["truth"]]
    return main(["score", *paths, "--no-detection-scores", *words])


WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "detectron2"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Absent())
from densepose.cli.__main__ import main
from tools.upstream.generated import generated_surface
from densepose.surface import evaluation_surface

surface = generated_surface(vertices_per_part=20)
evaluation_surface.load_evaluation_surface = lambda *_: surface
status = main(sys.argv[1:])
assert not {"torch", "torchvision", "detectron2"} & set(sys.modules)
sys.exit(status)
"""


def test_it_runs_where_torch_and_detectron2_are_not_installed(files):
    words = ["score", files["predictions"], files["truth"]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words, "--output", files["out"]],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "GPSm = sqrt(GPS x mask IoU), kappa per part (challenge 2019)" in done.stdout
    assert done.stdout.strip().endswith(f"Scores: {files['out']}")


def test_a_folder_gets_scores_table_curve_and_pictures(files, capsys):
    assert score(files, "--output", files["out"]) == 0
    out = Path(files["out"])
    names = {"scores.json", "table.md", "rcp.png", "worst_people.jpg"}
    assert {path.name for path in out.iterdir()} == names
    printed = capsys.readouterr().out
    assert (out / "table.md").read_text() in printed
    scores = json.loads((out / "scores.json").read_text())
    assert len(scores["parts"]) == 24 and len(scores["images"]["gps"]) > 3
    with Image.open(out / "worst_people.jpg") as sheet:
        assert sheet.width > 600 and sheet.height > 400


def test_a_json_file_gets_the_scores_alone(files):
    target = Path(files["out"]) / "scores.json"
    assert score(files, "--output", str(target)) == 0
    assert [path.name for path in target.parent.iterdir()] == ["scores.json"]


def test_predictions_are_written_as_results_of_the_challenge(files, capsys):
    target = Path(files["out"]) / "results.json"
    assert score(files, "--results-json", str(target)) == 0
    people = sum(len(prediction) for prediction in MADE.predictions)
    assert f"Result file: {target}, {people} people" in capsys.readouterr().out
    assert target.read_bytes() == Path(files["results"]).read_bytes()


def test_options_reach_the_evaluation(files):
    target = Path(files["out"]) / "scores.json"
    words = ["--quirks", "fixed", "--oracle", "part", "--protocol", "single", "--paper-kappa"]
    words += ["--min-threshold", "0.3", "--max-detections", "5", "--output", str(target)]
    assert score(files, *words, predictions="results") == 0
    scores = json.loads(target.read_text())
    got = [scores[name] for name in ("quirks", "oracle", "protocol", "max_detections")]
    assert got == ["fixed", "part", "single", 5]
    assert scores["thresholds"][0] == 0.3 and "AP30" in scores["tables"]["densepose_gps_paper"]


def test_worst_people_are_drawn_on_their_photos(files, capsys):
    photos = Path(files["photos"])
    photos.mkdir()
    red = np.zeros((*IMAGE_SIZE, 3), np.uint8) + np.uint8([250, 0, 0])
    for image in MADE.ground_truth["images"][1:]:
        Image.fromarray(red).save(photos / image["file_name"])
    assert score(files, "--images", str(photos), "--output", files["out"]) == 0
    with Image.open(Path(files["out"]) / "worst_people.jpg") as sheet:
        pixels = np.asarray(sheet).astype(int)
    # Photos are lightened where people are annotated.
    assert ((pixels[..., 0] > 240) & (pixels[..., 1] < 150)).sum() > 5000
    assert f"no photo of image 1 in {photos}" in capsys.readouterr().err


def test_photos_of_another_size_are_refused(files, capsys):
    photos = Path(files["photos"])
    photos.mkdir()
    for image in MADE.ground_truth["images"]:
        Image.new("RGB", (9, 9)).save(photos / image["file_name"])
    assert score(files, "--images", str(photos), "--output", files["out"]) == 1
    assert "is 9 x 9 px, the annotation file says 480 x 360 px" in capsys.readouterr().err


def test_both_files_have_to_be_named(files, capsys):
    for words in ([], [files["predictions"]], ["--oracle", "part"]):
        assert main(["score", *words]) == 1
        assert "densepose score PREDICTIONS ANNOTATIONS" in capsys.readouterr().err


def test_the_former_command_is_understood_for_one_release(files, capsys):
    words = ["evaluate", "--predictions", files["predictions"], "--gt", files["truth"]]
    assert main([*words, "--no-detection-scores", "--output", files["out"]]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("note: --predictions is now densepose score PREDICTIONS")
    assert printed.out.rstrip().endswith(f"Scores: {files['out']}")


def test_photos_predicted_by_name_are_scored(files, tmp_path):
    named, scores = PredictionWriter(tmp_path / "named"), []
    names = {image["id"]: image["file_name"] for image in MADE.ground_truth["images"]}
    for number, prediction in enumerate(MADE.predictions, start=1):
        name = names[prediction.image_id]
        photo = replace(prediction, image_id=number + 5, file_name=name)
        write_prediction(named.folder / f"{Path(name).stem}.npz", photo)
    for folder in ("predictions", "named"):
        files["named"] = str(named.folder)
        target = tmp_path / f"{folder}.json"
        assert score(files, "--output", str(target), predictions=folder) == 0
        scores.append(json.loads(target.read_text()))
    assert scores[0] == scores[1]
    stranger = replace(MADE.predictions[0], file_name="stranger.jpg")
    with pytest.raises(InputError, match="no image has the name .*stranger.jpg"):
        densepose.evaluate(MADE.ground_truth, [stranger])
