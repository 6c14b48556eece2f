"""The checkout's side: everything that touches detectron2's DensePose, and nothing of this package.

Runs in a process whose ``densepose`` is the checkout's.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from pycocotools.coco import COCO
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

# Its import of video data sets has to succeed; none is used.
sys.modules.setdefault("av", MagicMock())

import densepose  # noqa: E402
from densepose import add_densepose_config, structures  # noqa: E402
from densepose.converters import ToChartResultConverter  # noqa: E402
from densepose.data import build as data_build  # noqa: E402
from densepose.data.datasets.coco import CocoDatasetInfo, register_dataset  # noqa: E402
from densepose.evaluation import densepose_coco_evaluation as evaluation  # noqa: E402
from densepose.modeling.densepose_checkpoint import DensePoseCheckpointer  # noqa: E402
from densepose.structures.chart_result import quantize_densepose_chart_result  # noqa: E402

from . import bootstrap, inputs, process, steps  # noqa: E402
from .inputs import Case, Picture  # noqa: E402

CONFIGS = Path(densepose.__file__).resolve().parents[1] / "configs"
# Names of maps on this package's side: on this one.
MAPS = {
    "coarse_logits": "coarse_segm",
    "part_logits": "fine_segm",
    "u": "u",
    "v": "v",
    "log_variance": "sigma_2",
    "residual_u": "kappa_u",
    "residual_v": "kappa_v",
    "part_confidence": "fine_segm_confidence",
    "coarse_confidence": "coarse_segm_confidence",
}


def config_of(case: Case) -> CfgNode:
    """The config of a case."""
    cfg = get_cfg()
    add_densepose_config(cfg)
    cfg.merge_from_file(str(CONFIGS / f"{case.config.removesuffix('.yaml')}.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", case.device, "MODEL.WEIGHTS", "", *case.opts])
    return cfg


def seeded_model(case: Case) -> nn.Module:
    """The model of a case with seeded weights."""
    model = build_model(config_of(case))
    inputs.fill_with_seeded(model, case.seed)
    return model


def annotations_of(picture: Picture) -> structures.DensePoseList:
    """The picture's people in the form that this side trains on."""
    people = [
        structures.DensePoseDataRelative(
            {
                "dp_x": picture.points[k, :, 0],
                "dp_y": picture.points[k, :, 1],
                "dp_I": picture.part[k].to(picture.uv.dtype),
                "dp_U": picture.uv[k, :, 0],
                "dp_V": picture.uv[k, :, 1],
                "dp_masks": picture.coarse[k].float(),
            }
        )
        for k in range(len(picture.boxes))
    ]
    return structures.DensePoseList(people, Boxes(picture.boxes), tuple(picture.image.shape[1:]))


def model_text(case: dict[str, Any]) -> str:
    """All that model and losses depend on: configs with equal texts have the same model."""
    cfg = config_of(Case(**case))
    cfg.MODEL.WEIGHTS = ""
    return cfg.MODEL.dump() + repr(cfg.INPUT.FORMAT)


def state_shapes(case: dict[str, Any]) -> dict[str, list[int]]:
    """Name -> shape of everything in the state of a model."""
    state = build_model(config_of(Case(**case))).state_dict()
    return {name: list(tensor.shape) for name, tensor in state.items()}


def model_results(case: dict[str, Any], file: str) -> None:
    """Write maps, decoded people, losses and gradients, as ``our_side.model_results`` has them."""
    whole = Case(**case)
    model = seeded_model(whole)
    picture = inputs.make_picture(whole.seed, **steps.PICTURE)
    results = maps_of(steps.predict(model, picture))
    results |= steps.train(model, whole.seed, annotations_of)
    _save(results, file)


