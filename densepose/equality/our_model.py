"""This package's side of the comparison, and its model with views and CPU operators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances

from densepose.benchmark.both_sides.inputs import make_picture
from densepose.benchmark.our_side import annotations_of
from densepose.config import check_config, load_config
from densepose.engine.checkpoint import save_checkpoint
from densepose.modeling.inference import instances_to_prediction
from densepose.modeling.test_time_augmentation import DensePoseGeneralizedRCNNWithTTA
from densepose.ops.accelerate import accelerate
from densepose.structures.body_parts import flipped_coarse, flipped_parts
from densepose.surface.symmetry import ChartSymmetry

from . import same_batch


def load_checked(path: str | Path, opts: Sequence[str]) -> CfgNode:
    """A config on CPU without weights, refused where it contradicts itself."""
    cfg = load_config(str(path), ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *opts])
    check_config(cfg)
    return cfg


def strict_model(cfg: CfgNode, weights: Path) -> nn.Module:
    """The model of a config with all weights of a file, no more and no fewer."""
    model = build_model(cfg)
    model.load_state_dict(load_file(weights), strict=True)
    return model


def our_results(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """As the checkout's side leaves them; the model is trained and in float64 afterwards."""
    results = _maps(same_batch.predict(model, make_picture(seed, **same_batch.PICTURE)))
    with same_batch.in_float64(model):
        batch = same_batch.training_batch(seed, make_picture)
        targets = [same_batch.target_of(picture, annotations_of(picture)) for picture in batch]
        return results | same_batch.train(model, batch, targets)


def accelerated_maps(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """The maps alone, after ``accelerate``."""
    accelerate(model)
    found = _maps(same_batch.predict(model, make_picture(seed, **same_batch.PICTURE)))
    return {name: value for name, value in found.items() if name.startswith("map/")}


def with_views(cfg: CfgNode, model: nn.Module, table: Tensor, seed: int) -> dict[str, Tensor]:
    """Boxes, scores and maps of TEST.AUG with a left-right map in form of a table."""
    symmetry = ChartSymmetry(flipped_parts(), flipped_coarse(), np.ones((25, 2)), table.numpy())
    looking = DensePoseGeneralizedRCNNWithTTA(cfg, model, symmetry).eval()
    picture = make_picture(seed, **same_batch.PICTURE)
    with torch.no_grad():
        (found,) = looking([{"image": picture.image.to(torch.uint8)}])
    found = found["instances"]
    return {"boxes": found.pred_boxes.tensor, "scores": found.scores, **_maps(found)}


def write_checkpoint(model: nn.Module, cfg: CfgNode, path: Path) -> None:
    """The weights in a checkpoint as training writes them."""
    save_checkpoint(path, {"model": model.state_dict(), "iteration": 0, "config": cfg.dump()})


def _maps(found: Instances) -> dict[str, Tensor]:
    full = found.pred_densepose.upsampled()
    results: dict[str, Any] = {f"map/{name}": getattr(full, name) for name in same_batch.MAPS}
    results = {name: value for name, value in results.items() if value is not None}
    if found.has("pred_masks"):
        results["map/masks"] = found.pred_masks
    prediction = instances_to_prediction(found, 0)
    for person, (labels, uv) in enumerate(zip(prediction.labels, prediction.uv, strict=True)):
        results[f"iuv/{person}"] = torch.from_numpy(np.concatenate([labels[None], uv]))
    return results
