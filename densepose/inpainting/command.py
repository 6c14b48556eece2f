"""What ``densepose inpaint`` does: config and weights to a folder and a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.config import check_config, find_config, is_dp_fcn, load_config
from densepose.data.coco import require_registered
from densepose.data.inpainted import InpaintedImage, image_path, read_inpainted
from densepose.data.registration import (
    find_data,
    load_symmetry,
    register_builtin,
    register_from_config,
    smpl_dir,
)
from densepose.engine.checkpoint import load_for_inference
from densepose.engine.logs import setup_logging
from densepose.engine.model import build_run_model
from densepose.engine.prepare import choose_device
from densepose.errors import InputError
from densepose.files import sha256
from densepose.model_zoo.files import resolve_weights
from densepose.surface.charts import ChartAtlas
from densepose.surface.evaluation_surface import load_evaluation_surface

from .accuracy import compare, to_table, truth_of, write_accuracy
from .cells import Guess
from .methods import (
    BodyPlaces,
    Scores,
    choose_smoothing,
    network_alone,
    on_surface,
    refine_in_charts,
    refine_on_surface,
)
from .preview import write_previews
from .run import (
    BASELINES,
    Inpainted,
    Method,
    Picture,
    has_annotated_people,
    inpaint_dataset,
    inpaint_image,
    points_of,
)
from .teacher import Teacher, scaled_sizes

METHODS = ("teacher", "network", *BASELINES, "surface", "truth")
Records = list[dict[str, Any]]
# Images whose points say how much to smooth.
_SMOOTHING_IMAGES = 100


def inpaint(
    config_file: str = "",
    opts: Sequence[str] = (),
    *,
    method: str = "teacher",
    weights: str | None = None,
    datasets: Sequence[str] = (),
    output: str | None = None,
    scales: Sequence[float] = (0.85, 1.0, 1.2),
    mirror: bool = True,
    truth: str | None = None,
    limit: int | None = None,
) -> str:
    """Inpaint data sets, compare with the truth if it is given; a report of a few lines.

    Args:
        config_file: of the teacher.
        opts: keys and values that override it.
        method: one of METHODS, see docs/inpainting.md.
        weights: of the teacher; MODEL.WEIGHTS if None.
        datasets: registered names; DATASETS.TRAIN if empty.
        output: folder to write; an interrupted run is resumed.
        scales: crop sizes that are averaged, as fractions of MODEL.DP_FCN.CROP_SIZE.
        mirror: average with mirror images too.
        truth: folder of the complete truth of the images.
        limit: only the first images with annotated people.

    Raises:
        InputError: arguments, config or data set do not fit together.
        FileNotFoundError: a file is missing.
    """
    setup_logging(None)
    cfg = choose_device(load_config(find_config(config_file) if config_file else None, list(opts)))
    register_builtin()
    register_from_config(cfg)
    names = list(datasets) or list(cfg.DATASETS.TRAIN)
    weights = weights or cfg.MODEL.WEIGHTS
    _check_arguments(method, weights, names, output, truth)
    records, surface = _annotated_records(names)
    if method == "truth":
        methods: dict[str, Method] = {"truth": partial(truth_of, find_data(truth))}
        about: dict[str, Any] = {}
    elif method in BASELINES:
        methods, about = {method: BASELINES[method]}, {}
    else:
        methods, about = _methods(method, cfg, weights, surface, records, scales, mirror)
    records, lines = records[:limit], []
    if output:
        hashes = [sha256(MetadataCatalog.get(name).json_file) for name in names]
        about = {"method": method, **about, "datasets": names, "annotations_sha256": hashes}
        start = time.monotonic()
        done = inpaint_dataset(
            records, output, methods[method], about, image_format=cfg.INPUT.FORMAT
        )
        lines = [_summary(done, time.monotonic() - start)]
        lines.append(f"Pictures: {write_previews(output, records)}")
    if truth and method != "truth":
        lines += _compare(cfg, records, {**BASELINES, **methods}, method, surface, output, truth)
    return "\n".join(lines)


def _compare(
    cfg: CfgNode,
    records: Records,
    methods: Mapping[str, Method],
    judged: str,
    surface: str,
    output: str | None,
    truth: str,
) -> list[str]:
    """Table and file of how right the methods are; the judged one was written to ``output``."""
    asked: dict[str, Callable[[Mapping[str, Any]], InpaintedImage]] = {
        name: partial(inpaint_image, method=method, image_format=cfg.INPUT.FORMAT)
        for name, method in methods.items()
    }
    if output:
        asked[judged] = lambda record: read_inpainted(image_path(output, record["image_id"]))
    charts = load_evaluation_surface(surface, smpl_dir(cfg))
    errors = compare(records, find_data(truth), asked, charts)
    lines = ["", to_table(errors, judged)]
    if output:
        path = Path(output) / "accuracy.json"
        write_accuracy(path, errors, judged, {"truth": str(truth), "images": len(records)})
        lines.append(f"Accuracy of {len(records)} images: {path}")
    return lines


def _methods(
    method: str,
    cfg: CfgNode,
    weights: str,
    surface: str,
    records: Records,
    scales: Sequence[float],
    mirror: bool,
) -> tuple[dict[str, Method], dict[str, Any]]:
    """The method and those it is compared with, and plain values that describe it."""
    charts = load_evaluation_surface(surface, smpl_dir(cfg)).charts
    body = BodyPlaces(charts) if isinstance(charts, ChartAtlas) else None
    smoothing, methods = 0.0, {}
    if body is not None and method != "network":
        smoothing = choose_smoothing(map(points_of, records[:_SMOOTHING_IMAGES]), body)
        methods["surface"] = lambda p: on_surface(p.cells, p.points, body, smoothing)
    if method == "surface":
        if body is None:
            raise InputError(
                f"--method surface: the charts of {surface!r} come without a body in three"
                " dimensions; take --method smooth"
            )
        return methods, {"smoothing": smoothing}
    check_config(cfg)
    if not (is_dp_fcn(cfg) and cfg.MODEL.DP_FCN.CROPS):
        raise InputError(
            "a teacher is a DensePoseFCN with MODEL.DP_FCN.CROPS; give --config-file, one of"
            " configs/teacher, or take --method nearest or smooth"
        )
    path = resolve_weights(weights, cfg.MODEL.ZOO_DIR)
    model = build_run_model(cfg)
    load_for_inference(cfg, model, str(path))
    symmetry = load_symmetry(surface, smpl_dir(cfg)) if mirror else None
    teacher = Teacher(model.eval(), scaled_sizes(cfg.MODEL.DP_FCN.CROP_SIZE, scales), symmetry)

    def corrected(picture: Picture) -> Guess:
        known = picture.cells, picture.points, *_ask(teacher, picture)
        return (
            refine_in_charts(*known) if body is None else refine_on_surface(*known, body, smoothing)
        )

    methods["network"] = lambda picture: network_alone(picture.cells, _ask(teacher, picture)[0])
    about = {
        "weights_sha256": sha256(path),
        "crop_sizes_px": teacher.crop_sizes_px,
        "mirror": mirror,
    }
    if method == "teacher":
        methods["teacher"] = corrected
        about |= {"on_surface": body is not None, "smoothing": smoothing}
    return methods, about


def _ask(teacher: Teacher, picture: Picture) -> tuple[Scores, Scores]:
    """What the network says at the cells and at the points."""
    both = picture.cells, picture.points
    person, place_px, region = (
        np.concatenate([getattr(places, name) for places in both])
        for name in ("person", "place_px", "region")
    )
    scores = teacher.ask(torch.as_tensor(picture.pixels), picture.people, person, place_px, region)
    count = len(picture.cells.person)
    return scores[slice(0, count)], scores[slice(count, None)]


def _check_arguments(
    method: str, weights: str, names: list[str], output: str | None, truth: str | None
) -> None:
    if method not in METHODS:
        raise InputError(f"no method {method!r}; there are {', '.join(METHODS)}")
    if not output and not truth:
        raise InputError("nothing to do: give --output DIR, --truth DIR, or both")
    if not names:
        raise InputError("no data set: give --dataset NAME, or a config with DATASETS.TRAIN")
    require_registered(names)
    if method == "truth" and not (output and truth):
        raise InputError(
            "--method truth copies the complete truth: give --truth DIR and --output DIR"
        )
    if method in ("teacher", "network") and not weights:
        raise InputError("a teacher needs weights: give --weights FILE; configs/teacher trains one")


def _annotated_records(names: list[str]) -> tuple[Records, str]:
    """Records with annotated people of all data sets, and the surface these are annotated on."""
    surfaces = {name: MetadataCatalog.get(name).get("surface") for name in names}
    if len(set(surfaces.values())) > 1:
        raise InputError(f"--dataset: annotated on different surfaces: {surfaces}")
    records = [r for name in names for r in DatasetCatalog.get(name) if has_annotated_people(r)]
    if not records:
        raise InputError(f"{', '.join(names)}: no person has annotated points and part masks")
    if len({r["image_id"] for r in records}) < len(records):
        raise InputError(
            f"{', '.join(names)}: the same image id stands for several images; inpaint the data"
            " sets into separate folders"
        )
    return records, next(iter(surfaces.values()))


def _summary(done: Inpainted, seconds: float) -> str:
    extra = f", {done.skipped} images were there already" if done.skipped else ""
    if done.without_masks:
        extra += f", {done.without_masks} people with points have no part masks and are skipped"
    return (
        f"{done.folder}: {done.people} people in {done.images} images inpainted in"
        f" {seconds:.0f} s{extra}; train on them with DATASETS.INPAINTED {done.folder}"
    )
