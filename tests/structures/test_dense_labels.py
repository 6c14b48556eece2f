from __future__ import annotations

from dataclasses import replace

import torch

from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.dense_labels import DenseLabels


def labels(count: int, first: int = 1, grid: int = 4) -> DenseLabels:
    """Person i is all of part first + i."""
    part = torch.arange(first, first + count, dtype=torch.uint8)[:, None, None]
    part = part.expand(count, grid, grid)
    return DenseLabels(part, torch.stack([part, 2 * part], dim=1), 3 * part)


def test_selection_repeats_and_reorders_people():
    chosen = labels(3)[torch.tensor([2, 0, 2])]
    assert chosen.part[:, 0, 0].tolist() == [3, 1, 3]
    assert chosen.uv[:, 1, 0, 0].tolist() == [6, 2, 6]
    assert chosen.confidence[:, 0, 0].tolist() == [9, 3, 9]


def test_empty_labels_know_nothing():
    empty = DenseLabels.empty(2, 8)
    assert len(empty) == 2
    assert empty.uv.shape == (2, 2, 8, 8)
    assert not any(tensor.any() for tensor in vars(empty).values())
    assert len(DenseLabels.cat([DenseLabels.empty(0, 8), empty])) == 2


def test_people_take_their_labels_along():
    people = replace(DensePoseAnnotations.empty(3), dense=labels(3))
    assert people[torch.tensor([False, True, True])].dense.part[:, 0, 0].tolist() == [2, 3]
    assert DensePoseAnnotations.empty(3)[:1].dense is None


def test_people_without_labels_among_others_get_empty_ones():
    known = replace(DensePoseAnnotations.empty(2), dense=labels(2))
    joined = DensePoseAnnotations.cat([DensePoseAnnotations.empty(1), known])
    assert joined.dense.part[:, 0, 0].tolist() == [0, 1, 2]
    unknown = DensePoseAnnotations.cat([DensePoseAnnotations.empty(1)] * 2)
    assert unknown.dense is None
