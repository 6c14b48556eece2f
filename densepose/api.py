"""What ``import densepose`` offers: the functions that the commands call.

    model = densepose.load()                         # or "R_50_FPN_s1x", "model_final.pth"
    people = model("photo.jpg")
    result = densepose.evaluate("val.json", "output/inference/my_val")
    densepose.train("mine.yaml", {"SOLVER.MAX_ITER": 1000})

Torch and detectron2 are imported by the functions that need them, not by this module.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from densepose.prediction.model import Model, as_pairs, load
from densepose.prediction.people import People, Person, read_predictions

if TYPE_CHECKING:
    from densepose.evaluation.evaluate import Predictions
    from densepose.evaluation.result import EvaluationResult

__all__ = ["Model", "People", "Person", "evaluate", "load", "read_predictions", "train"]


def evaluate(
    annotations: str | os.PathLike[str],
    predictions: Predictions,
    *,
    surface: str = "template",
    surface_dir: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, images: None,
    **rules: Any,
) -> EvaluationResult:
    """Score predictions against annotations: GPS, GPSm, mask and box AP. Needs no torch.

    Args:
        annotations: JSON file in the format of DensePose-COCO.
        predictions: folder of prediction files, result file of the COCO challenge, a dump of
            detectron2's project (.pkl, .pth), or the people that a model has found.
        surface: ``template``, ``smpl_27554`` (``smpl_V``: such files of a mesh of V vertices), or a
            file of ``densepose build-surface``.
        surface_dir: folder of the official evaluation files.
        on_progress: is called with how many more images are scored, and how many there are.
        **rules: fields of ``densepose.evaluation.evaluate.ScoringRules``.

    Raises:
        InputError: a file is missing or damaged, or files do not fit together.
        TypeError: no such rule.
    """
    from densepose.evaluation.evaluate import evaluate_densepose
    from densepose.surface import evaluation_surface

    used = evaluation_surface.load_evaluation_surface(surface, surface_dir)
    return evaluate_densepose(annotations, predictions, used, on_progress=on_progress, **rules)


def train(
    config_file: str | os.PathLike[str],
    options: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    auto_scale_lr: bool = False,
) -> dict[str, Any]:
    """Train a model in this process and evaluate it; ``densepose train`` can start several.

    Args:
        config_file: file, or name of a shipped config.
        options: config keys that replace those of the config, ``{"SOLVER.MAX_ITER": 1000}``.
        resume: continue from the last valid checkpoint in OUTPUT_DIR.
        auto_scale_lr: scale learning rate and iterations from SOLVER.REFERENCE_BATCH_SIZE to
            SOLVER.IMS_PER_BATCH.

    Returns:
        task -> metric -> value of the evaluation; empty without DATASETS.TEST. The weights are in
        OUTPUT_DIR.

    Raises:
        InputError: a file is missing; no such key; the config contradicts itself, or data and
            weights do not fit it.
    """
    from densepose.engine.logs import quiet_libraries, remove_handlers

    quiet_libraries()
    from densepose.engine import main

    try:
        return main(
            Namespace(
                config_file=os.fspath(config_file),
                opts=as_pairs(options or {}),
                eval_only=False,
                resume=resume,
                auto_scale_lr=auto_scale_lr,
            )
        )
    finally:
        remove_handlers()
