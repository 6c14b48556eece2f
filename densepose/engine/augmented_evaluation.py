"""Evaluation with several views of each test image (TEST.AUG), beside the plain one."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from torch import nn

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.data.flip_symmetry import load_symmetry, symmetry_from_config
from densepose.data.registration import smpl_dir
from densepose.modeling.test_time_augmentation import DensePoseGeneralizedRCNNWithTTA
from densepose.surface.symmetry import ChartSymmetry

from .evaluation import Results, evaluate

AUGMENTED_FOLDER = "inference_TTA"
SUFFIX = "_TTA"


def evaluate_augmented(cfg: CfgNode, model: nn.Module, *, iteration: int | None = None) -> Results:
    """As ``evaluate``, with TEST.AUG; writes to OUTPUT_DIR/inference_TTA.

    Returns:
        What ``evaluate`` returns.
    """
    return evaluate(
        cfg,
        model,
        iteration=iteration,
        folder=AUGMENTED_FOLDER,
        predictor=functools.partial(augmented, cfg, model),
    )


def augmented(cfg: CfgNode, model: nn.Module, name: str) -> nn.Module:
    """The model looking at each image of the data set ``name`` several times.

    Raises:
        ValueError: the model cannot be used so.
        FileNotFoundError: views are mirrored and the left-right map of the surface is missing.
    """
    return DensePoseGeneralizedRCNNWithTTA(cfg, model, _symmetry(cfg, name))


def merged_results(plain: Results, with_views: Results) -> Results:
    """Both in one, the tasks of the second with ``_TTA`` behind their names."""
    merged = dict(plain)
    for name, entry in with_views.items():
        # One data set: task -> metric -> value. Several: data set -> task -> metric -> value.
        if any(isinstance(value, dict) for value in entry.values()):
            merged[name] = merged_results(plain.get(name, {}), entry)
        else:
            merged[f"{name}{SUFFIX}"] = entry
    return merged


def augmentation_problems(cfg: CfgNode) -> Iterator[str]:
    """Why TEST.AUG will not work, one sentence each; nothing where it is off."""
    if not (cfg.TEST.AUG.ENABLED and cfg.DATASETS.TEST):
        return
    if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
        yield (
            "TEST.AUG.ENABLED needs MODEL.META_ARCHITECTURE 'GeneralizedRCNN', got"
            f" {cfg.MODEL.META_ARCHITECTURE!r}"
        )
    if cfg.MODEL.KEYPOINT_ON:
        yield "TEST.AUG.ENABLED cannot average keypoints; set it or MODEL.KEYPOINT_ON to False"
    if not cfg.TEST.AUG.MIN_SIZES:
        yield "TEST.AUG.MIN_SIZES is empty: give the shorter side of at least one view in px"
    for name in cfg.DATASETS.TEST:
        if name in DatasetCatalog:
            try:
                _symmetry(cfg, name)
            except (ValueError, OSError) as error:
                yield f"TEST.AUG.FLIP True: {error}; or set it False"


def _symmetry(cfg: CfgNode, name: str) -> ChartSymmetry | None:
    if not (cfg.TEST.AUG.FLIP and cfg.MODEL.DENSEPOSE_ON):
        return None
    surface = MetadataCatalog.get(name).get("surface")
    symmetry = load_symmetry(surface, smpl_dir(cfg)) if surface else symmetry_from_config(cfg)
    if symmetry is None:
        raise ValueError(f"neither {name!r} nor DATASETS.TRAIN is annotated on a body surface")
    return symmetry
