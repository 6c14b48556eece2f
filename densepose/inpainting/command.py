"""What ``densepose inpaint`` does: config and weights to a folder and a table."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

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
from densepose.model_zoo.files import resolve_weights
from densepose.progress import track
from densepose.surface.charts import ChartAtlas
from densepose.surface.evaluation_surface import load_evaluation_surface

from .accuracy import compare, to_table, write_accuracy
from .methods import BASELINES, Method, SurfaceMethod, TeacherMethod, TruthMethod
from .on_surface import BodyPlaces, SurfaceSettings, choose_smoothing
from .preview import write_previews
from .refine import RefineSettings
from .run import (
    Inpainted,
    file_sha256,
    has_annotated_people,
    inpaint_dataset,
    inpaint_image,
    points_and_sizes,
)
from .teacher import Averaging, scaled_sizes

Records = list[dict[str, Any]]
# Images whose points say how much to smooth.
_SMOOTHING_IMAGES = 100


def inpaint_command(args: Namespace) -> str:
    """Inpaint, compare with the truth if it is given; what to tell at the end.

    Raises:
        ValueError: arguments, config or data set do not fit together.
        FileNotFoundError: a file is missing.
    """
    setup_logging(None)
    path = find_config(args.config_file) if args.config_file else None
    cfg = choose_device(load_config(path, list(args.opts)))
    register_builtin()
    register_from_config(cfg)
    names = args.dataset or list(cfg.DATASETS.TRAIN)
    _check_arguments(args, cfg, names)
    records, surface = _annotated_records(names)
    method, settings = build_method(args, cfg, surface, records)
    records = records[: args.limit]
    lines = []
    if args.out:
        about = {**settings, "datasets": names, "annotations_sha256": _annotation_hashes(names)}
        start = time.monotonic()
        done = inpaint_dataset(
            records,
            args.out,
            method,
            about,
            image_format=cfg.INPUT.FORMAT,
            track=partial(_tracked, label="inpaint"),
        )
        lines.append(_told(done, time.monotonic() - start))
        lines.append(f"Pictures: {write_previews(args.out, records)}")
    if args.truth and args.method != "truth":
        lines += _compare(args, cfg, records, method, surface)
    return "\n".join(lines)


def build_method(
    args: Namespace, cfg: CfgNode, surface: str, records: Records
) -> tuple[Method, dict[str, Any]]:
    """What inpaints, and the plain values that describe it.

    Args:
        args: of the verb.
        cfg: of the teacher; not read for methods without a network.
        surface: that the data sets are annotated on.
        records: with annotated people.
    """
    if args.method in BASELINES:
        return BASELINES[args.method], {"method": args.method}
    if args.method == "truth":
        return TruthMethod(find_data(args.truth)), {"method": args.method}
    body = body_places(surface, cfg)
    if args.method == "surface":
        if body is None:
            raise ValueError(
                f"--method surface: the charts of {surface!r} come without a body in three"
                " dimensions; take --method smooth"
            )
        smoothing = choose_smoothing(points_and_sizes(records[:_SMOOTHING_IMAGES]), body)
        return SurfaceMethod(body, smoothing), {"method": args.method, "smoothing": smoothing}
    check_config(cfg)
    if not (is_dp_fcn(cfg) and cfg.MODEL.DP_FCN.CROPS):
        raise ValueError(
            f"{args.config_file or 'the config'}: a teacher is a DensePoseFCN with"
            " MODEL.DP_FCN.CROPS; take one of configs/teacher, or --method nearest or smooth"
        )
    weights = resolve_weights(args.weights or cfg.MODEL.WEIGHTS, cfg.MODEL.ZOO_DIR)
    model = build_run_model(cfg)
    load_for_inference(cfg, model, str(weights))
    mirror = not args.no_mirror
    averaging = Averaging(scaled_sizes(cfg.MODEL.DP_FCN.CROP_SIZE, args.scales), mirror)
    symmetry = load_symmetry(surface, smpl_dir(cfg)) if mirror else None
    corrected: SurfaceSettings | RefineSettings | None = None
    if args.method == "teacher" and body is None:
        corrected = RefineSettings()
    elif args.method == "teacher":
        known = points_and_sizes(records[:_SMOOTHING_IMAGES])
        corrected = SurfaceSettings(smoothing=choose_smoothing(known, body))
    settings = {
        "method": args.method,
        "weights_sha256": file_sha256(weights),
        "crop_sizes_px": averaging.crop_sizes_px,
        "mirror": mirror,
        "refine": None
        if corrected is None
        else {"on_surface": body is not None, **vars(corrected)},
    }
    return TeacherMethod(model, averaging, symmetry, corrected, body), settings


def body_places(surface: str, cfg: CfgNode) -> BodyPlaces | None:
    """The body that charts lie on; None where its shape is not known, only its charts."""
    charts = load_evaluation_surface(surface, smpl_dir(cfg)).charts
    return BodyPlaces(charts) if isinstance(charts, ChartAtlas) else None


def _check_arguments(args: Namespace, cfg: CfgNode, names: list[str]) -> None:
    if not args.out and not args.truth:
        raise ValueError("nothing to do: give --out DIR, --truth DIR, or both")
    if not names:
        raise ValueError("no data set: give --dataset NAME, or a config with DATASETS.TRAIN")
    require_registered(names)
    if args.method == "truth" and not (args.out and args.truth):
        raise ValueError("--method truth copies the complete truth: give --truth DIR and --out DIR")
    needs_weights = args.method in ("teacher", "network")
    if needs_weights and not (args.weights or cfg.MODEL.WEIGHTS):
        raise ValueError("a teacher needs weights: give --weights FILE; configs/teacher trains one")


def _annotated_records(names: list[str]) -> tuple[Records, str]:
    """Records with annotated people of all data sets, and the surface these are annotated on."""
    surfaces = {name: MetadataCatalog.get(name).get("surface") for name in names}
    if len(set(surfaces.values())) > 1:
        raise ValueError(f"--dataset: annotated on different surfaces: {surfaces}")
    records = [r for name in names for r in DatasetCatalog.get(name) if has_annotated_people(r)]
    if not records:
        raise ValueError(f"{', '.join(names)}: nobody has annotated points and part masks")
    if len({r["image_id"] for r in records}) < len(records):
        raise ValueError(
            f"{', '.join(names)}: the same image id stands for several images; inpaint the data"
            " sets into folders of their own"
        )
    return records, next(iter(surfaces.values()))


def _compare(
    args: Namespace, cfg: CfgNode, records: Records, method: Method, surface: str
) -> list[str]:
    """Table and file of how right the method, the network alone and the baselines are."""
    image_format = cfg.INPUT.FORMAT
    asked: dict[str, Callable[[Mapping[str, Any]], InpaintedImage]] = {
        name: partial(inpaint_image, method=baseline, image_format=image_format)
        for name, baseline in BASELINES.items()
    }
    if args.out:
        asked[args.method] = lambda record: read_inpainted(image_path(args.out, record["image_id"]))
    else:
        asked[args.method] = partial(inpaint_image, method=method, image_format=image_format)
    if isinstance(method, TeacherMethod) and method.settings is not None:
        if isinstance(method.settings, SurfaceSettings):
            on_body = SurfaceMethod(method.body, method.settings.smoothing)
            asked["surface"] = partial(inpaint_image, method=on_body, image_format=image_format)
        alone = TeacherMethod(method.model, method.averaging, method.symmetry, None)
        asked["network"] = partial(inpaint_image, method=alone, image_format=image_format)
    totals, pairs = compare(
        records,
        find_data(args.truth),
        asked,
        load_evaluation_surface(surface, smpl_dir(cfg)),
        judged=args.method,
        track=partial(_tracked, label="compare"),
    )
    lines = ["", to_table(totals, args.method, pairs)]
    if args.out:
        path = Path(args.out) / "accuracy.json"
        about = {"truth": str(args.truth), "images": len(records), "judged": args.method}
        write_accuracy(path, totals, pairs, about)
        lines.append(f"Accuracy of {len(records)} images: {path}")
    return lines


def _tracked(items: Iterable[Any], total: int, *, label: str) -> Iterable[Any]:
    return track(items, total=total, label=label)


def _annotation_hashes(names: list[str]) -> list[str]:
    return [file_sha256(MetadataCatalog.get(name).json_file) for name in names]


def _told(done: Inpainted, seconds: float) -> str:
    extra = f", {done.skipped} images were there already" if done.skipped else ""
    if done.without_masks:
        extra += f", {done.without_masks} people with points have no part masks and are left out"
    return (
        f"{done.folder}: {done.people} people in {done.images} images inpainted in"
        f" {seconds:.0f} s{extra}; train on them with DATASETS.INPAINTED {done.folder}"
    )
