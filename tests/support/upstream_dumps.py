"""What detectron2's DensePose project keeps of predictions: objects of its own classes."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import make_dataclass
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from tools.upstream.generated import GeneratedSet

MODULE = "densepose.structures.chart_result"
CLASSES = {
    name: make_dataclass(name, fields, namespace={"__module__": MODULE})
    for name, fields in {
        "DensePoseChartResultWithConfidences": ["labels", "uv", "sigma_1"],
        "DensePoseChartResultQuantized": ["labels_uv_uint8"],
        "DensePoseChartResultCompressed": ["shape_chw", "labels_uv_str"],
        "DensePoseEmbeddingPredictorOutput": ["embedding"],
    }.items()
}
CHART_CLASSES = tuple(name for name in CLASSES if "Chart" in name)


@contextmanager
def upstreams_module() -> Iterator[None]:
    """Lets torch.save find the classes under upstream's names."""
    module = ModuleType(MODULE)
    for name, cls in CLASSES.items():
        setattr(module, name, cls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, MODULE, module)
        yield


def make(name: str, labels: np.ndarray, uv: np.ndarray):
    planes = np.concatenate([labels[None], uv])
    if name == "DensePoseChartResultWithConfidences":
        # Halfway to the next step: quantising has to cut it off again.
        maps = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy((uv + 0.5) / 255).float()
        return CLASSES[name](*maps, None)
    if name == "DensePoseChartResultQuantized":
        return CLASSES[name](torch.from_numpy(planes))
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.moveaxis(planes, 0, -1))).save(stream, "PNG")
    return CLASSES[name](planes.shape, base64.encodebytes(stream.getvalue()).decode())


def apply_net(made: GeneratedSet, name: str = "DensePoseChartResultWithConfidences") -> list[dict]:
    """What apply_net.py dump keeps."""
    return [
        {
            "file_name": f"/photos/val/{p.image_id:012d}.jpg",
            "scores": torch.from_numpy(p.scores),
            "pred_boxes_XYXY": torch.from_numpy(p.boxes_xyxy_px),
            "pred_densepose": [make(name, *m) for m in zip(p.labels, p.uv, strict=True)],
        }
        for p in made.predictions
    ]


def evaluators(made: GeneratedSet) -> list[dict]:
    """What upstream's evaluator keeps."""
    entries = []
    for p in made.predictions:
        corners = torch.from_numpy(p.boxes_xyxy_px)
        boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
        entries += [
            {
                "image_id": p.image_id,
                "category_id": 0,  # of the class, as upstream saves it
                "bbox": box,
                "score": score,
                "densepose": make("DensePoseChartResultQuantized", labels, uv),
            }
            for box, score, labels, uv in zip(boxes, p.scores.tolist(), p.labels, p.uv, strict=True)
        ]
    return entries
