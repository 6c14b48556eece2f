from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

from detectron2.evaluation import print_csv_format

from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.evaluator import PREDICTIONS_DIR, RESULT_FILE, DensePoseEvaluator
from densepose.evaluation.generated import generated_set, generated_surface
from tests.evaluation.two_evaluators import AsInstances

SURFACE = generated_surface(vertices_per_part=20)
MADE = generated_set("noisy", num_images=7)
BY_ID = {p.image_id: p for p in MADE.predictions}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(MADE.ground_truth))
    return path


def evaluator_at(truth: Path, surface=SURFACE) -> DensePoseEvaluator:
    return DensePoseEvaluator(
        lambda instances, image_id: BY_ID[image_id], truth, surface, truth.parent / "output"
    )


def show(evaluator: DensePoseEvaluator, image_ids) -> None:
    inputs = [{"image_id": image_id} for image_id in image_ids]
    evaluator.process(inputs, [{"instances": AsInstances()} for _ in inputs])


def test_gives_the_numbers_of_the_function_and_writes_them(truth):
    evaluator = evaluator_at(truth, surface=lambda: SURFACE)
    evaluator.reset()
    show(evaluator, [1, 2, 3])
    show(evaluator, [4, 5, 6, 7])
    results = evaluator.evaluate()
    want = evaluate_densepose(truth, MADE.predictions, SURFACE)
    assert evaluator.result.to_json() == want.to_json()
    assert results["densepose_gpsm"]["AP"] == want.metrics["densepose_gpsm/AP"]
    assert results["densepose_points"]["auc30"] == want.metrics["auc30"]
    assert list(results) == [
        *("densepose_gps", "densepose_gpsm", "densepose_iou", "bbox", "segm", "densepose_points")
    ]
    written = json.loads((truth.parent / "output" / RESULT_FILE).read_text())
    assert written["tables"]["bbox"]["AP50"] == want.metrics["box/AP50"]
    assert len(list((truth.parent / "output" / PREDICTIONS_DIR).glob("*.npz"))) == 7


def test_detectron2_can_print_the_results(truth, caplog):
    evaluator = evaluator_at(truth)
    evaluator.reset()
    show(evaluator, BY_ID)
    with caplog.at_level(logging.INFO):
        print_csv_format(evaluator.evaluate())
    assert "copypaste: Task: densepose_gpsm" in caplog.text
    assert "copypaste: AP,AP50,AP75,APm,APl,AR,AR50,AR75,ARm,ARl" in caplog.text


def test_predictions_of_an_earlier_run_never_count(truth):
    earlier = evaluator_at(truth)
    earlier.reset()
    show(earlier, BY_ID)
    evaluator = evaluator_at(truth)
    evaluator.reset()
    show(evaluator, [1])
    evaluator.evaluate()
    assert evaluator.result.counts["detections"] == len(BY_ID[1])


def test_must_be_reset_first_and_keeps_off_folders_of_others(truth):
    with pytest.raises(RuntimeError, match=r"call reset\(\) before process"):
        show(evaluator_at(truth), [1])
    with pytest.raises(RuntimeError, match=r"call reset\(\) before evaluate"):
        evaluator_at(truth).evaluate()
    folder = truth.parent / "output" / PREDICTIONS_DIR
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="thesis.tex"):
        evaluator_at(truth).reset()


def test_files_that_vanished_are_noticed(truth):
    evaluator = evaluator_at(truth)
    evaluator.reset()
    show(evaluator, BY_ID)
    next((truth.parent / "output" / PREDICTIONS_DIR).glob("*.npz")).unlink()
    with pytest.raises(RuntimeError, match="1 of 7 predictions that were written are not there"):
        evaluator.evaluate()


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(truth):
    script = Path(__file__).with_name("two_evaluators.py")
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(script), str(truth.parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((truth.parent / f"rank{r}.json").read_text()) for r in (0, 1))
    want = evaluate_densepose(truth, MADE.predictions, SURFACE)
    assert second == {}
    assert first["densepose_points"] == pytest.approx(dict(want.points))
    assert first["densepose_gps"] == pytest.approx(want.tables["densepose_gps"], nan_ok=True)