def maps_of(found: Instances) -> dict[str, Tensor]:
    """map/NAME of the full maps and iuv/PERSON of the decoded people."""
    output = found.pred_densepose
    results = {
        f"map/{name}": getattr(output, field)
        for name, field in MAPS.items()
        if getattr(output, field, None) is not None
    }
    if found.has("pred_masks"):
        results["map/masks"] = found.pred_masks
    for person, decoded in enumerate(quantized(found)):
        results[f"iuv/{person}"] = decoded.labels_uv_uint8
    return results


def quantized(found: Instances) -> list[Any]:
    """Labels, U and V of the people, as this side's evaluator gets them."""
    output, boxes = found.pred_densepose, found.pred_boxes
    results = [ToChartResultConverter.convert(output[[k]], boxes[k]) for k in range(len(boxes))]
    return [quantize_densepose_chart_result(result) for result in results]


def load(case: dict[str, Any], file: str) -> None:
    """Load a checkpoint with the project's own class.

    Raises:
        ValueError: names or values are not those of the file.
    """
    model = build_model(config_of(Case(**case)))
    DensePoseCheckpointer(model).load(file)
    loaded, written = model.state_dict(), torch.load(file, weights_only=True)["model"]
    if set(written) != set(loaded):
        raise ValueError(f"on one side only: {sorted(set(written) ^ set(loaded))[:3]}")
    different = [name for name, t in loaded.items() if not torch.equal(t, written[name])]
    if different:
        raise ValueError(f"not as in the file: {different[:3]}")


def views(case: dict[str, Any], folder: str) -> None:
    """Write boxes, maps and decoded people of test-time augmentation, as ``our_side.views``."""
    whole = Case(**case)
    cfg, model = config_of(whole), seeded_model(whole).eval()
    table = load_file(Path(folder) / "table")["uv"]
    tables = {"U_transforms": table[1:, ..., 0], "V_transforms": table[1:, ..., 1]}
    symmetry = structures.DensePoseTransformData(tables, torch.device("cpu"))
    mapper = densepose.DensePoseDatasetMapperTTA(cfg)
    augmented = densepose.DensePoseGeneralizedRCNNWithTTA(cfg, model, symmetry, mapper)
    image = inputs.make_picture(whole.seed, **steps.PICTURE).image.to(torch.uint8)
    height, width = image.shape[1:]
    with torch.no_grad():
        (found,) = augmented([{"image": image, "height": height, "width": width}])
    found = found["instances"]
    _save({"boxes": found.pred_boxes.tensor, **maps_of(found)}, str(Path(folder) / "views"))


def config_values(case: dict[str, Any]) -> dict[str, str]:
    """Dotted name -> value of every key of a config, as text."""

    def leaves(tree: CfgNode, prefix: str = "") -> dict[str, str]:
        found = {}
        for key, value in tree.items():
            inner = isinstance(value, CfgNode)
            found |= leaves(value, f"{prefix}{key}.") if inner else {prefix + key: repr(value)}
        return found

    return leaves(config_of(Case(**case)))


def _save(tensors: dict[str, Tensor], file: str) -> None:
    save_file({name: t.detach().contiguous().clone() for name, t in tensors.items()}, file)


def score_set(folder: str, official: str, tables: dict[str, Any]) -> dict[str, Any]:
    """Numbers in percent, in the order of ``evaluator.metric_names``; None for -100.

    Args:
        folder: with truth.json and predictions.npz, see ``evaluator.write_set``.
        official: folder of the surface's files.
        tables: name -> fields of ``evaluator.Table``.
    """
    truth, found = read_set(folder, official)
    results = {}
    for name, (mode, data_mode, minimum, _) in tables.items():
        stats = scored(truth, found, mode, data_mode, minimum).stats
        results[name] = [None if v < 0 else float(v * 100) for v in stats]
    return results


