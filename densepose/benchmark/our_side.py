"""This package as a contestant: ``python -m densepose.benchmark.our_side [--plain]``."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from densepose.benchmark.both_sides import inputs, serving, steps


def prepare(case: dict[str, Any], *, plain: bool) -> serving.Run:
    """What ``run`` of a case means here; see ``cases.Case``."""
    if case["kind"] == "loading":
        return _loading(case)
    if case["kind"] == "evaluation":
        return _evaluation(case)
    if case["kind"] == "surface":
        from densepose.benchmark import surface_work

        return surface_work.prepare(case)
    if case["kind"] == "conversion":
        return _conversion(case["picture"], plain=plain)
    model = _model(case, plain=plain)
    pictures = [inputs.make_picture(seed, **case["picture"]) for seed in range(case["images"])]
    if case["kind"] == "inference":
        from densepose.modeling.inference import instances_to_prediction

        model.eval()
        return lambda: steps.infer(model, pictures[0], lambda f: instances_to_prediction(f, 1))
    model.train()
    optimizer = steps.build_optimizer(model)
    targets = [steps.training_target(picture, annotations_of(picture)) for picture in pictures]
    return lambda: steps.train_step(model, optimizer, pictures, targets, half=case["half"])


def _model(case: dict[str, Any], *, plain: bool) -> nn.Module:
    from safetensors.torch import load_file, save_file

    from detectron2.modeling import build_model

    from densepose.config import check_config, load_config
    from densepose.ops.accelerate import accelerate

    cfg = load_config(
        case["config"], ["MODEL.DEVICE", case["device"], "MODEL.WEIGHTS", "", *case["opts"]]
    )
    check_config(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    weights = Path(case["weights"])
    if weights.is_file():
        model.load_state_dict(load_file(weights), strict=True)
    else:  # the first contestant makes the weights of all
        steps.calm_frozen_norms(model)
        save_file({n: t.cpu().contiguous() for n, t in model.state_dict().items()}, weights)
    if not plain:  # on a GPU this changes nothing
        accelerate(model, for_inference=case["kind"] == "inference")
    return model


def annotations_of(picture: inputs.Picture) -> Any:
    """The picture's people in the form that this side trains on."""
    from densepose.structures.annotations import DensePoseAnnotations

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


def _conversion(picture: dict[str, Any], *, plain: bool) -> serving.Run:
    from densepose.modeling.inference import decode_person
    from densepose.ops import tile_threads
    from densepose.structures.chart_output import ChartOutput
    from densepose.structures.coordinates import quantize_uv

    if plain:
        tile_threads.ready = lambda: False  # this process serves the plain contestant alone
    charts = inputs.make_charts(0, **picture["charts"])
    output = ChartOutput(*(charts[name] for name in ("coarse", "part", "u", "v")), upscale=2)
    width, height = picture["box"]

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage("chart output to result"):
            for person in range(len(output)):
                quantize_uv(decode_person(output[person : person + 1], (height, width))[1])
        return clock.seconds

    return run


def _loading(case: dict[str, Any]) -> serving.Run:
    from densepose.config import load_config
    from densepose.data.coco import load_densepose_coco
    from densepose.data.mapper import DensePoseMapper
    from densepose.data.registration import register_from_config

    folder = Path(case["folder"])
    annotations, images = folder / "truth.json", folder / "images"
    register = {"NAME": "benchmark", "ANNOTATIONS": str(annotations), "IMAGES": str(images)}
    cfg = load_config(
        case["config"],
        [
            *("DATASETS.REGISTER", repr([{**register, "SURFACE": "template"}])),
            *("DATASETS.TRAIN", "('benchmark',)"),
        ],
    )
    register_from_config(cfg)
    records = load_densepose_coco(annotations, images, "benchmark")
    mapper = DensePoseMapper(cfg, is_train=True)
    return lambda: _timed_loading(mapper, records)


def _timed_loading(mapper: Any, records: list[dict[str, Any]]) -> dict[str, float]:
    clock = steps.StageClock()
    with clock.stage("read, augment and map all images"):
        for record in records:
            mapper(record)
    return clock.seconds


def _evaluation(case: dict[str, Any]) -> serving.Run:
    from densepose.evaluation.evaluate import evaluate_densepose
    from densepose.evaluation.predictions import read_predictions
    from densepose.surface.official.surface import load_official_surface

    folder = Path(case["folder"])
    truth, predictions = folder / "truth.json", folder / "predictions"
    if "in memory" in case["opts"]:
        truth, predictions = json.loads(truth.read_text()), list(read_predictions(predictions))

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage("load the surface"):
            surface = load_official_surface(case["official"], num_vertices=case["num_vertices"])
        with clock.stage("score GPS, GPSm and IoU"):
            evaluate_densepose(truth, predictions, surface, detection_scores=False)
        return clock.seconds

    return run


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("densepose").addHandler(logging.NullHandler())
    serving.serve(lambda case: prepare(case, plain="--plain" in sys.argv[1:]))
