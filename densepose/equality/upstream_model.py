"""detectron2's DensePose; run as a file, with its ``densepose`` on the path.

Serves requests one JSON object a line, as the contestants of the benchmark do. Imports nothing of
this package but files that import nothing of it either.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "benchmark"))

import numpy as np  # noqa: E402
import same_batch  # noqa: E402 - found beside this file
import torch  # noqa: E402
import upstream_side  # noqa: E402 - the benchmark's; takes its folder off the path again
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

sys.path.remove(str(HERE))


def prepare(case: dict[str, Any]) -> upstream_side.serving.Run:
    """Do the work of a case at once; ``run`` does nothing.

    ``work`` "results": make weights, leave them and the results in ``folder``. "load": read
    the checkpoint ``file`` strictly. "views": predict with test-time augmentation. "turn": bring
    maps of turned boxes back.
    """
    {"results": _results, "load": _load, "views": _views, "turn": _turn}[case["work"]](case)
    return dict


def _model(case: dict[str, Any]) -> nn.Module:
    from detectron2.modeling import build_model

    torch.manual_seed(case["seed"])
    model = build_model(upstream_side.config_of(case))
    same_batch.make_plausible(model)
    return model


def _save(folder: str, name: str, tensors: dict[str, torch.Tensor]) -> None:
    whole = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(whole, Path(folder) / f"{name}.safetensors")


def _results(case: dict[str, Any]) -> None:
    model = _model(case)
    _save(case["folder"], "weights", model.state_dict())
    picture = upstream_side.inputs.make_picture(case["seed"], **same_batch.PICTURE)
    results = _maps(same_batch.predict(model, picture))
    with same_batch.in_float64(model):
        batch = same_batch.training_batch(case["seed"], upstream_side.inputs.make_picture)
        targets = [same_batch.target_of(p, upstream_side.annotations_of(p)) for p in batch]
        results |= same_batch.train(model, batch, targets)
    _save(case["folder"], "results", results)


def _maps(found: Any) -> dict[str, torch.Tensor]:
    from densepose.converters import ToChartResultConverter
    from densepose.structures.chart_result import quantize_densepose_chart_result

    output = found.pred_densepose
    results = {}
    for name, field in same_batch.MAPS.items():
        if getattr(output, field, None) is not None:
            results[f"map/{name}"] = getattr(output, field)
    if found.has("pred_masks"):
        results["map/masks"] = found.pred_masks
    for person in range(len(found)):
        one = ToChartResultConverter.convert(output[[person]], found.pred_boxes[person])
        results[f"iuv/{person}"] = quantize_densepose_chart_result(one).labels_uv_uint8
    return results


def _load(case: dict[str, Any]) -> None:
    from densepose.modeling.densepose_checkpoint import DensePoseCheckpointer

    model = _model(case)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    DensePoseCheckpointer(model).load(case["file"])
    loaded = model.state_dict()
    written = torch.load(case["file"], weights_only=True)["model"]
    if set(written) != set(loaded):
        raise ValueError(f"on one side only: {sorted(set(written) ^ set(loaded))[:3]}")
    different = [name for name, t in loaded.items() if not torch.equal(t, written[name])]
    if different:
        raise ValueError(f"not as in the file: {different[:3]}")


def _views(case: dict[str, Any]) -> None:
    from safetensors.torch import load_file

    from densepose import DensePoseDatasetMapperTTA, DensePoseGeneralizedRCNNWithTTA
    from densepose.structures import DensePoseTransformData

    model = _model(case).eval()
    _save(case["folder"], "weights", model.state_dict())
    table = load_file(case["table"])["uv"]
    tables = {"U_transforms": table[1:, ..., 0], "V_transforms": table[1:, ..., 1]}
    symmetry = DensePoseTransformData(tables, torch.device("cpu"))
    cfg = upstream_side.config_of(case)
    looking = DensePoseGeneralizedRCNNWithTTA(cfg, model, symmetry, DensePoseDatasetMapperTTA(cfg))
    picture = upstream_side.inputs.make_picture(case["seed"], **same_batch.PICTURE)
    image = picture.image.to(torch.uint8)
    height, width = image.shape[1:]
    with torch.no_grad():
        (found,) = looking([{"image": image, "height": height, "width": width}])
    found = found["instances"]
    boxes = {"boxes": found.pred_boxes.tensor, "scores": found.scores}
    _save(case["folder"], "views", {**boxes, **_maps(found)})


def _turn(case: dict[str, Any]) -> None:
    from detectron2.data.transforms import RotationTransform

    from densepose.modeling.test_time_augmentation import _inverse_rotation

    turn = RotationTransform(*case["size"], case["angle"], expand=True)
    boxes = np.array(case["boxes"])
    maps = same_batch.place_maps(turn, boxes, case["side"])
    around = torch.from_numpy(turn.apply_box(boxes)).float()
    _save(case["folder"], "turned", {"maps": _inverse_rotation(maps, around, turn)})


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    upstream_side.serving.serve(prepare)
