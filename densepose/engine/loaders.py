"""Data loaders of a run: detectron2's, with our mapper, and errors that name the image."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from densepose.data.mapper import DensePoseMapper
from densepose.data.training_records import training_records
from densepose.evaluation.predictions import prediction_paths, read_prediction

from .worker_messages import OneMessage

logger = logging.getLogger(__name__)


class ImageError(RuntimeError):
    """An image or its annotations could not be turned into network input."""


class NamedErrors:
    """Calls a mapper; whatever goes wrong is raised again with the file and the image id.

    Without this a worker process dies with the bare message of a library, and nobody knows which
    of 26,000 files it was about.
    """

    def __init__(self, mapper: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.mapper = mapper

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map one record.

        Raises:
            ImageError: the mapper failed.
        """
        try:
            return self.mapper(record)
        except Exception as error:
            message = str(error) or type(error).__name__
            file_name = str(record.get("file_name", "?"))
            if not message.startswith(file_name):
                message = f"{file_name}: image {record.get('image_id', '?')}: {message}"
            raise ImageError(message) from error


def num_workers(wanted: int, processes: int | None = None) -> int:
    """Worker processes of one loader: what the config wants, but not more than there are cores.

    Args:
        wanted: DATALOADER.NUM_WORKERS.
        processes: training processes on this machine; the present run's when left out.
    """
    if processes is None:
        processes = comm.get_local_size()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(wanted, max(1, cores // processes))


def build_train_loader(cfg: CfgNode) -> DataLoader:
    """Endless shuffled batches of this process's share of SOLVER.IMS_PER_BATCH images."""
    return build_detection_train_loader(
        cfg,
        dataset=training_records(cfg),
        mapper=OneMessage(NamedErrors(DensePoseMapper(cfg, is_train=True))),
        num_workers=num_workers(cfg.DATALOADER.NUM_WORKERS),
    )


def build_test_loader(cfg: CfgNode, name: str) -> DataLoader:
    """This process's share of one data set, one image at a time, in order."""
    mapper: Callable[[dict[str, Any]], dict[str, Any]] = DensePoseMapper(cfg, is_train=False)
    fcn = cfg.MODEL.DP_FCN
    is_fcn = cfg.MODEL.META_ARCHITECTURE == "DensePoseFCN"
    if is_fcn and fcn.PEOPLE not in ("ground_truth", "foreground"):
        mapper = GivenPeople(mapper, fcn.PEOPLE, cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST)
    return build_detection_test_loader(
        cfg,
        name,
        mapper=OneMessage(NamedErrors(mapper)),
        num_workers=num_workers(cfg.DATALOADER.NUM_WORKERS),
    )


class GivenPeople:
    """Calls a mapper and adds ``people``: boxes and scores that another model found."""

    def __init__(
        self, mapper: Callable[[dict[str, Any]], dict[str, Any]], folder: str, min_score: float
    ) -> None:
        """Remember where predictions are.

        Args:
            mapper: of test records.
            folder: of predictions, as an evaluation writes it.
            min_score: people with a lower score are left out.

        Raises:
            FileNotFoundError: it is no folder of predictions.
        """
        self.mapper = mapper
        self.paths = {path.stem: path for path in prediction_paths(folder)}
        self.folder = folder
        self.min_score = min_score

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map one record.

        Raises:
            FileNotFoundError: its image has no predictions in the folder.
        """
        mapped = self.mapper(record)
        path = self.paths.get(f"{record['image_id']:012d}")
        if path is None:
            raise FileNotFoundError(
                f"{self.folder}: no predictions for image {record['image_id']}; MODEL.DP_FCN.PEOPLE"
                " has to name predictions of the data set that is tested"
            )
        found = read_prediction(path)
        height, width = mapped["image"].shape[-2:]
        scale = torch.tensor(
            [width / found.image_size[1], height / found.image_size[0]] * 2, dtype=torch.float32
        )
        people = Instances((height, width))
        people.pred_boxes = Boxes(torch.from_numpy(found.boxes_xyxy_px.copy()) * scale)
        people.scores = torch.from_numpy(found.scores.copy())
        mapped["people"] = people[people.scores >= self.min_score]
        return mapped
