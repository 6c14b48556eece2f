"""Mask and keypoint branches beside the DensePose branch."""

from __future__ import annotations

import copy

import pytest
import torch

from detectron2.modeling import StandardROIHeads
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage

from densepose.modeling.losses.targets import MATCH, indexed_target
from densepose.ops.accelerate import accelerate
from tests.support.models import LEVELS, batch, parameters_without_gradient, quick_model, train_step
from tests.support.random_people import IMAGE_SIZE, target, with_keypoints


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return quick_model("multitask_cpu")


@pytest.mark.parametrize(
    "counts", [(2, 1), (1, 0), (0, 0)], ids=["people", "one image empty", "nobody"]
)
def test_every_batch_trains_every_branch(model: torch.nn.Module, counts: tuple[int, ...]):
    losses = train_step(model, *(with_keypoints(target(n, seed=n)) for n in counts))
    branches = ("loss_densepose_I", "loss_mask", "loss_keypoint")
    assert all(torch.isfinite(value) for value in losses.values())
    assert all((losses[name].item() > 0) == bool(sum(counts)) for name in branches)
    assert parameters_without_gradient(model) == []


def test_sampled_proposals_share_the_masks_of_their_people(model: torch.nn.Module):
    model.train()
    people = with_keypoints(target(2))
    proposals = Instances(
        IMAGE_SIZE, proposal_boxes=people.gt_boxes, objectness_logits=torch.zeros(2)
    )
    with EventStorage():
        (sampled,) = model.roi_heads.label_and_sample_proposals(
            [proposals], [indexed_target(people)]
        )
    assert sampled.gt_masks.source is people.gt_masks
    assert torch.equal(sampled.gt_masks.index, sampled.get(MATCH))


def test_a_limit_of_proposals_holds_for_mask_and_keypoint_branches(
    model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
):
    heads = copy.copy(model.roi_heads).train()
    heads.branch_rois_per_person = 2
    image = indexed_target(with_keypoints(target(2)))[torch.tensor([0, 1, 0, 0, 1, 0])]
    image.proposal_boxes = image.gt_boxes
    image.gt_classes[1] = 1  # background

    def count(*arguments: object) -> dict[str, int]:
        return {"proposals": len(arguments[-1][0])}

    monkeypatch.setattr(StandardROIHeads, "_forward_mask", count)
    monkeypatch.setattr("densepose.modeling.roi_heads.keypoint_losses", count)
    features = {name: torch.randn(1, 16, 96 // s, 128 // s) for name, s in LEVELS.items()}
    assert heads._forward_mask(features, [image]) == {"proposals": 3}
    assert heads._forward_keypoint(features, [image]) == {"proposals": 3}
    heads.branch_rois_per_person = 0
    assert heads._forward_keypoint(features, [image]) == {"proposals": 5}


def test_detections_carry_all_outputs(model: torch.nn.Module):
    model.eval()
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    with torch.no_grad():
        (output,) = model(batch(target(1)))
    people = output["instances"]
    assert len(people) > 0
    assert people.pred_masks.shape == (len(people), 96, 128)
    assert people.pred_keypoints.shape == (len(people), 17, 3)
    assert len(people.pred_densepose) == len(people)


@pytest.mark.parametrize("name", ["multitask_cpu", "cascade_cpu"])
def test_works_with_the_operators_for_cpu(name: str):
    """These run channels-last, which detectron2's keypoint functions cannot read."""
    plain, fast = quick_model(name), quick_model(name)
    fast.load_state_dict(plain.state_dict())
    accelerate(fast)
    for counts in ((2, 1), (0, 0)):
        people = [with_keypoints(target(n, seed=n)) for n in counts]
        torch.manual_seed(0)
        want = train_step(plain, *people)
        torch.manual_seed(0)
        got = train_step(fast, *people)
        for loss, value in want.items():
            torch.testing.assert_close(got[loss], value, rtol=1e-3, atol=1e-4)
    for one in (plain, fast):
        one.eval()
        one.roi_heads.box_predictor.test_score_thresh = 0.0
    with torch.no_grad():
        want, got = (one(batch(target(1)))[0]["instances"] for one in (plain, fast))
    assert len(got) == len(want) > 0
    torch.testing.assert_close(got.pred_keypoints, want.pred_keypoints, rtol=1e-3, atol=1e-3)
