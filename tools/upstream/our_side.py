"""This package's side: everything that touches its interfaces, and nothing of the checkout's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
from densepose.data.coco import training_records
from densepose.data.registration import register_from_config
from densepose.engine.checkpoint import SafeCheckpointer
from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.predictions import PredictionWriter
from densepose.modeling.body_pixels import body_pixels
from densepose.modeling.inference import instances_to_prediction
from densepose.modeling.test_time_augmentation import DensePoseGeneralizedRCNNWithTTA
from densepose.ops.accelerate import accelerate
from densepose.structures.body_parts import flipped_coarse, flipped_parts
from densepose.structures.chart_output import MAP_FIELDS, ChartOutput
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface
from densepose.surface.official.export import write_official_files
from densepose.surface.official.surface import load_official_surface
from densepose.surface.symmetry import ChartSymmetry

from . import bootstrap, inputs, process, steps
from .evaluator import TABLES, metric_names, write_set
from .generated import generated_set, generated_surface
from .inputs import Case
from .our_speed import annotations_of


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


def model_results(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Maps, decoded people, losses and gradients; the model is trained and in float64 afterwards.

    Returns:
        map/NAME, iuv/PERSON (3, h, w) uint8, loss/NAME and gradient/NAME.
    """
    maps = maps_of(steps.predict(model, inputs.make_picture(seed, **steps.PICTURE)))
    return maps | steps.train(model, seed, annotations_of)


def accelerated_maps(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Maps and decoded people after ``accelerate``."""
    accelerate(model)
    return maps_of(steps.predict(model, inputs.make_picture(seed, **steps.PICTURE)))


def views(case: Case, table: Tensor) -> dict[str, Tensor]:
    """Boxes, maps and decoded people of TEST.AUG with a left-right map in form of a table."""
    symmetry = ChartSymmetry(flipped_parts(), flipped_coarse(), np.ones((25, 2)), table.numpy())
    model = seeded_model(case)
    augmented = DensePoseGeneralizedRCNNWithTTA(config_of(case), model, symmetry).eval()
    picture = inputs.make_picture(case.seed, **steps.PICTURE)
    with torch.no_grad():
        (found,) = augmented([{"image": picture.image.to(torch.uint8)}])
    found = found["instances"]
    return {"boxes": found.pred_boxes.tensor, **maps_of(found)}


def write_checkpoint(model: nn.Module, path: Path) -> None:
    """Write the weights as training does."""
    SafeCheckpointer(model, path.parent).save(path.stem)


def config_values(case: Case) -> dict[str, Any]:
    """Dotted name -> value of every key of a config, as text."""
    return {name: repr(value) for name, value in _leaves(config_of(case))}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


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


def make_set(
    folder: str, official: str, *, kind: str, images: int, seed: int, vertices_per_part: int
) -> None:
    """Write a generated set, in the form of both sides, and the official files of a surface."""
    if not Path(official).is_dir():
        write_official_surface(Path(official), generated_surface(seed, vertices_per_part))
    made = generated_set(kind, seed, images)
    write_set(Path(folder), made.ground_truth, made.predictions)
    writer = PredictionWriter(Path(folder) / "predictions")
    for prediction in made.predictions:
        writer.write(prediction)


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
    (folder / "num_vertices.txt").write_text(str(distances.num_vertices))


def score_set(folder: str, official: str) -> dict[str, dict[str, float | None]]:
    """``evaluation_tables`` of a set that ``make_set`` has written."""
    num_vertices = int((Path(official) / "num_vertices.txt").read_text())
    surface = load_official_surface(official, num_vertices=num_vertices)
    return evaluation_tables(Path(folder) / "truth.json", Path(folder) / "predictions", surface)


def evaluation_tables(
    truth: dict[str, Any] | Path,
    predictions: Sequence[ImagePrediction] | Path,
    surface: EvaluationSurface,
) -> dict[str, dict[str, float | None]]:
    """The tables of ``evaluator.TABLES``, in percent; None where there is no instance."""
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
            best_fraction=None if rank is None else 0.5,
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


if __name__ == "__main__":
    process.serve({function.__name__: function for function in (make_set, score_set)})
