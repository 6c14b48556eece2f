from __future__ import annotations

import gc
from itertools import islice
from pathlib import Path

import pytest
import torch

from detectron2.config import CfgNode
from detectron2.data.samplers import TrainingSampler
from detectron2.data.samplers.grouped_batch_sampler import GroupedBatchSampler

from densepose.config import get_densepose_cfg
from densepose.data.registration import register_from_config
from densepose.engine import loaders
from densepose.engine.loaders import (
    NamedErrors,
    ResumableBatches,
    build_test_loader,
    build_train_loader,
    num_workers,
)
from densepose.errors import InputError, mistake_text
from tests.support.tiny_dataset import write_tiny_densepose_coco


def tiny_config(folder: Path, workers: int = 0) -> CfgNode:
    annotations, images = write_tiny_densepose_coco(folder, num_images=4)
    cfg = get_densepose_cfg()
    entry = {"NAME": "tiny_loader", "ANNOTATIONS": str(annotations), "IMAGES": str(images)}
    cfg.DATASETS.REGISTER = [{**entry, "SURFACE": "template"}]
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("tiny_loader",)
    cfg.DATALOADER.NUM_WORKERS = workers
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (64,), 64
    register_from_config(cfg)
    return cfg


def test_batches_have_people_and_the_test_order_is_that_of_the_file(tmp_path: Path):
    cfg = tiny_config(tmp_path)
    batch = next(iter(build_train_loader(cfg)))
    assert len(batch) == 2 and all(len(record["instances"]) for record in batch)
    ids = [record["image_id"] for (record,) in build_test_loader(cfg, "tiny_loader")]
    assert ids == [1, 2, 3, 4]


def numbers(batches: ResumableBatches, count: int) -> list[list[int]]:
    return [[draw.index for draw in batch] for batch in islice(batches, count)]


def test_batches_are_those_of_detectron2_and_can_begin_at_any(monkeypatch: pytest.MonkeyPatch):
    wide = [0, 1, 1, 0, 1, 0, 0, 1, 1]
    batches = ResumableBatches(lambda seed: TrainingSampler(9, seed=seed), wide, 2, seed=5)
    theirs = GroupedBatchSampler(TrainingSampler(9, seed=5), wide, 2)
    expected = [list(map(int, batch)) for batch in islice(theirs, 20)]
    assert numbers(batches, 20) == expected
    batches.first_batch = 13
    assert numbers(batches, 7) == expected[13:]
    batches.seed = 6
    assert numbers(batches, 7) != expected[13:]


def test_the_batch_must_be_divisible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaders.comm, "get_world_size", lambda: 3)
    cfg = tiny_config(tmp_path)
    for batch, fitting in ((16, 15), (2, 3)):
        cfg.SOLVER.IMS_PER_BATCH = batch
        message = f"IMS_PER_BATCH {batch} cannot be divided among 3 processes; use {fitting}"
        with pytest.raises(ValueError, match=message):
            build_train_loader(cfg)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_also_by_a_worker(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
):
    # How long the loader waits for workers of an iteration that was broken off.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    cfg = tiny_config(tmp_path, workers)
    image = tmp_path / "images" / "000000000003.jpg"
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(InputError) as caught:
        list(build_test_loader(cfg, "tiny_loader"))
    message = mistake_text(caught.value)
    assert message.startswith(f"{image}: image 3 cannot be decoded")
    del caught
    gc.collect()  # the broken-off loader ends its worker now, not in somebody else's test


def test_an_error_without_a_name_gets_one():
    def fail(record: dict[str, object]) -> dict[str, object]:
        raise ValueError("bad value")

    with pytest.raises(RuntimeError, match=r"^a.jpg: image 5: bad value$"):
        NamedErrors(fail)({"file_name": "a.jpg", "image_id": 5})


def test_workers_are_not_more_than_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaders.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for processes, workers in ((1, 4), (2, 4), (4, 2), (16, 1)):
        monkeypatch.setattr(loaders.comm, "get_local_size", lambda n=processes: n)
        assert (num_workers(4), num_workers(0)) == (workers, 0)
