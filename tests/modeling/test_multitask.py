"""Mask and keypoint branches beside the DensePose branch."""

from __future__ import annotations

import pytest
import torch

from detectron2.structures import Instances
from detectron2.utils.events import EventStorage

from densepose.modeling.matches import light_target

from .scenes import IMAGE_SIZE, target, with_keypoints
from .test_roi_heads import batch, parameters_without_gradient, quick_model, train_step


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


def test_people_without_keypoints_train_the_rest(model: torch.nn.Module):
    losses = train_step(model, with_keypoints(target(2), visible=False), target(0))
    assert losses["loss_keypoint"].item() == 0
    assert losses["loss_mask"].item() > 0 and losses["loss_densepose_I"].item() > 0
    assert parameters_without_gradient(model) == []


def test_sampled_proposals_share_the_masks_of_their_people(model: torch.nn.Module):
    model.train()
    people = with_keypoints(target(2))
    proposals = Instances(
        IMAGE_SIZE, proposal_boxes=people.gt_boxes, objectness_logits=torch.zeros(2)
    )
    with EventStorage():
        (sampled,) = model.roi_heads.label_and_sample_proposals([proposals], [light_target(people)])
    assert sampled.gt_masks.masks is people.gt_masks
    assert torch.equal(sampled.gt_masks.person, sampled.gt_person)


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


def test_no_detection_gives_empty_outputs(model: torch.nn.Module):
    model.eval()
    before = model.roi_heads.box_predictor.test_score_thresh
    model.roi_heads.box_predictor.test_score_thresh = 1.1
    with torch.no_grad():
        (output,) = model(batch(target(1)))
    model.roi_heads.box_predictor.test_score_thresh = before
    people = output["instances"]
    assert people.pred_keypoints.shape == (0, 17, 3)
    assert people.pred_masks.shape == (0, 96, 128)
