"""Run a model over the test sets and score it."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, inference_context
from detectron2.structures import Instances
from detectron2.utils import comm

from densepose.config import has_given_boxes
from densepose.data.category_maps import rules_from_config
from densepose.data.evaluated_class import evaluated_class
from densepose.data.registration import smpl_dir
from densepose.evaluation.evaluator import DensePoseEvaluator
from densepose.modeling.inference import instances_to_prediction
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import load_evaluation_surface

from .checkpoint import write_text
from .loaders import build_test_loader
from .logs import terminal_without
from .progress import duration_text, track

logger = logging.getLogger(__name__)

# The other processes wait while the main one scores the predictions of a large set.
PATIENCE = timedelta(days=2)
METRICS = "metrics.json"
QUIET_WHEN_BRIEF = ("densepose.evaluation", "densepose.data")
BRIEF = (
    ("GPSm AP", ".2f", "densepose_gpsm", "AP"),
    ("GPS AP", ".2f", "densepose_gps", "AP"),
    ("mean GPS", ".3f", "densepose_points", "mean_gps"),
    ("AUC30", ".3f", "densepose_points", "auc30"),
    ("right part", ".3f", "densepose_points", "part_accuracy"),
    ("box AP", ".2f", "bbox", "AP"),
    ("mask AP", ".2f", "mask_branch", "AP"),
    ("keypoint AP", ".2f", "keypoints", "AP"),
)
Results = dict[str, Any]  # [data set ->] task -> metric -> value; one data set stands by itself


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    *,
    iteration: int | None = None,
    brief: bool = False,
    folder: str = "inference",
    predictor: Callable[[str], nn.Module] | None = None,
) -> Results:
    """Predict and score every data set of DATASETS.TEST.

    Each process predicts its share of the images and writes them to OUTPUT_DIR/<folder>/<data
    set>; the main process scores them and writes OUTPUT_DIR/<folder>/metrics.json.

    Args:
        cfg: from ``setup``.
        model: set to evaluation for the time being.
        iteration: training steps done, noted in the file; None outside of training.
        brief: one line of scores on the terminal, the tables in files only.
        folder: below OUTPUT_DIR.
        predictor: gives what predicts a data set of this name; the model itself when left out.

    Returns:
        task -> metric -> value, below the names of the data sets if there are several; empty in
        all processes but the main one.
    """
    place = Path(cfg.OUTPUT_DIR) / folder
    results = {}
    for name in cfg.DATASETS.TEST:
        chosen = model if predictor is None else predictor(name)
        with terminal_without(*QUIET_WHEN_BRIEF) if brief else contextlib.nullcontext():
            scores = _evaluate_one(cfg, chosen, name, place / name)
        if comm.is_main_process():
            results[name] = scores
            logger.info("%s: %s", name, brief_text(scores))
    if results:
        _write(place / METRICS, results, cfg, iteration)
        logger.info("Scores: %s", place / METRICS)
    return results[cfg.DATASETS.TEST[0]] if len(results) == 1 else results


def _evaluate_one(cfg: CfgNode, model: nn.Module, name: str, folder: Path) -> Mapping[str, Any]:
    start = time.perf_counter()
    evaluator = build_evaluator(cfg, name, folder)
    predict(model, build_test_loader(cfg, name), evaluator, label=f"evaluate {name}")
    predicted = time.perf_counter()
    scores = evaluator.evaluate()
    wait_for_main_process()
    logger.info(
        "Evaluated %s in %s, scoring %s of it",
        name,
        duration_text(time.perf_counter() - start),
        duration_text(time.perf_counter() - predicted),
    )
    return scores


def brief_text(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The scores that are looked at first, in one line."""
    return ", ".join(
        f"{label} {scores[task][metric]:{form}}"
        for label, form, task, metric in BRIEF
        if metric in scores.get(task, {})
    )


def build_evaluator(cfg: CfgNode, name: str, folder: Path) -> DatasetEvaluator:
    """The evaluator of one data set, streaming predictions to ``folder``."""
    metadata = MetadataCatalog.get(name)
    scored = evaluated_class(name, rules_from_config(cfg))
    several = cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1
    # A set without points on a body has boxes and masks to score; no surface is looked at.
    surface = metadata.surface or "template"
    return DensePoseEvaluator(
        functools.partial(_prediction_of_class, scored.number if several else None),
        metadata.json_file,
        functools.partial(_surface, surface, smpl_dir(cfg)),
        folder,
        min_threshold=cfg.DENSEPOSE_EVALUATION.MIN_IOU_THRESHOLD,
        category_id=scored.category_ids,
        protocol="single" if has_given_boxes(cfg) else "multi",
    )


def _prediction_of_class(
    number: int | None, instances: Instances, image_id: int
) -> ImagePrediction:
    """The detections of one class of several."""
    if number is not None and instances.has("pred_classes"):
        instances = instances[instances.pred_classes == number]
    return instances_to_prediction(instances, image_id)


# A run evaluates many times on the same surface.
_surface = functools.lru_cache(maxsize=1)(load_evaluation_surface)


def predict(
    model: nn.Module, loader: Iterable[Any], evaluator: DatasetEvaluator, *, label: str
) -> None:
    """Run the model over this process's share of the images and hand its outputs on one by one."""
    evaluator.reset()
    with inference_context(model), torch.no_grad():
        for batch in track(loader, total=len(loader), label=label):
            evaluator.process(batch, model(batch))


def wait_for_main_process() -> None:
    """Let all processes go on together, however long the main one takes.

    Scoring a large set may take longer than the time after which a collective call counts as hung.
    """
    if comm.get_world_size() > 1:
        distributed.barrier(group=_patient_group())


@functools.lru_cache(maxsize=1)
def _patient_group() -> distributed.ProcessGroup:
    return distributed.new_group(backend="gloo", timeout=PATIENCE)


def _write(path: Path, results: Mapping[str, Any], cfg: CfgNode, iteration: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"weights": cfg.MODEL.WEIGHTS, "iteration": iteration, "results": _plain(results)}
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Nested results with NaN as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return value if math.isfinite(value) else None
