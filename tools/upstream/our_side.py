"""This package's side: everything that touches its interfaces, and nothing of the checkout's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances

from densepose.config import check_config, find_config, get_densepose_cfg, load_config
from densepose.data.bootstrap.point_sampling import sample_points
from densepose.data.bootstrap.pseudo_labels import pseudo_truth
from densepose.data.registration import register_from_config
from densepose.data.training_records import training_records
from densepose.evaluation.evaluate import evaluate_densepose
from densepose.modeling.body_pixels import body_pixels
from densepose.modeling.inference import instances_to_prediction
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import MAP_FIELDS, ChartOutput
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface
from densepose.surface.official.export import write_official_files
from densepose.surface.official.surface import load_official_surface

from . import bootstrap, inputs, steps
from .evaluator import TABLES, metric_names
from .inputs import Case, Picture


def config_of(case: Case) -> CfgNode:
    """The config of a case, refused where it contradicts itself."""
    opts = ["MODEL.DEVICE", case.device, "MODEL.WEIGHTS", "", *case.opts]
    cfg = load_config(find_config(case.config), opts)
    check_config(cfg)
    return cfg


def seeded_model(case: Case) -> nn.Module:
    """The model of a case with seeded weights."""
    model = build_model(config_of(case))
    inputs.fill_with_seeded(model, case.seed)
    return model


def annotations_of(picture: Picture) -> DensePoseAnnotations:
    """The picture's people in the form that this side trains on."""
    people = len(picture.boxes)
    return DensePoseAnnotations(
        boxes_xyxy_px=picture.boxes,
        coarse=picture.coarse.to(torch.uint8),
        has_masks=torch.ones(people, dtype=torch.bool),
        points_grid=picture.points.flatten(0, 1),
        part=picture.part.flatten(),
        uv=picture.uv.flatten(0, 1),
        owner=torch.arange(people).repeat_interleave(picture.points.shape[1]),
    )


def model_results(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Maps, decoded people, losses and gradients; the model is trained and in float64 afterwards.

    Returns:
        map/NAME, iuv/PERSON (3, h, w) uint8, loss/NAME and gradient/NAME.
    """
    maps = maps_of(steps.predict(model, inputs.make_picture(seed, **steps.PICTURE)))
    return maps | steps.train(model, seed, annotations_of)


def maps_of(found: Instances) -> dict[str, Tensor]:
    """map/NAME of the full maps and iuv/PERSON of the decoded people."""
    full = found.pred_densepose.upsampled()
    results: dict[str, Any] = {f"map/{name}": getattr(full, name) for name in MAP_FIELDS}
    results = {name: value for name, value in results.items() if value is not None}
    if found.has("pred_masks"):
        results["map/masks"] = found.pred_masks
    prediction = instances_to_prediction(found, 0)
    for person, (labels, uv) in enumerate(zip(prediction.labels, prediction.uv, strict=True)):
        results[f"iuv/{person}"] = torch.from_numpy(np.concatenate([labels[None], uv]))
    return results


def write_official_surface(folder: Path, surface: EvaluationSurface) -> None:
    """Write a surface as the official files, and convert them: that happens once in their life."""
    charts, distances = surface.charts, surface.distances
    write_official_files(
        folder,
        uv=charts.uv,
        part=charts.part,
        mesh_vertex=charts.mesh_vertex,
        distances_m=distances.triangle,
    )
    load_official_surface(folder, num_vertices=distances.num_vertices)


def evaluation_tables(
    truth: dict[str, Any] | Path,
    predictions: Sequence[ImagePrediction] | Path,
    surface: EvaluationSurface,
) -> dict[str, dict[str, float | None]]:
    """The tables of ``evaluator.TABLES``, in percent; None where there is nobody to find."""
    results = {
        key: evaluate_densepose(
            truth,
            predictions,
            surface,
            oracle=key[0],
            min_threshold=key[1],
            detection_scores=False,
        )
        for key in {(table.oracle, table.minimum) for table in TABLES.values()}
    }
    found = {}
    for name, table in TABLES.items():
        values = results[table.oracle, table.minimum].tables[f"densepose_{table.mode.lower()}"]
        numbers = {metric: values[metric] for metric in metric_names(table.minimum)}
        found[name] = {k: None if math.isnan(value) else value for k, value in numbers.items()}
    return found


def bootstrap_samples(folder: Path, seed: int) -> dict[str, Any]:
    """What ``bootstrap.collect`` keeps, on the annotation files of a folder."""
    maps, boxes = bootstrap.make_maps(seed), torch.tensor(bootstrap.BOXES)
    output = ChartOutput(
        coarse_logits=maps["coarse_segm"],
        part_logits=maps["fine_segm"],
        u=maps["u"],
        v=maps["v"],
        log_variance=maps["sigma_2"],
        part_confidence=maps["fine_segm_confidence"],
        coarse_confidence=maps["coarse_segm_confidence"],
    )
    pixels = {name: body_pixels(output, boxes, name) for name in bootstrap.SAMPLERS.values()}

    def labels(rank: str | None, chosen: Tensor, *, use_masks: bool = False) -> Instances:
        scores = torch.zeros(len(boxes))
        return pseudo_truth(pixels[rank], chosen, scores, bootstrap.IMAGE_SIZE, use_masks=use_masks)

    def draw(sampler: str, per_part: int, draw_seed: int) -> list[bootstrap.Points]:
        rank = bootstrap.SAMPLERS[sampler]
        chosen = sample_points(
            pixels[rank],
            per_part,
            best_share=None if rank is None else 0.5,
            generator=torch.Generator().manual_seed(draw_seed),
        )
        people = labels(rank, chosen).gt_densepose
        table = {"i": people.part, "x": people.points_grid[:, 0], "y": people.points_grid[:, 1]}
        table |= {"u": people.uv[:, 0], "v": people.uv[:, 1]}
        owners = [people.owner == person for person in range(len(boxes))]
        return [bootstrap.points_of({k: v[own] for k, v in table.items()}) for own in owners]

    truth = labels(None, torch.zeros(0, dtype=torch.int64), use_masks=True)
    masks = {"part masks": truth.gt_densepose.coarse, "instance masks": truth.gt_masks.tensor}
    cfg = get_densepose_cfg()
    bootstrap.set_rules(cfg)
    cfg.DATASETS.REGISTER = [
        {
            "NAME": name,
            "ANNOTATIONS": str(folder / f"{name}.json"),
            "IMAGES": str(folder),
            "SURFACE": "template",
        }
        for name in cfg.DATASETS.TRAIN
    ]
    register_from_config(cfg)
    return bootstrap.collect(draw, masks, training_records(cfg))
