from __future__ import annotations

import pickle
from multiprocessing.reduction import ForkingPickler
from operator import itemgetter

import pytest
import torch
from torch.utils.data import DataLoader

from densepose.engine.worker_messages import OneMessage, _Message
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.dense_labels import DenseLabels


def record(number: int) -> dict:
    people = DensePoseAnnotations.empty(2)
    return {
        "file_name": f"{number}.jpg",
        "image": torch.full((3, 4, 5), number, dtype=torch.uint8),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "nothing": torch.zeros(0, 2),
        "people": people,
        "labels": DenseLabels.empty(1, 8),
    }


def test_a_message_arrives_as_its_content():
    sent = record(3)
    got = pickle.loads(bytes(ForkingPickler.dumps(_Message(sent))))
    assert type(got) is dict and got["file_name"] == "3.jpg"
    for name in ("image", "half", "nothing"):
        assert got[name].dtype == sent[name].dtype and torch.equal(got[name], sent[name])
    assert torch.equal(got["people"].boxes_xyxy_px, sent["people"].boxes_xyxy_px)
    assert torch.equal(got["labels"].part, sent["labels"].part)
    got["image"] += 1  # a copy that may be written to
    assert int(sent["image"].max()) == 3


def test_tensors_are_not_shared_one_by_one(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_):
        raise AssertionError("a tensor was shared")

    sent = record(1)
    del sent["half"]
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", refuse, raising=False)
    monkeypatch.setattr(torch.UntypedStorage, "_share_filename_cpu_", refuse, raising=False)
    assert pickle.loads(bytes(ForkingPickler.dumps(_Message(sent))))["file_name"] == "1.jpg"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_the_same_with_and_without_workers(workers: int):
    mapped = [OneMessage(record)] * 3
    loader = DataLoader(_Mapped(mapped), num_workers=workers, collate_fn=itemgetter(0))
    found = list(loader)
    assert [type(item) for item in found] == [dict] * 3
    assert [int(item["image"][0, 0, 0]) for item in found] == [0, 1, 2]


class _Mapped(torch.utils.data.Dataset):
    def __init__(self, mappers: list[OneMessage]) -> None:
        self.mappers = mappers

    def __len__(self) -> int:
        return len(self.mappers)

    def __getitem__(self, index: int):
        return self.mappers[index](index)