def read_set(folder: str, official: str) -> tuple[COCO, COCO]:
    """Annotations and predictions of ``evaluator.write_set`` in the evaluator's form."""

    def local_path(url: str, **_: object) -> str:
        return str(Path(official) / url.rsplit("/", 1)[-1])

    # The evaluator downloads its files, with an option that newer iopath rejects.
    evaluation.PathManager = SimpleNamespace(get_local_path=local_path)
    truth = COCO(str(Path(folder) / "truth.json"))
    with np.load(Path(folder) / "predictions.npz", allow_pickle=False) as file:
        arrays = dict(file)
    results, start = [], 0
    rows = zip(*(arrays[name] for name in ("image_id", "box_xywh", "score", "size")), strict=True)
    for image_id, box, score, (height, width) in rows:
        stop = start + 3 * height * width
        maps = torch.from_numpy(arrays["iuv"][start:stop].reshape(3, height, width))
        start = stop
        result = {"image_id": int(image_id), "category_id": 1, "segmentation": []}
        result |= {"bbox": box.tolist(), "score": float(score)}
        results.append({**result, "densepose": SimpleNamespace(labels_uv_uint8=maps)})
    return truth, truth.loadRes(results)


def scored(
    truth: COCO,
    found: COCO,
    mode: str,
    data_mode: str = "IUV_DT",
    minimum: float = 0.5,
    clock: steps.StageClock | None = None,
) -> Any:
    """Its evaluator after one pass."""
    clock = clock or steps.StageClock()
    with clock.stage("load the surface"):
        evaluator = evaluation.DensePoseCocoEval(
            truth,
            found,
            "densepose",
            dpEvalMode=getattr(evaluation.DensePoseEvalMode, mode),
            dpDataMode=getattr(evaluation.DensePoseDataMode, data_mode),
        )
    if minimum < 0.5:
        # As its own loop sets a smaller threshold.
        count = int(np.round((0.95 - minimum) / 0.05)) + 1
        evaluator.params.iouThrs = np.linspace(minimum, 0.95, count, endpoint=True)
    with clock.stage("score GPS, GPSm and IoU"):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def bootstrap_samples(folder: str, seed: int) -> dict[str, Any]:
    """What ``bootstrap.collect`` keeps, on the annotation files of a folder."""
    cfg = get_cfg()
    add_densepose_config(cfg)
    decorate = structures.decorate_predictor_output_class_with_confidences
    unused = dict.fromkeys(("sigma_1", "kappa_u", "kappa_v"))
    output = decorate(structures.DensePoseChartPredictorOutput)(
        **bootstrap.make_maps(seed), **unused
    )

    def sampled(sampler: str, per_part: int, draw_seed: int) -> Instances:
        random.seed(draw_seed)
        settings = CfgNode({"TYPE": sampler, "COUNT_PER_CLASS": per_part})
        found = bootstrap.detections()
        found.pred_densepose = output
        sampling = data_build.build_data_sampler(cfg, settings, None)
        return sampling([{"instances": found}])[0]["instances"]

    def draw(sampler: str, per_part: int, draw_seed: int) -> list[bootstrap.Points]:
        people = sampled(sampler, per_part, draw_seed).gt_densepose.densepose_datas
        return [bootstrap.points_of(vars(person)) for person in people]

    labels = sampled("densepose_uniform", 1, 0)
    parts = torch.stack([person.segm for person in labels.gt_densepose.densepose_datas])
    masks = {"part masks": parts, "instance masks": labels.gt_masks.tensor}
    for name in bootstrap.DATASETS:
        register_dataset(CocoDatasetInfo(name, folder, str(Path(folder) / f"{name}.json")))
    bootstrap.set_rules(cfg)
    data_build._add_category_whitelists_to_metadata(cfg)
    data_build._add_category_maps_to_metadata(cfg)
    keep = data_build._get_train_keep_instance_predicate(cfg)
    records = data_build.combine_detection_dataset_dicts(cfg.DATASETS.TRAIN, keep)
    return bootstrap.collect(draw, masks, records)


if __name__ == "__main__":
    served = (model_text, config_values, state_shapes, model_results, load, views)
    served += (score_set, bootstrap_samples)
    process.serve({function.__name__: function for function in served})
