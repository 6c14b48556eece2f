from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

pytest.importorskip("detectron2")

from detectron2.evaluation import print_csv_format

from densepose.errors import InputError
from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.evaluator import PREDICTIONS_DIR, RESULT_FILE, DensePoseEvaluator
from tools.upstream.generated import generated_set, generated_surface

SURFACE = generated_surface(vertices_per_part=20)
MADE = generated_set("noisy", num_images=7)
BY_ID = {p.image_id: p for p in MADE.predictions}


def evaluator_at(folder: Path, surface=SURFACE, **options) -> DensePoseEvaluator:
    evaluator = DensePoseEvaluator(
        lambda instances, image_id: BY_ID[image_id], MADE.ground_truth, surface, folder, **options
    )
    evaluator.reset()
    return evaluator


def show(evaluator: DensePoseEvaluator, image_ids) -> None:
    inputs = [{"image_id": image_id} for image_id in image_ids]
    evaluator.process(inputs, [{"instances": None} for _ in inputs])


def test_gives_the_numbers_of_the_function_and_writes_them(tmp_path):
    evaluator = evaluator_at(tmp_path, surface=lambda: SURFACE)
    show(evaluator, [1, 2, 3])
    show(evaluator, [4, 5, 6, 7])
    results = evaluator.evaluate()
    want = evaluate_densepose(MADE.ground_truth, MADE.predictions, SURFACE)
    assert evaluator.result.to_json() == want.to_json()
    assert results["densepose_gpsm"]["AP"] == want.metrics["densepose_gpsm/AP"]
    assert results["densepose_points"]["auc30"] == want.metrics["auc30"]
    assert list(results) == [
        *("densepose_gps", "densepose_gpsm", "densepose_iou", "bbox", "segm", "densepose_points")
    ]
    written = json.loads((tmp_path / RESULT_FILE).read_text())
    assert written["tables"]["bbox"]["AP50"] == want.metrics["box/AP50"]
    assert not (tmp_path / PREDICTIONS_DIR).exists()


def test_detectron2_can_print_the_results(tmp_path, caplog):
    evaluator = evaluator_at(tmp_path)
    show(evaluator, BY_ID)
    with caplog.at_level(logging.INFO):
        print_csv_format(evaluator.evaluate())
    assert "copypaste: Task: densepose_gpsm" in caplog.text
    assert "copypaste: AP,AP50,AP75,APm,APl,AR,AR50,AR75,ARm,ARl" in caplog.text


def test_predictions_are_saved_on_request_and_score_the_same(tmp_path):
    show(evaluator_at(tmp_path, save_predictions=True), BY_ID)
    evaluator = evaluator_at(tmp_path, save_predictions=True)  # takes the place of the first
    show(evaluator, [1, 2])
    evaluator.evaluate()
    assert len(list((tmp_path / PREDICTIONS_DIR).glob("*.npz"))) == 2
    again = evaluate_densepose(MADE.ground_truth, tmp_path, SURFACE)
    assert again.to_json() == evaluator.result.to_json()
    assert again.coverage == "predictions of 2 of 7 images"


def test_what_was_scored_before_a_reset_does_not_count(tmp_path):
    evaluator = evaluator_at(tmp_path)
    show(evaluator, BY_ID)
    evaluator.reset()
    show(evaluator, [1])
    evaluator.evaluate()
    assert evaluator.result.counts["detections"] == len(BY_ID[1])


def test_misuse_is_refused(tmp_path):
    arguments = (None, MADE.ground_truth, SURFACE, tmp_path)
    with pytest.raises(RuntimeError, match=r"call reset\(\) before process"):
        show(DensePoseEvaluator(*arguments), [1])
    with pytest.raises(RuntimeError, match=r"call reset\(\) before evaluate"):
        DensePoseEvaluator(*arguments).evaluate()
    with pytest.raises(TypeError, match="shoe_size"):
        DensePoseEvaluator(*arguments, shoe_size=47)
    evaluator = evaluator_at(tmp_path)
    with pytest.raises(InputError, match="image 1: the image is predicted twice"):
        show(evaluator, [1, 1])
    (tmp_path / PREDICTIONS_DIR).mkdir()
    (tmp_path / PREDICTIONS_DIR / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="thesis.tex"):
        evaluator_at(tmp_path, save_predictions=True)


SHARDS = [
    [[2, 4, 6, 8], [1, 3, 5, 7, 9], [], []],
    [[1], [2, 3, 4, 5, 6], [], [9, 8, 7]],  # uneven, and one without images
    [[], [], [5], []],  # most images are predicted by nobody
    [[1, 2], [2, 3], [], []],  # an image of two processes
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what four processes made of each case."""
    folder = tmp_path_factory.mktemp("ranks")
    script = ROOT / "tests" / "support" / "evaluators_of_ranks.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(script), str(folder), json.dumps(SHARDS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def answers(ranks: Path, case: int) -> list[dict[str, Any]]:
    return [json.loads((ranks / f"{case}" / f"rank{rank}.json").read_text()) for rank in range(4)]


@pytest.mark.parametrize("case", [0, 1, 2])
def test_any_split_over_processes_without_shared_folder_gives_the_same_bytes(ranks, case):
    first, *others = answers(ranks, case)
    made = generated_set("adversarial", num_images=9)
    predicted = {image_id for shard in SHARDS[case] for image_id in shard}
    predictions = [p for p in made.predictions if p.image_id in predicted]
    want = evaluate_densepose(made.ground_truth, predictions, SURFACE)
    assert first["all"] == want.to_json()
    assert others == [{"results": {}, "all": None}] * 3
    for rank, shard in enumerate(SHARDS[case]):
        folder = ranks / f"{case}" / f"rank{rank}"
        assert len(list(folder.glob(f"{PREDICTIONS_DIR}/*.npz"))) == len(shard)
        assert (folder / RESULT_FILE).is_file() == (rank == 0)


def test_an_image_of_two_processes_is_refused(ranks):
    first, *_ = answers(ranks, 3)  # the process that gathers
    assert "image 2 is predicted twice, in two processes" in first["error"]
