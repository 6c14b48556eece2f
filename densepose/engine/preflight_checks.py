"""What a run will need, checked before its first iteration; all problems in one message."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image
from torch import nn

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm

from densepose.config import bootstrap_entries
from densepose.data.coco import require_registered
from densepose.data.registration import (
    annotations_to_score,
    dataset_status,
    smpl_dir,
    symmetry_from_config,
)
from densepose.errors import InputError, mistake_text
from densepose.files import did_you_mean
from densepose.model_zoo.files import check_weights_file, resolve_weights
from densepose.structures.records import check_records, read_annotation_file
from densepose.surface.evaluation_surface import load_evaluation_surface

from .bootstrap import check_source
from .evaluation import FOLDER, build_evaluator, view_symmetry

FIRST_IMAGES = 3  # images opened per data set
LARGEST_JSON = 64 * 2**20  # bytes; a larger file of training annotations is not read here
SPARE_BYTES = 2**28  # for predictions, curves and logs
# What a checkpoint holds beside the weights, in copies of the weights.
OPTIMIZER_COPIES = {"SGD": 1, "ADAMW": 2}


def preflight(cfg: CfgNode, mode: str, *, resuming: bool = False) -> None:
    """Raise if the run described by ``cfg`` would fail later for a reason that can be known now.

    Takes a few seconds at most, but for the distances on an evaluation surface, which are computed
    here once and cached. With several processes the main one checks, and all raise.

    Args:
        cfg: a config from ``setup``.
        mode: ``train`` or ``eval``.
        resuming: the weights come from a checkpoint, so those to start from are not needed.

    Raises:
        InputError: with all problems.
    """
    problems = list(find_problems(cfg, mode, resuming=resuming)) if comm.is_main_process() else []
    problems = comm.all_gather(problems)[0]
    if problems:
        one = len(problems) == 1
        raise InputError(
            f"{'A problem' if one else f'{len(problems)} problems'} found before the run started:\n"
            + "\n".join(f"  {number}. {text}" for number, text in enumerate(problems, start=1))
        )


def find_problems(cfg: CfgNode, mode: str, *, resuming: bool = False) -> Iterator[str]:
    """The problems that ``preflight`` raises, one sentence each."""
    key, verb = ("TRAIN", "train") if mode == "train" else ("TEST", "evaluate")
    if not cfg.DATASETS[key]:
        yield f"DATASETS.{key} is empty: name a data set to {verb} on"
    for label, check in _checks(cfg, mode, resuming):
        try:
            check()
        except Exception as error:
            if (text := mistake_text(error)) is None:
                raise
            yield f"{label}{text}"


def _checks(cfg: CfgNode, mode: str, resuming: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """What raises where the run could not succeed, and how its message begins."""
    trains, testing = mode == "train", list(cfg.DATASETS.TEST)
    names = list(dict.fromkeys([*(cfg.DATASETS.TRAIN if trains else ()), *testing]))
    for name in names:
        yield "", partial(_check_data, cfg, name, is_tested=name in testing)
    known = [name for name in names if name in DatasetCatalog]
    surfaces = {MetadataCatalog.get(name).get("surface") for name in known if name in testing}
    for surface in sorted(surfaces - {None}):
        label = f"DATASETS.TEST needs the evaluation surface {surface!r}: "
        yield label, partial(load_evaluation_surface, surface, smpl_dir(cfg))
    if trains and known == names and cfg.MODEL.DENSEPOSE_ON and cfg.INPUT.RANDOM_FLIP != "none":
        label = f"INPUT.RANDOM_FLIP {cfg.INPUT.RANDOM_FLIP}: "
        yield label, partial(symmetry_from_config, cfg)
    if cfg.TEST.AUG.ENABLED:
        for name in known:
            if name in testing:
                yield "TEST.AUG.FLIP True: ", partial(view_symmetry, cfg, name)
    weights = {} if resuming else {"MODEL.WEIGHTS": cfg.MODEL.WEIGHTS}
    if trains:
        if not resuming:
            weights["MODEL.FINE_TUNE.BACKBONE_WEIGHTS"] = cfg.MODEL.FINE_TUNE.BACKBONE_WEIGHTS
        for entry in bootstrap_entries(cfg):
            label = f"BOOTSTRAP_DATASETS {entry.DATASET}: "
            yield label, partial(check_source, entry, cfg.INPUT.FORMAT)
            weights["BOOTSTRAP_MODEL.WEIGHTS"] = cfg.BOOTSTRAP_MODEL.WEIGHTS
    for key, file in weights.items():
        if file:
            yield f"{key}: ", partial(_check_weights, file, cfg.MODEL.ZOO_DIR)


def _check_data(cfg: CfgNode, name: str, *, is_tested: bool) -> None:
    require_registered([name])
    metadata = MetadataCatalog.get(name)
    has_truth = metadata.get("has_truth", True)
    if is_tested and not has_truth:
        raise InputError(f"data set {name!r} has no annotations: it cannot be in DATASETS.TEST")
    status = next((status for status in dataset_status() if status.name == name), None)
    if status is not None:  # else registered by other code, which knows how its files look
        if status.missing:
            get = f"; get it by: {status.command}" if status.command else ""
            raise InputError(
                f"data set {name!r} lacks its {status.missing}: {status.json_path} and"
                f" {status.image_root} are expected{get}"
            )
        # A larger file to train on is read right afterwards, when the loader is built.
        if is_tested or status.json_path.stat().st_size < LARGEST_JSON:
            content = read_annotation_file(status.json_path, has_truth=has_truth)
            first = {**content, "images": content["images"][:FIRST_IMAGES], "annotations": []}
            source, root = str(status.json_path), status.image_root
            # Without images that are missing, which DATASETS.ON_BAD_RECORD is about.
            for image in check_records(first, source, image_root=root).images:
                _check_image(root / image["file_name"])
    # Annotations are read in full, as the first evaluation does, which may be hours later.
    if is_tested and cfg.MODEL.DENSEPOSE_ON:
        build_evaluator(cfg, name, Path(cfg.OUTPUT_DIR, FOLDER, name)).check()
    elif is_tested and status is not None:
        annotations_to_score(name)


def _check_image(path: Path) -> None:
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # Pillow raises many kinds
        raise InputError(
            f"image {path} cannot be read ({error}); it is damaged or cut short"
        ) from error


def _check_weights(weights: str, zoo_dir: str) -> None:
    path = resolve_weights(weights, zoo_dir)
    if not path.is_file():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*")))
        raise InputError(f"{path} does not exist{near}")
    check_weights_file(path)


def check_disk(cfg: CfgNode, model: nn.Module) -> None:
    """Refuse a run whose checkpoints will not fit on the disk of OUTPUT_DIR; all processes raise.

    Raises:
        InputError: with the space that is needed.
    """
    needed = checkpoint_bytes(cfg, sum(weight.numel() for weight in model.parameters()))
    free = comm.all_gather(shutil.disk_usage(cfg.OUTPUT_DIR).free)[0]
    if free < needed + SPARE_BYTES:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} has {free / 2**30:.1f} GB free, the checkpoints of the"
            f" run need about {(needed + SPARE_BYTES) / 2**30:.1f} GB; free some, or limit them by"
            " SOLVER.CHECKPOINTS_TO_KEEP"
        )


def checkpoint_bytes(cfg: CfgNode, num_parameters: int) -> int:
    """Disk space that the checkpoints of a run will take at most, in bytes."""
    solver = cfg.SOLVER
    periodic = solver.MAX_ITER // solver.CHECKPOINT_PERIOD if solver.CHECKPOINT_PERIOD else 0
    if solver.CHECKPOINTS_TO_KEEP:
        periodic = min(periodic, solver.CHECKPOINTS_TO_KEEP)
    copies = 1 + OPTIMIZER_COPIES.get(solver.OPTIMIZER, 2) + solver.EMA.ENABLED
    weights = 4 * num_parameters
    # model_final and the file being written beside it, and model_best, which has the weights alone.
    return weights * copies * (periodic + 2) + weights
