"""Run a model over the test sets and score it, plainly and with several views of each image."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, inference_on_dataset
from detectron2.structures import Instances
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage, has_event_storage

from densepose.config import has_given_boxes
from densepose.data.categories import evaluated_class, rules_from_config
from densepose.data.coco import OWNER
from densepose.data.registration import (
    annotation_file,
    detection_file,
    load_symmetry,
    smpl_dir,
    symmetry_from_config,
)
from densepose.errors import InputError
from densepose.evaluation.evaluator import DensePoseEvaluator
from densepose.files import to_json, write_text
from densepose.modeling.inference import instances_to_prediction
from densepose.modeling.test_time_augmentation import DensePoseGeneralizedRCNNWithTTA
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import load_evaluation_surface
from densepose.surface.symmetry import ChartSymmetry

from . import loaders
from .logs import terminal_without

logger = logging.getLogger(__name__)

FOLDER, AUGMENTED_FOLDER = "inference", "inference_TTA"
SUFFIX = "_TTA"
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
Results = dict[str, Any]  # [data set ->] task -> metric -> value; the name of a single set is left


def build_evaluator(cfg: CfgNode, name: str, folder: str | Path) -> DatasetEvaluator:
    """The evaluator of one data set: DensePose's, or COCO's without DensePose branch.

    Args:
        cfg: of the model.
        name: of a registered data set, by this package or by other code.
        folder: for results.
    """
    metadata = MetadataCatalog.get(name)
    is_ours = metadata.get("registered_by") == OWNER
    if not cfg.MODEL.DENSEPOSE_ON:
        return COCOEvaluator(
            _checked_set(name, folder) if is_ours else name, output_dir=str(folder)
        )
    scored = evaluated_class(name, rules_from_config(cfg))
    several = cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1
    # A set without points on a body has boxes and masks to score; no surface is asked.
    surface = metadata.get("surface") or "template"
    return DensePoseEvaluator(
        functools.partial(_prediction_of_class, scored.number if several else None),
        annotation_file(name, folder),
        functools.partial(_surface, surface, smpl_dir(cfg)),
        folder,
        min_threshold=cfg.DENSEPOSE_EVALUATION.MIN_IOU_THRESHOLD,
        category_id=scored.category_ids,
        protocol="single" if has_given_boxes(cfg) else "multi",
        save_predictions=cfg.DENSEPOSE_EVALUATION.STORAGE == "file",
        image_root=metadata.image_root if is_ours else None,
        on_bad=metadata.on_bad if is_ours else "warn",
    )


def _checked_set(name: str, folder: str | Path) -> str:
    """Name of a data set whose file has what pycocotools needs."""
    metadata = MetadataCatalog.get(name)
    if metadata.get("thing_dataset_id_to_contiguous_id") is None:
        DatasetCatalog.get(name)  # says which categories are read
    checked = f"{name} of {folder}"
    if checked in MetadataCatalog.list():
        MetadataCatalog.remove(checked)
    MetadataCatalog.get(checked).set(
        json_file=detection_file(name, folder),
        thing_classes=metadata.thing_classes,
        thing_dataset_id_to_contiguous_id=metadata.thing_dataset_id_to_contiguous_id,
    )
    return checked


def evaluate(
    cfg: CfgNode,
    model: nn.Module,
    *,
    build_evaluator: Callable[[CfgNode, str, str], Any] = build_evaluator,
    build_test_loader: Callable[[CfgNode, str], Any] = loaders.build_test_loader,
) -> Results:
    """Predict and score every data set of DATASETS.TEST.

    Each process predicts its shard of the images; the main process writes scores to
    OUTPUT_DIR/inference. With TEST.AUG.ENABLED all is done once more with several views of each
    image, into OUTPUT_DIR/inference_TTA. Before the end of a training (SOLVER.MAX_ITER) it is not,
    and the terminal shows one line of scores, the tables are in files only.

    Args:
        cfg: from ``setup``.
        model: set to evaluation for the time being.
        build_evaluator: (cfg, name of a data set, folder) -> one or several of detectron2's
            ``DatasetEvaluator``.
        build_test_loader: (cfg, name of a data set) -> this process's batches, with a length.

    Returns:
        task -> metric -> value, below the names of the data sets if there are several, the tasks
        with several views with ``_TTA`` behind their names; empty in all processes but the main
        one.
    """
    done = get_event_storage().iter + 1 if has_event_storage() else math.inf  # training steps
    brief = done <= cfg.SOLVER.MAX_ITER
    iteration = min(done, cfg.SOLVER.MAX_ITER) if has_event_storage() else None

    def run(folder: str, predictor: Callable[[str], nn.Module]) -> Results:
        place, results = Path(cfg.OUTPUT_DIR) / folder, {}
        for name in cfg.DATASETS.TEST:
            with terminal_without(*QUIET_WHEN_BRIEF) if brief else contextlib.nullcontext():
                evaluator = build_evaluator(cfg, name, str(place / name))
                loader = build_test_loader(cfg, name)
                scores = inference_on_dataset(predictor(name), loader, evaluator)
            if comm.is_main_process():
                results[name] = scores
                logger.info("%s: %s", name, brief_text(scores))
        if results:
            content = {"weights": cfg.MODEL.WEIGHTS, "iteration": iteration, "results": results}
            write_text(place / METRICS, to_json(content) + "\n")
            logger.info("Scores: %s", place / METRICS)
        return results

    results = run(FOLDER, lambda name: model)
    if cfg.TEST.AUG.ENABLED and not brief:
        augmented = run(AUGMENTED_FOLDER, functools.partial(_augmented, cfg, model))
        for name, scores in augmented.items():
            results[name] |= {f"{task}{SUFFIX}": row for task, row in scores.items()}
    return results[cfg.DATASETS.TEST[0]] if len(results) == 1 else results


def brief_text(scores: Mapping[str, Mapping[str, float]]) -> str:
    """The scores that are read first, in one line; of other evaluators the first of each task."""
    known = [
        f"{label} {scores[task][metric]:{form}}"
        for label, form, task, metric in BRIEF
        if metric in scores.get(task, {})
    ]
    first = ((task, *next(iter(row.items()))) for task, row in scores.items() if row)
    return ", ".join(known or (f"{task} {name} {value:.2f}" for task, name, value in first))


def _augmented(cfg: CfgNode, model: nn.Module, name: str) -> nn.Module:
    """The model predicting each image of a data set from several views."""
    return DensePoseGeneralizedRCNNWithTTA(cfg, model, view_symmetry(cfg, name))


def view_symmetry(cfg: CfgNode, name: str) -> ChartSymmetry | None:
    """Left-right map for flipped views of the images of a data set; None where none is flipped.

    Raises:
        InputError: its file is missing; no surface is known, or it has no left and right.
    """
    if not (cfg.TEST.AUG.FLIP and cfg.MODEL.DENSEPOSE_ON):
        return None
    surface = MetadataCatalog.get(name).get("surface")
    symmetry = load_symmetry(surface, smpl_dir(cfg)) if surface else symmetry_from_config(cfg)
    if symmetry is None:
        raise InputError(
            f"neither {name!r} nor DATASETS.TRAIN is annotated on a body surface; set TEST.AUG.FLIP"
            " to False"
        )
    return symmetry


def _prediction_of_class(
    number: int | None, instances: Instances, image_id: int
) -> ImagePrediction:
    """The detections of one class of several."""
    if number is not None and instances.has("pred_classes"):
        instances = instances[instances.pred_classes == number]
    return instances_to_prediction(instances, image_id)


# A run evaluates many times on the same surface.
_surface = functools.lru_cache(maxsize=1)(load_evaluation_surface)
