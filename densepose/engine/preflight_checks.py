"""What a run will need, checked before its first iteration; all problems in one message."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from torch import nn

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm

from densepose.data.coco import require_registered
from densepose.data.registration import dataset_status, smpl_dir, symmetry_from_config
from densepose.files import did_you_mean
from densepose.model_zoo.files import check_weights_file, resolve_weights
from densepose.structures.records import read_annotation_file
from densepose.surface.evaluation_surface import load_evaluation_surface

from .bootstrap import source_problems
from .evaluation import annotation_problems, augmentation_problems

FIRST_IMAGES = 3  # images opened per data set
LARGEST_JSON = 64 * 2**20  # bytes; a larger file of training annotations is not read here
SPARE_BYTES = 2**28  # for predictions, curves and logs
# What a checkpoint holds beside the weights, in copies of the weights.
OPTIMIZER_COPIES = {"SGD": 1, "ADAMW": 2}


class PreflightError(ValueError):
    """A run cannot succeed; the message lists every problem that was found."""


def preflight(cfg: CfgNode, mode: str) -> None:
    """Raise if the run described by ``cfg`` would fail later for a reason that can be known now.

    Takes a few seconds at most, but for the distances on an evaluation surface, which are computed
    here once and cached. With several processes the main one checks, and all raise.

    Args:
        cfg: a config from ``setup``.
        mode: ``train`` or ``eval``.

    Raises:
        PreflightError: with all problems.
    """
    problems = list(find_problems(cfg, mode)) if comm.is_main_process() else []
    problems = comm.all_gather(problems)[0]
    if problems:
        one = len(problems) == 1
        raise PreflightError(
            f"{'A problem' if one else f'{len(problems)} problems'} found before the run started:\n"
            + "\n".join(f"  {number}. {text}" for number, text in enumerate(problems, start=1))
        )


def find_problems(cfg: CfgNode, mode: str) -> Iterator[str]:
    """The problems that ``preflight`` raises, one sentence each."""
    training = list(cfg.DATASETS.TRAIN) if mode == "train" else []
    testing = list(cfg.DATASETS.TEST)
    if mode == "train" and not training:
        yield "DATASETS.TRAIN is empty: name a data set to train on"
    if mode == "eval" and not testing:
        yield "DATASETS.TEST is empty: name a data set to evaluate on"
    names = dict.fromkeys([*training, *testing])
    of_data = [text for name in names for text in _data_problems(name, testing)]
    yield from of_data
    yield from _surface_problems(cfg)
    yield from _flip_problems(cfg, training)
    yield from (text for text in annotation_problems(cfg) if text not in "\n".join(of_data))
    yield from augmentation_problems(cfg)
    if mode == "train":
        yield from source_problems(cfg)
        if cfg.BOOTSTRAP_DATASETS:
            key, weights = "BOOTSTRAP_MODEL.WEIGHTS", cfg.BOOTSTRAP_MODEL.WEIGHTS
            yield from _weights_problems(key, weights, cfg.MODEL.ZOO_DIR)
    yield from _weights_problems("MODEL.WEIGHTS", cfg.MODEL.WEIGHTS, cfg.MODEL.ZOO_DIR)
    if mode == "train":
        key = "MODEL.FINE_TUNE.BACKBONE_WEIGHTS"
        yield from _weights_problems(key, cfg.MODEL.FINE_TUNE.BACKBONE_WEIGHTS, cfg.MODEL.ZOO_DIR)
    yield from _folder_problems(cfg)


def _data_problems(name: str, testing: Sequence[str]) -> Iterator[str]:
    try:
        require_registered([name])
    except KeyError as error:
        yield error.args[0]
        return
    status = next((status for status in dataset_status() if status.name == name), None)
    if status is None:
        return  # registered by other code, which knows how its files look
    if status.missing:
        mend = f"; get it by: {status.mend}" if status.mend else ""
        yield (
            f"data set {name!r} lacks its {status.missing}: {status.json_path} and"
            f" {status.image_root} are expected{mend}"
        )
        return
    if status.json_path.stat().st_size > LARGEST_JSON and name not in testing:
        return  # read right afterwards, when the loader is built
    try:
        has_truth = MetadataCatalog.get(name).get("has_truth", True)
        content = read_annotation_file(status.json_path, has_truth=has_truth)
    except ValueError as error:
        yield f"data set {name!r}: {error}"
        return
    names = [image["file_name"] for image in content["images"][:FIRST_IMAGES]]
    for file_name in names:
        problem = image_problem(status.image_root / file_name)
        if problem:
            yield f"data set {name!r}: {problem}"


def image_problem(path: Path) -> str | None:
    """Why an image cannot be read; None when it can."""
    if not path.is_file():
        return f"image {path} does not exist"
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # Pillow raises many kinds
        return f"image {path} cannot be read ({error}); it is damaged or cut short"
    return None


def _surface_problems(cfg: CfgNode) -> Iterator[str]:
    names = [name for name in cfg.DATASETS.TEST if name in DatasetCatalog]
    for name in names:
        if not MetadataCatalog.get(name).get("has_truth", True):
            yield f"data set {name!r} has no annotations: it cannot be in DATASETS.TEST"
    surfaces = {MetadataCatalog.get(name).get("surface") for name in names} - {None}
    for surface in sorted(surfaces):
        try:
            load_evaluation_surface(surface, smpl_dir(cfg))
        except (ValueError, OSError) as error:
            yield f"DATASETS.TEST needs the evaluation surface {surface!r}: {error}"


def _flip_problems(cfg: CfgNode, training: Sequence[str]) -> Iterator[str]:
    if cfg.INPUT.RANDOM_FLIP == "none" or not cfg.MODEL.DENSEPOSE_ON or not training:
        return
    if all(name in DatasetCatalog for name in training):
        try:
            symmetry_from_config(cfg)
        except (ValueError, OSError) as error:
            yield f"INPUT.RANDOM_FLIP {cfg.INPUT.RANDOM_FLIP}: {error}"


def _weights_problems(key: str, weights: str, zoo_dir: str) -> Iterator[str]:
    if not weights:
        return
    try:
        path = resolve_weights(weights, zoo_dir)
    except (KeyError, ValueError, FileNotFoundError) as error:  # says by itself how to mend it
        yield f"{key} {weights}: {error.args[0] if isinstance(error, KeyError) else error}"
        return
    except Exception as error:  # the many kinds of network trouble
        yield f"{key} {weights} cannot be fetched ({error}); give the path of a file"
        return
    if not path.is_file():
        yield f"{key} {weights} does not exist" + did_you_mean(
            path.name, (file.name for file in path.parent.glob("*"))
        )
        return
    try:
        check_weights_file(path)
    except ValueError as error:
        yield f"{key} {error}"


def _folder_problems(cfg: CfgNode) -> Iterator[str]:
    folder = Path(cfg.OUTPUT_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield f"OUTPUT_DIR {folder} cannot be written ({error})"


def check_disk(cfg: CfgNode, model: nn.Module) -> None:
    """Refuse a run whose checkpoints will not fit on the disk of OUTPUT_DIR; all processes raise.

    Raises:
        PreflightError: with the space that is needed.
    """
    needed = checkpoint_bytes(cfg, sum(weight.numel() for weight in model.parameters()))
    free = comm.all_gather(shutil.disk_usage(cfg.OUTPUT_DIR).free)[0]
    if free < needed + SPARE_BYTES:
        raise PreflightError(
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
