"""Work of this package whose time is measured.

Its ``densepose`` may be one of an older checkout: what has moved is looked for at its old place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.io import savemat
from torch import nn

from detectron2.modeling import build_model

from densepose.config import load_config
from densepose.modeling import register_all
from densepose.modeling.inference import instances_to_prediction

from . import inputs, process, steps
from .evaluator import write_set
from .inputs import Case, Picture

Run = Callable[[], dict[str, float]]  # does the work once; seconds of each stage
NUM_PARTS = 24
SCENE = "scene.npz"


def _find(name: str, *modules: str) -> Any:
    """The first of these modules' attributes that is there."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {modules}")


register_all()
find_config = _find("find_config", "densepose.config", "densepose.shipped_configs")


def prepare(kind: str, case: dict[str, Any], *, plain: bool, without: str = "") -> None:
    """Build what the work needs; ``run`` does it once.

    Args:
        kind: one of ``_WORK``.
        case: fields of a ``Case``.
        plain: without the CPU operators.
        without: the one of ``accelerate``'s operators to leave out.
    """
    global _run, _without
    _run, _without = None, without  # frees the former work first
    _run = _WORK[kind](Case(**case), plain)


_run: Run | None = None
_without = ""


def run() -> dict[str, float]:
    """Do the prepared work once; seconds of each stage."""
    return _run()


def _model(case: Case, *, plain: bool, for_inference: bool) -> nn.Module:
    opts = ["MODEL.DEVICE", case.device, "MODEL.WEIGHTS", "", *case.opts]
    model = build_model(load_config(find_config(case.config), opts))
    inputs.fill_with_seeded(model, case.seed)
    if not plain:
        from densepose.ops import accelerate as ops

        # Older checkouts have no such choice.
        only = {"only": set(ops.OPERATORS) - {_without}} if _without else {}
        ops.accelerate(model, for_inference=for_inference, **only)
    return model


def _inference(case: Case, plain: bool) -> Run:
    model = _model(case, plain=plain, for_inference=True).eval()
    picture = inputs.make_picture(case.seed, **case.picture)
    return lambda: steps.infer(model, picture, lambda found: instances_to_prediction(found, 1))


def _training(case: Case, plain: bool) -> Run:
    model = _model(case, plain=plain, for_inference=False)
    pictures = [inputs.make_picture(seed, **case.picture) for seed in range(case.images)]
    targets = [inputs.target_of(picture, annotations_of(picture)) for picture in pictures]
    optimizer = steps.build_optimizer(model)
    return lambda: steps.train_step(model, optimizer, pictures, targets, half=case.half)


def annotations_of(picture: Picture) -> Any:
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


def _conversion(case: Case, plain: bool) -> Run:
    from detectron2.structures import Boxes, Instances

    from densepose.structures.chart_output import ChartOutput

    if plain:
        from densepose.ops import tile_threads

        tile_threads.ready = lambda: False
    size = dict(case.picture)
    width, height = size.pop("box")
    charts = inputs.make_charts(case.seed, **size)
    output = ChartOutput(*(charts[name] for name in ("coarse", "part", "u", "v")), upscale=2)
    found = Instances((height, width), pred_densepose=output)
    found.pred_boxes = Boxes(torch.tensor([[0.0, 0.0, width, height]]).expand(len(output), 4))
    found.scores = torch.ones(len(output))
    found.pred_classes = torch.zeros(len(output), dtype=torch.int64)
    return lambda: steps.timed("chart output to result", lambda: instances_to_prediction(found, 1))


def _loading(case: Case, plain: bool) -> Run:
    from densepose.data.coco import load_densepose_coco
    from densepose.data.mapper import DensePoseMapper
    from densepose.data.registration import register_from_config

    annotations, images = Path(case.folder) / "truth.json", Path(case.folder) / "images"
    entry = {"NAME": "speed", "ANNOTATIONS": str(annotations), "IMAGES": str(images)}
    entry["SURFACE"] = "template"
    opts = ["DATASETS.REGISTER", repr([entry]), "DATASETS.TRAIN", "('speed',)"]
    cfg = load_config(find_config(case.config), opts)
    register_from_config(cfg)
    records = load_densepose_coco(annotations, images, "speed")
    mapper = DensePoseMapper(cfg, is_train=True)
    return lambda: steps.timed("read and augment", lambda: [mapper(record) for record in records])


def _evaluation(case: Case, plain: bool) -> Run:
    modules = ("densepose.evaluation.predictions", "densepose.evaluation.prediction_file")
    load_surface = _find(
        "load_official_surface",
        "densepose.surface.official.surface",
        "densepose.surface.official",
    )
    from densepose.evaluation.evaluate import evaluate_densepose

    folder = Path(case.folder)
    truth, official = folder / "truth.json", folder / "official"
    predictions: Any = list(_predictions(folder / "predictions.npz"))
    if "memory" in case.opts:
        truth = json.loads(truth.read_text())
    else:
        # A folder for each contestant: they may write different files.
        written = folder / f"predictions_{id(predictions)}"
        writer = _find("PredictionWriter", *modules)(written)
        for prediction in predictions:
            writer.write(prediction)
        predictions = written
    num_vertices = int((official / "num_vertices.txt").read_text())

    def work() -> dict[str, float]:
        clock = steps.StageClock()
        with clock.stage("load the surface"):
            surface = load_surface(official, num_vertices=num_vertices)
        with clock.stage("score GPS, GPSm and IoU"):
            evaluate_densepose(truth, predictions, surface, detection_scores=False)
        return clock.seconds

    return work


