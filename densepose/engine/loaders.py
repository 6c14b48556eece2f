"""Data loaders of a run: detectron2's, with our mapper, and errors that name the image."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.utils import comm

from densepose.data.mapper import DensePoseMapper
from densepose.data.training_records import training_records

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
        mapper=NamedErrors(DensePoseMapper(cfg, is_train=True)),
        num_workers=num_workers(cfg.DATALOADER.NUM_WORKERS),
    )


def build_test_loader(cfg: CfgNode, name: str) -> DataLoader:
    """This process's share of one data set, one image at a time, in order."""
    return build_detection_test_loader(
        cfg,
        name,
        mapper=NamedErrors(DensePoseMapper(cfg, is_train=False)),
        num_workers=num_workers(cfg.DATALOADER.NUM_WORKERS),
    )
