"""Data loaders of a run: detectron2's, with our mapper, and errors that name the image."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, MapDataset, build_detection_test_loader
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import RepeatFactorTrainingSampler, TrainingSampler
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from densepose.data.coco import training_records
from densepose.data.mapper import DensePoseMapper
from densepose.errors import InputError, mistake_text
from densepose.evaluation.predictions import prediction_paths, read_prediction
from densepose.workers import start_data_worker

from .seeding import seeded

logger = logging.getLogger(__name__)


class Draw(NamedTuple):
    """One record drawn from the training data."""

    seed: int  # of the run
    number: int  # of the draw, counted over all processes
    index: int  # of the record


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
            InputError: the image or its annotations are not usable.
            RuntimeError: a fault of the program.
        """
        try:
            return self.mapper(record)
        except Exception as error:
            text = mistake_text(error)
            message = text or str(error) or type(error).__name__
            file_name = str(record.get("file_name", "?"))
            if not message.startswith(file_name):
                message = f"{file_name}: image {record.get('image_id', '?')}: {message}"
            raise (RuntimeError if text is None else InputError)(message) from error


def num_workers(wanted: int) -> int:
    """Worker processes of one loader: DATALOADER.NUM_WORKERS, but not more than there are cores."""
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return min(wanted, max(1, cores // comm.get_local_size()))


class ResumableBatches(Sampler[list[Draw]]):
    """Endless batches of draws, grouped as detectron2 does, which can begin at any batch.

    The order follows from the seed alone.
    """

    def __init__(
        self,
        build_sampler: Callable[[int], Iterable[int]],
        groups: Sequence[int],
        batch_size: int,
        *,
        seed: int,
    ) -> None:
        """Args: ``build_sampler``: seed -> endless indices; ``groups``: that of each record."""
        self.build_sampler = build_sampler
        self.groups = groups
        self.batch_size = batch_size
        self.seed = seed
        self.first_batch = 0

    def __iter__(self) -> Iterator[list[Draw]]:
        """Batches of images of one group, from ``first_batch`` on."""
        return itertools.islice(self._all(), self.first_batch, None)

    def _all(self) -> Iterator[list[Draw]]:
        waiting = defaultdict(list)
        rank, world = comm.get_rank(), comm.get_world_size()
        for number, index in enumerate(self.build_sampler(self.seed)):
            batch = waiting[self.groups[index]]
            batch.append(Draw(self.seed, number * world + rank, index))
            if len(batch) == self.batch_size:
                yield batch.copy()
                batch.clear()


class _SeededRecords(Dataset[Any]):
    """Maps the record of a draw with random numbers that follow from the draw."""

    def __init__(
        self, records: list[dict[str, Any]], mapper: Callable[[dict[str, Any]], Any]
    ) -> None:
        # detectron2's list is serialised, so that workers share its memory.
        self.mapped = MapDataset(DatasetFromList(records, copy=False), mapper)

    def __len__(self) -> int:
        return len(self.mapped)

    def __getitem__(self, draw: Draw) -> Any:
        with seeded(draw.seed, draw.number):
            return self.mapped[draw.index]


def build_train_loader(
    cfg: CfgNode,
    mapper: Callable[[dict[str, Any]], Any] | None = None,
    records: list[dict[str, Any]] | None = None,
) -> DataLoader:
    """Endless shuffled batches of this process's shard of SOLVER.IMS_PER_BATCH images.

    The keys of DATALOADER act as in detectron2.

    Args:
        cfg: the config.
        mapper: record -> network input; ``DensePoseMapper`` by default.
        records: detectron2's dataset dicts; those of DATASETS.TRAIN by default.

    Raises:
        InputError: the batch cannot be divided among the processes.
    """
    batch, world = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch < world or batch % world:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH {batch} cannot be divided among {world} processes; use"
            f" {batch // world * world or world}"
        )
    records = training_records(cfg) if records is None else records
    grouping = cfg.DATALOADER.ASPECT_RATIO_GROUPING
    return DataLoader(
        _SeededRecords(records, NamedErrors(mapper or DensePoseMapper(cfg, is_train=True))),
        batch_sampler=ResumableBatches(
            functools.partial(_build_sampler, cfg, records),
            [int(grouping and record["width"] > record["height"]) for record in records],
            batch // world,
            seed=cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed(),
        ),
        num_workers=num_workers(cfg.DATALOADER.NUM_WORKERS),
        collate_fn=trivial_batch_collator,
        worker_init_fn=start_data_worker,
    )


def _build_sampler(cfg: CfgNode, records: list[dict[str, Any]], seed: int) -> Iterable[int]:
    loader = cfg.DATALOADER
    if loader.SAMPLER_TRAIN == "TrainingSampler":
        return TrainingSampler(len(records), seed=seed)
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        records, loader.REPEAT_THRESHOLD, sqrt=loader.REPEAT_SQRT
    )
    return RepeatFactorTrainingSampler(factors, seed=seed)


def build_test_loader(cfg: CfgNode, name: str) -> DataLoader:
    """This process's share of one data set, one image at a time, in order."""
    mapper: Callable[[dict[str, Any]], dict[str, Any]] = DensePoseMapper(cfg, is_train=False)
    fcn = cfg.MODEL.DP_FCN
    is_fcn = cfg.MODEL.META_ARCHITECTURE == "DensePoseFCN"
    if is_fcn and fcn.PEOPLE not in ("ground_truth", "foreground"):
        mapper = GivenPeople(mapper, fcn.PEOPLE, cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST)
    loader = build_detection_test_loader(
        cfg,
        name,
        mapper=NamedErrors(mapper),
        num_workers=num_workers(cfg.DATALOADER.NUM_WORKERS),
    )
    loader.worker_init_fn = start_data_worker
    return loader


class GivenPeople:
    """Calls a mapper and adds ``people``: boxes and scores that another model found."""

    def __init__(
        self, mapper: Callable[[dict[str, Any]], dict[str, Any]], folder: str, min_score: float
    ) -> None:
        """Args: ``folder`` as an evaluation writes it; lower scores than ``min_score`` are dropped.

        Raises:
            InputError: it is not a folder of predictions.
        """
        self.mapper = mapper
        self.paths = {path.stem: path for path in prediction_paths(folder)}
        self.folder = folder
        self.min_score = min_score

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map one record, whose image must have predictions in the folder."""
        mapped = self.mapper(record)
        path = self.paths.get(f"{record['image_id']:012d}")
        if path is None:
            raise InputError(
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
