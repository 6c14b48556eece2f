"""detectron2's DensePose as a contestant; run as a file, with its ``densepose`` on the path.

Imports nothing of this package but ``both_sides``, which lies beside this file.
"""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from both_sides import inputs, serving, steps
from torch import nn

# Only this folder's both_sides is wanted from here, no other name.
sys.path.remove(str(Path(__file__).resolve().parent))
# Upstream's import of its video data sets just has to succeed; none is used.
sys.modules.setdefault("av", MagicMock())

MODES = ("GPS", "GPSM", "IOU")


def prepare(case: dict[str, Any]) -> serving.Run:
    """What ``run`` of a case means for upstream; see ``cases.Case``."""
    if case["kind"] == "loading":
        return _loading(case)
    if case["kind"] == "evaluation":
        return _evaluation(case)
    if case["kind"] == "surface":
        return _put_texture(case)
    if case["kind"] == "conversion":
        return _conversion(case["picture"])
    model = _model(case)
    pictures = [inputs.make_picture(seed, **case["picture"]) for seed in range(case["images"])]
    if case["kind"] == "inference":
        model.eval()
        return lambda: steps.infer(model, pictures[0], _convert)
    model.train()
    optimizer = steps.build_optimizer(model)
    targets = [steps.training_target(picture, annotations_of(picture)) for picture in pictures]
    return lambda: steps.train_step(model, optimizer, pictures, targets, half=case["half"])


def config_of(case: dict[str, Any]) -> Any:
    """The checkout's config with ``upstream_config`` and ``opts`` of a case."""
    from detectron2.config import get_cfg

    from densepose import add_densepose_config

    cfg = get_cfg()
    add_densepose_config(cfg)
    cfg.merge_from_file(case["upstream_config"])
    cfg.merge_from_list(["MODEL.DEVICE", case["device"], "MODEL.WEIGHTS", "", *case["opts"]])
    return cfg


def _model(case: dict[str, Any]) -> nn.Module:
    from safetensors.torch import load_file

    from detectron2.modeling import build_model

    model = build_model(config_of(case))
    model.load_state_dict(load_file(case["weights"]), strict=True)
    return model


def _convert(found: Any) -> list[Any]:
    from densepose.converters import ToChartResultConverter
    from densepose.structures.chart_result import quantize_densepose_chart_result

    output, boxes = found.pred_densepose, found.pred_boxes
    results = [ToChartResultConverter.convert(output[[k]], boxes[k]) for k in range(len(boxes))]
    return [quantize_densepose_chart_result(result) for result in results]


def _conversion(picture: dict[str, Any]) -> serving.Run:
    from detectron2.structures import Boxes, Instances

    from densepose.structures import DensePoseChartPredictorOutput

    charts = inputs.make_charts(0, **picture["charts"])
    # Its predictor up-samples before the conversion, ours leaves it to the conversion.
    full = {
        name: nn.functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
        for name, maps in charts.items()
    }
    output = DensePoseChartPredictorOutput(full["coarse"], full["part"], full["u"], full["v"])
    width, height = picture["box"]
    boxes = Boxes(torch.tensor([[0.0, 0.0, width, height]]).expand(len(full["u"]), 4))
    found = Instances((height, width), pred_densepose=output, pred_boxes=boxes)

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage("chart output to result"):
            _convert(found)
        return clock.seconds

    return run


def annotations_of(picture: inputs.Picture) -> Any:
    """The picture's people in the form that this side trains on."""
    from detectron2.structures import Boxes

    from densepose.structures import DensePoseDataRelative, DensePoseList

    people = [
        DensePoseDataRelative(
            {
                "dp_x": picture.points[k, :, 0],
                "dp_y": picture.points[k, :, 1],
                "dp_I": picture.part[k].float(),
                "dp_U": picture.uv[k, :, 0],
                "dp_V": picture.uv[k, :, 1],
                "dp_masks": picture.coarse[k].float(),
            }
        )
        for k in range(len(picture.boxes))
    ]
    return DensePoseList(people, Boxes(picture.boxes), tuple(picture.image.shape[1:]))


def _put_texture(case: dict[str, Any]) -> serving.Run:
    from densepose.vis.densepose_results_textures import DensePoseResultsVisualizerWithTexture

    with np.load(Path(case["folder"]) / "scene.npz", allow_pickle=False) as file:
        image, iuv, picture = file["image"], file["iuv"], file["texture"]
    visualizer = DensePoseResultsVisualizerWithTexture(picture)
    part_and_uv = iuv.transpose(2, 0, 1) / np.array([1, 255, 255], np.float32)[:, None, None]
    part_and_uv = part_and_uv.astype(np.float32)
    (work,) = case["opts"]

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage(work):
            texture, alpha = visualizer.get_texture()
            visualizer.generate_image_with_texture(texture, alpha, image, part_and_uv)
        return clock.seconds

    return run


def _loading(case: dict[str, Any]) -> serving.Run:
    from detectron2.data import MetadataCatalog

    from densepose.data import DatasetMapper
    from densepose.data.datasets.coco import load_coco_json

    folder = Path(case["folder"])
    cfg = config_of(case)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("benchmark",), ()
    MetadataCatalog.get("benchmark").densepose_transform_src = str(folder / "symmetry.mat")
    records = load_coco_json(str(folder / "truth.json"), str(folder / "images"), "benchmark")
    mapper = DatasetMapper(cfg, True)

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage("read, augment and map all images"):
            for record in records:
                mapper(record)
        return clock.seconds

    return run


def _evaluation(case: dict[str, Any]) -> serving.Run:
    from pycocotools.coco import COCO

    from densepose.evaluation import densepose_coco_evaluation as upstream

    folder = Path(case["folder"])

    def local_path(url: str, **_: object) -> str:
        return str(Path(case["official"]) / url.rsplit("/", 1)[-1])

    # The class downloads its files, with an option that newer iopath rejects.
    upstream.PathManager = types.SimpleNamespace(get_local_path=local_path)
    truth = COCO(str(folder / "truth.json"))
    files = sorted((folder / "predictions").glob("*.npz"))
    found = truth.loadRes([result for path in files for result in _results(path)])

    def run() -> dict[str, float]:
        clock = steps.StageClock()
        for mode in MODES:
            with clock.stage("load the surface"):
                evaluator = upstream.DensePoseCocoEval(
                    truth, found, "densepose", dpEvalMode=getattr(upstream.DensePoseEvalMode, mode)
                )
            with clock.stage("score GPS, GPSm and IoU"):
                evaluator.evaluate()
                evaluator.accumulate()
                evaluator.summarize()
        return clock.seconds

    return run


def _results(path: Path) -> list[dict[str, Any]]:
    """What upstream's evaluator is given for one image's predictions."""
    with np.load(path) as file:
        arrays = dict(file)
    results, start = [], 0
    corners = arrays["boxes_xyxy_px"]
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    for box, score, (height, width) in zip(
        boxes.tolist(), arrays["scores"].tolist(), arrays["map_sizes"].tolist(), strict=True
    ):
        stop = start + height * width
        labels = arrays["labels"][start:stop].reshape(1, height, width)
        uv = arrays["uv"][2 * start : 2 * stop].reshape(2, height, width)
        start = stop
        maps = torch.as_tensor(np.concatenate([labels, uv]))
        result = {"image_id": int(arrays["image_id"]), "category_id": 1, "segmentation": []}
        densepose = types.SimpleNamespace(labels_uv_uint8=maps)
        results.append({**result, "bbox": box, "score": score, "densepose": densepose})
    return results


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serving.serve(prepare)
