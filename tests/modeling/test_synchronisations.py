"""How often a training step and decoding would wait for a GPU, counted on CPU.

The operators below have to know a value on the host: their result's shape, or a Python number.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from densepose.modeling.inference import decode_plainly
from densepose.modeling.losses import DensePoseChartLoss
from densepose.modeling.losses.dense_pixels import DenseWeights
from densepose.modeling.losses.targets import Matched
from tests.support.random_people import matched_proposals, random_output, random_people, with_labels

WAITING = {
    "aten::nonzero",
    "aten::_local_scalar_dense",  # item, tolist of one value, bool
    "aten::masked_select",
    "aten::bincount",
    "aten::_unique2",
    "aten::unique_consecutive",
}


class WaitCounter(TorchDispatchMode):
    """Counts calls of operators that wait, and boolean masks as indices."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        if name in WAITING:
            self.found[name] += 1
        if name in ("aten::index", "aten::index_put_", "aten::index_put"):
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            self.found["mask as index"] += len(masks)
        if name == "aten::repeat_interleave" and not (kwargs or {}).get("output_size"):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def test_the_counter_counts():
    with WaitCounter() as counter:
        values = torch.arange(4)
        values[values > 1].sum().item()
        values.nonzero()
        values[torch.tensor([1, 2])]
        torch.repeat_interleave(values)
    assert counter.found["mask as index"] == counter.found["aten::nonzero"] == 1
    assert counter.found["aten::repeat_interleave"] == 1
    assert counter.found["aten::_local_scalar_dense"] == 1


@pytest.mark.parametrize(
    ("loss", "most"),
    [
        # The annotations of the proposals are gathered once; points and pixels are not selected.
        (DensePoseChartLoss(), 1),
        (DensePoseChartLoss(region_weight=1.0), 2),
    ],
    ids=["plain", "with regions"],
)
def test_losses_wait_once_for_each_selection(loss: DensePoseChartLoss, most: int):
    people = random_people(3)
    proposals = matched_proposals(people)
    proposals.gt_densepose = Matched(people, torch.arange(3))
    output = random_output(3)
    loss([proposals], output)  # tables are made once
    with WaitCounter() as counter:
        sum(loss([proposals], output).values()).backward()
    assert counter.found.total() <= most, counter.found


def test_dense_targets_wait_for_their_cells_and_counts():
    people = with_labels(3)
    output = random_output(3)
    loss = DensePoseChartLoss(dense=DenseWeights(part_balance=0.5))
    with WaitCounter() as counter:
        sum(loss([matched_proposals(people)], output).values()).backward()
    assert counter.found.total() <= 3, counter.found


def test_decoding_a_box_does_not_wait():
    with WaitCounter() as counter:
        decode_plainly(random_output(1), (40, 30))
    assert not counter.found
