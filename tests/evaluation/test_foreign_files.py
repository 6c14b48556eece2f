from __future__ import annotations

import os
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.foreign_files import load_dump, read_upstream_dump
from densepose.evaluation.ground_truth import GroundTruth
from tests.support.upstream_dumps import CLASSES, MODULE, apply_net, evaluators
from tools.upstream.generated import generated_set, generated_surface

MADE = generated_set("noisy", num_images=5)
pytestmark = pytest.mark.usefixtures("upstreams_module")


def scores(predictions) -> str:
    surface = generated_surface(vertices_per_part=20)
    result = evaluate_densepose(MADE.ground_truth, predictions, surface)
    return replace(result, num_predicted=0).to_json()


def save_older(content, path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


SAVERS = pytest.mark.parametrize("save", [torch.save, save_older])


@SAVERS
@pytest.mark.parametrize("name", [name for name in CLASSES if "Chart" in name])
def test_a_dump_of_apply_net_scores_as_its_arrays(tmp_path, name, save):
    save(apply_net(MADE, name), tmp_path / "results.pkl")
    assert scores(tmp_path / "results.pkl") == scores(MADE.predictions)


def test_what_the_evaluator_keeps_scores_as_its_arrays(tmp_path):
    torch.save(evaluators(MADE), tmp_path / "coco_densepose_predictions.pth")
    assert scores(tmp_path / "coco_densepose_predictions.pth") == scores(MADE.predictions)


def read(tmp_path, content, truth=None) -> list:
    torch.save(content, tmp_path / "results.pkl")
    truth = truth or GroundTruth(MADE.ground_truth, "truth.json")
    return list(read_upstream_dump(tmp_path / "results.pkl", truth, Counter()))


def test_images_are_found_by_the_end_of_their_path(tmp_path):
    content = MADE.ground_truth | {
        "images": [
            {"id": number, "height": 360, "width": 480, "file_name": f"{folder}/000001.jpg"}
            for number, folder in ((1, "sea"), (2, "city"))
        ],
        "annotations": [],
    }
    truth = GroundTruth(content, "truth.json")
    entry = {
        "scores": torch.zeros(0),
        "pred_boxes_XYXY": torch.zeros(0, 4),
        "pred_densepose": [],
    }
    got = read(tmp_path, [entry | {"file_name": "C:\\data\\city\\000001.jpg"}], truth)
    assert got[0].image_id == 2 and len(got[0]) == 0
    for name, message in (
        ("000001.jpg", "2 images have this name in truth.json"),
        ("/data/city/000009.jpg", "no image of that name in truth.json"),
    ):
        with pytest.raises(ValueError, match=f"entry 0: '{name}': {message}"):
            read(tmp_path, [entry | {"file_name": name}], truth)


def changed(**fields) -> list[dict]:
    first, *others = apply_net(MADE)
    return [{**first, **fields}, *others]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "expected a list of dicts"),
        ([{"file_name": "a.jpg"}], "entry 0: .*missing required field scores"),
        (changed(scores=torch.zeros(9)), r"entry 0 \(.*\): 9 scores, "),
        (changed(scores=[0.5]), "expected a tensor, got a list"),
        (changed(pred_densepose=None), "is it of a chart-based model"),
        (
            [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
            "entry 0: .*missing required field densepose",
        ),
        (
            [{"image_id": 9, "bbox": [1, 2, 3, 4], "score": 0.5, "densepose": None}],
            "entry 0: image 9 is not in truth.json",
        ),
        (
            [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, "densepose": torch.zeros(1)}],
            "entry 0: a Tensor is not a chart-based prediction",
        ),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_predictions_of_embeddings_are_refused(tmp_path):
    entry = changed(
        pred_densepose=CLASSES["DensePoseEmbeddingPredictorOutput"](torch.zeros(1, 16, 2, 2))
    )
    with pytest.raises(ValueError, match="asks for .*DensePoseEmbeddingPredictorOutput"):
        read(tmp_path, entry)


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@SAVERS
def test_files_that_would_run_code_are_refused(tmp_path, save):
    mark = tmp_path / "was_here"
    save([{"file_name": Malicious(f"touch {mark}")}], tmp_path / "evil.pkl")
    with pytest.raises(ValueError, match=r"evil\.pkl: not a dump .*(posix|nt)\.system"):
        load_dump(tmp_path / "evil.pkl")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__", "exec"])
def test_functions_of_python_are_refused(tmp_path, name):
    (tmp_path / "a.pkl").write_bytes(f"cbuiltins\n{name}\n(S'1'\ntR.".encode())
    with pytest.raises(ValueError, match=f"asks for {name}, which may run code"):
        load_dump(tmp_path / "a.pkl")


@pytest.mark.parametrize("name", ["os.system", "__class__", "_Plain.__init__.__globals__"])
def test_names_below_known_modules_are_refused(tmp_path, name):
    (tmp_path / "a.pkl").write_bytes(f"c{MODULE}\n{name}\n.".encode())
    with pytest.raises(ValueError, match=f"asks for {MODULE}"):
        load_dump(tmp_path / "a.pkl")


@SAVERS
def test_damaged_files_are_named(tmp_path, save):
    path = tmp_path / "a.pkl"
    save(apply_net(MADE), path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1000):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.pkl: not a dump .*, or damaged"):
            load_dump(path)
    path.write_text("file_name,scores\n")
    with pytest.raises(ValueError, match=r"a\.pkl: not a dump"):
        load_dump(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(ValueError, match=r"a\.pkl: not a dump"):
        load_dump(path)


def test_numbers_that_are_stored_once_and_shown_often_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"of \(900000000,\) is larger than what is stored"):
        read(tmp_path, changed(scores=torch.zeros(1).expand(900_000_000)))


def test_scores_of_half_precision_are_read(tmp_path):
    scores = apply_net(MADE)[0]["scores"]
    got = read(tmp_path, changed(scores=scores.bfloat16()))[0].scores
    np.testing.assert_array_equal(got, scores.bfloat16().float().numpy())
