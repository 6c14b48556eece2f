"""Work of detectron2's DensePose whose time is measured; see ``our_speed``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from . import inputs, process, steps
from .detectron2_side import (
    annotations_of,
    config_of,
    quantized,
    read_set,
    scored,
    seeded_model,
    structures,
)
from .inputs import Case

Run = Callable[[], dict[str, float]]  # does the work once; seconds of each stage
MODES = ("GPS", "GPSM", "IOU")


def prepare(kind: str, case: dict[str, Any]) -> None:
    """Build what the work needs; ``run`` does it once."""
    global _run
    _run = _WORK[kind](Case(**case))


_run: Run | None = None


def run() -> dict[str, float]:
    """Do the prepared work once; seconds of each stage."""
    return _run()


def _inference(case: Case) -> Run:
    model = seeded_model(case).eval()
    picture = inputs.make_picture(case.seed, **case.picture)
    return lambda: steps.infer(model, picture, quantized)


def _training(case: Case) -> Run:
    model = seeded_model(case)
    pictures = [inputs.make_picture(seed, **case.picture) for seed in range(case.images)]
    targets = [inputs.target_of(picture, annotations_of(picture)) for picture in pictures]
    optimizer = steps.build_optimizer(model)
    return lambda: steps.train_step(model, optimizer, pictures, targets, half=case.half)


def _conversion(case: Case) -> Run:
    size = dict(case.picture)
    width, height = size.pop("box")
    # Its predictor up-samples before the conversion, ours leaves it to the conversion.
    full = {
        name: nn.functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
        for name, maps in inputs.make_charts(case.seed, **size).items()
    }
    output = structures.DensePoseChartPredictorOutput(
        full["coarse"], full["part"], full["u"], full["v"]
    )
    boxes = Boxes(torch.tensor([[0.0, 0.0, width, height]]).expand(len(full["u"]), 4))
    found = Instances((height, width), pred_densepose=output, pred_boxes=boxes)
    return lambda: steps.timed("chart output to result", lambda: quantized(found))


def _loading(case: Case) -> Run:
    from densepose.data import DatasetMapper
    from densepose.data.datasets.coco import load_coco_json

    folder, cfg = Path(case.folder), config_of(case)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("speed",), ()
    MetadataCatalog.get("speed").densepose_transform_src = str(folder / "symmetry.mat")
    records = load_coco_json(str(folder / "truth.json"), str(folder / "images"), "speed")
    mapper = DatasetMapper(cfg, True)
    return lambda: steps.timed("read and augment", lambda: [mapper(record) for record in records])


def _evaluation(case: Case) -> Run:
    truth, found = read_set(case.folder, f"{case.folder}/official")

    def work() -> dict[str, float]:
        clock = steps.StageClock()
        for mode in MODES:
            scored(truth, found, mode, clock=clock)
        return clock.seconds

    return work


def _surface(case: Case) -> Run:
    from densepose.vis.densepose_results_textures import DensePoseResultsVisualizerWithTexture

    with np.load(Path(case.folder) / "scene.npz", allow_pickle=False) as file:
        image, iuv, picture = file["image"], file["iuv"], file["texture"]
    visualizer = DensePoseResultsVisualizerWithTexture(picture)
    part_and_uv = iuv.transpose(2, 0, 1) / np.array([1, 255, 255], np.float32)[:, None, None]
    part_and_uv = part_and_uv.astype(np.float32)

    def work() -> None:
        texture, alpha = visualizer.get_texture()
        visualizer.generate_image_with_texture(texture, alpha, image, part_and_uv)

    return lambda: steps.timed(case.opts[0], work)


_WORK = {
    "inference": _inference,
    "training": _training,
    "conversion": _conversion,
    "loading": _loading,
    "evaluation": _evaluation,
    "surface": _surface,
}

if __name__ == "__main__":
    process.serve({function.__name__: function for function in (prepare, run)})