def _predictions(file: Path) -> Iterator[Any]:
    """What ``evaluator.write_set`` has written, image by image."""
    from densepose.structures.prediction import ImagePrediction

    with np.load(file, allow_pickle=False) as content:
        arrays = dict(content)
    ends = 3 * arrays["size"].prod(axis=1).cumsum()
    maps = [
        iuv.reshape(3, *size)
        for iuv, size in zip(np.split(arrays["iuv"], ends[:-1]), arrays["size"], strict=True)
    ]
    for image_id in np.unique(arrays["image_id"]).tolist():
        (rows,) = np.nonzero(arrays["image_id"] == image_id)
        corners = arrays["box_xywh"][rows].copy()
        corners[:, 2:] += corners[:, :2]
        yield ImagePrediction(
            image_id=image_id,
            image_size=tuple(arrays["image_size"].tolist()),
            boxes_xyxy_px=corners,
            scores=arrays["score"][rows],
            labels=tuple(maps[row][0] for row in rows),
            uv=tuple(maps[row][1:] for row in rows),
        )


def _surface(case: Case, plain: bool) -> Run:
    from densepose.surface.charts import load_template_atlas
    from densepose.vis.texture import SeamFiller, put_texture, split_picture, take_texture

    with np.load(Path(case.folder) / SCENE, allow_pickle=False) as file:
        image, iuv, tiles = file["image"], file["iuv"], split_picture(file["texture"])
    atlas = load_template_atlas()
    close_seams = SeamFiller(atlas)
    works = {
        "triangles": lambda: atlas.surface_of(iuv),
        "vertices": lambda: atlas.vertices_of(iuv),
        "points": lambda: atlas.points_of(iuv),
        "take": lambda: close_seams(take_texture(image, iuv)),
        "put": lambda: put_texture(image, iuv, tiles),
        "put nearest": lambda: put_texture(image, iuv, tiles, sampling="nearest"),
    }
    (name,) = case.opts
    works[name]()  # tables are warm
    return lambda: steps.timed(name, works[name])


_WORK = {
    "inference": _inference,
    "training": _training,
    "conversion": _conversion,
    "loading": _loading,
    "evaluation": _evaluation,
    "surface": _surface,
}


def make_files(kind: str, case: dict[str, Any], vertices: int) -> None:
    """Write the data set of a case into its folder.

    Args:
        kind: loading, evaluation or surface.
        case: fields of a ``Case``.
        vertices: of each part of the stand-in of the official surface.
    """
    whole = Case(**case)
    folder = Path(whole.folder)
    folder.mkdir(parents=True)
    if kind == "loading":
        _write_images(folder, whole.images)
    elif kind == "surface":
        _write_scene(folder, **whole.picture)
    else:
        _write_evaluation(folder, whole.images, vertices)


def _write_images(folder: Path, count: int) -> None:
    """Annotations, JPEG files and a stand-in of the table that detectron2's flip reads."""
    from .generated import IMAGE_SIZE, generated_set

    truth = generated_set("easy", 0, count).ground_truth
    (folder / "images").mkdir()
    (folder / "truth.json").write_text(json.dumps(truth))
    rng = np.random.default_rng(0)
    for image in truth["images"]:
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, IMAGE_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "images" / image["file_name"]), pixels)
    tables = np.empty((1, NUM_PARTS), object)
    for part in range(NUM_PARTS):
        tables[0, part] = rng.uniform(0, 1, (256, 256))
    savemat(folder / "symmetry.mat", {"U_transforms": tables, "V_transforms": tables})


def _write_scene(folder: Path, size: tuple[int, int], people: int) -> None:
    """A rendered scene with its IUV, and a random texture."""
    from densepose.surface.charts import load_template_atlas
    from densepose.synthetic.anatomy import load_anatomy
    from densepose.synthetic.backgrounds import random_background
    from densepose.synthetic.photograph import develop, sample_photograph
    from densepose.synthetic.render import render
    from densepose.synthetic.scene import fit_camera, sample_scene
    from densepose.synthetic.truth import SceneGeometry

    height, width = size
    rng, anatomy = np.random.default_rng(0), load_anatomy()
    scene = sample_scene(rng, anatomy, width, height, (people, people))
    camera = fit_camera(rng, list(scene.people), width, height, whole=True)
    geometry = SceneGeometry(replace(scene, objects=(), camera=camera), anatomy)
    picture = render(geometry, random_background(rng, camera))
    np.savez(
        folder / SCENE,
        image=develop(picture, sample_photograph(rng), rng),
        iuv=geometry.truth(load_template_atlas()).iuv_image(),
        texture=rng.integers(0, 256, (1200, 800, 3), dtype=np.uint8),
    )


def _write_evaluation(folder: Path, count: int, vertices: int) -> None:
    """1.5 people an image as in minival, two detections of each."""
    from .generated import generated_set, generated_surface
    from .our_side import write_official_surface

    made = generated_set("noisy", 0, count, 109, most_people=2, detections_per_person=2)
    write_set(folder, made.ground_truth, made.predictions)
    write_official_surface(folder / "official", generated_surface(0, vertices))


if __name__ == "__main__":
    process.serve({function.__name__: function for function in (make_files, prepare, run)})
