from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from densepose.modeling.losses import DensePoseChartLoss
from densepose.modeling.losses.region import region_nll
from densepose.modeling.losses.targets import coarse_targets
from densepose.structures.body_parts import COARSE_OF_PART
from tests.support.random_people import jittered, matched_proposals, random_output, random_people


def test_by_hand():
    logits = torch.full((2, 25), -torch.inf)
    logits[0, [1, 2, 3]] = torch.tensor([2.0, 3.0, 5.0]).log()  # torso back, torso front, hand
    logits[1, [3, 15]] = 0.0
    # region 1 is the torso (parts 1 and 2), region 2 the right hand (part 3)
    got = region_nll(logits, torch.tensor([1, 2]))
    torch.testing.assert_close(got, torch.tensor([-math.log(0.5), -math.log(0.5)]))


def test_equals_the_definition_written_as_a_loop():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 25, generator=g)
    region = torch.randint(0, 15, (40,), generator=g)
    want = [
        -math.log(sum(row.softmax(0)[p].item() for p in range(25) if COARSE_OF_PART[p] == r))
        for row, r in zip(logits, region.tolist(), strict=True)
    ]
    torch.testing.assert_close(region_nll(logits, region), torch.tensor(want))


def test_front_and_back_cost_the_same_but_another_limb_costs_more():
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 25, generator=g)
    swapped = logits.clone()
    swapped[:, [15, 17]] = logits[:, [17, 15]]  # front and back of the left upper arm
    region = torch.tensor([10])
    torch.testing.assert_close(region_nll(swapped, region), region_nll(logits, region))
    louder = logits.clone()
    louder[:, 16] += 1.0  # the right arm
    assert region_nll(louder, region) > region_nll(logits, region)


def test_gradcheck():
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 25, generator=g, dtype=torch.float64, requires_grad=True)
    region = torch.tensor([0, 1, 2, 9, 13, 14])
    assert torch.autograd.gradcheck(lambda x: region_nll(x, region), logits)


def test_refuses_parts_it_has_no_regions_for():
    with pytest.raises(ValueError, match="regions are known for 24 parts, the part maps have 3"):
        region_nll(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))


def test_the_loss_reads_the_masks_where_a_region_is_annotated():
    people, output = random_people(3), random_output(3, coarse=2)
    boxes = jittered(people.boxes_xyxy_px, 8.0)
    losses = DensePoseChartLoss(region_weight=0.5)([matched_proposals(people, boxes)], output)
    region = coarse_targets(boxes, people, output.size)
    values = [
        region_nll(output.part_logits[n, :, i, j][None], region[n, i, j][None])
        for n, i, j in (region > 0).nonzero().tolist()
    ]
    want = 0.5 * torch.cat(values).mean()
    torch.testing.assert_close(losses["loss_densepose_R"], want)


def test_people_without_masks_give_zero_that_trains():
    people, output = random_people(2), random_output(2, coarse=2)
    people = replace(people, has_masks=torch.zeros(2, dtype=torch.bool))
    losses = DensePoseChartLoss(region_weight=1.0)(
        [matched_proposals(people, people.boxes_xyxy_px)], output
    )
    assert losses["loss_densepose_R"].item() == 0
    (gradient,) = torch.autograd.grad(losses["loss_densepose_R"], output.part_logits)
    assert gradient.abs().sum().item() == 0


def test_without_weight_there_is_no_such_loss():
    people, output = random_people(1), random_output(1, coarse=2)
    losses = DensePoseChartLoss()([matched_proposals(people, people.boxes_xyxy_px)], output)
    assert "loss_densepose_R" not in losses
