"""The box head that looks again at what it has found."""

from __future__ import annotations

import pytest
import torch

from detectron2.structures import Boxes, Instances

from densepose.config import check_config
from densepose.modeling.box_refinement import refined_proposals
from tests.support.models import (
    batch,
    parameters_without_gradient,
    quick_config,
    quick_model,
    train_step,
)
from tests.support.random_people import target

KEY = "MODEL.ROI_BOX_HEAD.REFINEMENTS"
SIZE = (100, 100)


class Shifted(torch.nn.Module):
    """A predictor that finds each box of each class 10 px further right; scores are given."""

    def __init__(self, scores: torch.Tensor, num_boxes: int) -> None:
        super().__init__()
        self.scores, self.num_boxes = scores, num_boxes
        self.num_classes = scores.shape[1] - 1

    def predict_probs(self, predictions, proposals) -> list[torch.Tensor]:
        return list(self.scores.split([len(image) for image in proposals]))

    def predict_boxes(self, predictions, proposals) -> list[torch.Tensor]:
        shift = torch.tensor([10.0, 0, 10, 0])
        steps = torch.arange(1, self.num_boxes + 1)[:, None] * shift
        return [(image.proposal_boxes.tensor[:, None] + steps).flatten(1) for image in proposals]


def proposals(boxes: list[list[float]], classes: list[int] | None = None, truth=None) -> Instances:
    image = Instances(SIZE)
    image.proposal_boxes = Boxes(torch.tensor(boxes))
    if classes is not None:
        image.gt_classes = torch.tensor(classes)
    if truth is not None:
        image.gt_boxes = Boxes(torch.tensor(truth))
    return image


def test_boxes_are_those_of_the_likeliest_class_inside_the_image():
    scores = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    image = proposals([[0.0, 0, 20, 20], [85.0, 0, 95, 20]])
    (new,) = refined_proposals(Shifted(scores, 2), None, [image])
    assert new.proposal_boxes.tensor.tolist() == [[20, 0, 40, 20], [95, 0, 100, 20]]
    assert not new.has("gt_classes")
    (agnostic,) = refined_proposals(Shifted(scores, 1), None, [image])
    assert agnostic.proposal_boxes.tensor[0].tolist() == [10, 0, 30, 20]


def test_labels_follow_the_overlap_with_the_same_person():
    boxes = [[0.0, 0, 20, 20], [20.0, 0, 40, 20], [60.0, 0, 80, 20]]
    truth = [[10.0, 0, 30, 20], [20.0, 0, 40, 20], [0.0, 0, 9, 9]]
    # Foreground of IoU 1/3 gets to 1; of IoU 1 gets to 1/3; background stays what it is.
    scores = torch.tensor([[0.9, 0.1]] * 3)
    (new,) = refined_proposals(Shifted(scores, 1), None, [proposals(boxes, [1, 0, 1], truth)])
    assert new.gt_classes.tolist() == [0, 1, 1]
    assert torch.equal(new.gt_boxes.tensor, torch.tensor(truth))
    # Of several classes, which one the first person is of is not known any more: it is left out.
    scores = torch.tensor([[0.9, 0.05, 0.05]] * 3)
    (new,) = refined_proposals(Shifted(scores, 1), None, [proposals(boxes, [2, 1, 2], truth)])
    assert new.gt_classes.tolist() == [2, 2] and len(new) == 2
    (nobody,) = refined_proposals(Shifted(scores, 1), None, [proposals(boxes, [2, 2, 2])])
    assert nobody.gt_classes.tolist() == [2, 2, 2] and not nobody.has("gt_boxes")


def test_a_second_look_is_the_head_on_its_own_boxes():
    once, twice = quick_model("synthetic_cpu", KEY, 0), quick_model("synthetic_cpu", KEY, 1)
    twice.load_state_dict(once.state_dict(), strict=True)
    for model in (once, twice):
        model.eval()
        model.roi_heads.box_predictor.test_score_thresh = 0.0
        model.roi_heads.box_predictor.test_nms_thresh = 1.0
        model.roi_heads.box_predictor.test_topk_per_image = 10_000
    inputs = batch(target(2))
    with torch.no_grad():
        images = once.preprocess_image(inputs)
        features = once.backbone(images.tensor)
        given, _ = once.proposal_generator(images, features, None)
        (first,) = once.roi_heads._forward_box(features, given)
        again = Instances(first.image_size)
        again.proposal_boxes = first.pred_boxes
        (expected,) = once.roi_heads._forward_box(features, [again])
        (got,) = twice.roi_heads._forward_box(features, given)
    assert len(got) == len(expected) > 5
    order, other = expected.scores.argsort(), got.scores.argsort()
    torch.testing.assert_close(got.scores[other], expected.scores[order])
    torch.testing.assert_close(
        got.pred_boxes.tensor.sort(0).values, expected.pred_boxes.tensor.sort(0).values
    )


@pytest.mark.parametrize("counts", [(2, 1), (1, 0), (0, 0)])
def test_training_has_the_losses_of_all_stages_and_reaches_every_parameter(counts):
    model = quick_model("synthetic_cpu", KEY, 2)
    losses = train_step(model, *(target(count) for count in counts))
    for stage in ("", "_stage2", "_stage3"):
        for name in ("loss_cls", "loss_box_reg"):
            assert torch.isfinite(losses[name + stage]), name + stage
    assert parameters_without_gradient(model) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((KEY, -1), "allowed: 0 or more"),
        ((KEY, 1, "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES", True), "switch one of them off"),
    ],
)
def test_settings_that_cannot_be_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        check_config(quick_config("synthetic_cpu", *words))
