from __future__ import annotations

import copy

import pytest
import torch

from detectron2.structures import Boxes, Instances

from densepose.modeling.losses.targets import MATCH, Matched, pack_matches
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import ChartOutput
from tests.support.models import LEVELS, batch, parameters_without_gradient, quick_model, train_step
from tests.support.random_people import IMAGE_SIZE, random_people, target

DENSEPOSE = {"loss_densepose_I", "loss_densepose_S", "loss_densepose_U", "loss_densepose_V"}


@pytest.fixture(scope="module")
def plain() -> torch.nn.Module:
    return quick_model()


@pytest.fixture(scope="module")
def with_decoder() -> torch.nn.Module:
    return quick_model("decoder_cpu")


@pytest.mark.parametrize("which", ["plain", "with_decoder"])
@pytest.mark.parametrize(
    "counts", [(2, 1), (1, 0), (0, 0)], ids=["people", "one image empty", "nobody"]
)
def test_every_batch_trains_every_parameter(
    which: str, counts: tuple[int, ...], request: pytest.FixtureRequest
):
    model = request.getfixturevalue(which)
    losses = train_step(model, *(target(count, seed=count) for count in counts))
    wanted = (
        DENSEPOSE
        if which == "plain"
        else DENSEPOSE - {"loss_densepose_U"} - {"loss_densepose_V"} | {"loss_densepose_UV"}
    )
    assert wanted <= set(losses)
    assert all(torch.isfinite(value) for value in losses.values())
    assert parameters_without_gradient(model) == []
    learned = sum(losses[name].item() for name in wanted)
    assert learned > 0 if sum(counts) else learned == 0


@pytest.mark.parametrize(
    "annotations", [None, DensePoseAnnotations.empty(2)], ids=["no field", "no points"]
)
def test_people_without_densepose_annotation_train_the_rest(
    plain: torch.nn.Module, annotations: DensePoseAnnotations | None
):
    losses = train_step(plain, target(2, gt_densepose=annotations), target(1))
    assert losses["loss_densepose_I"].item() > 0
    alone = train_step(plain, target(2, gt_densepose=annotations))
    assert sum(alone[name].item() for name in DENSEPOSE) == 0
    assert alone["loss_box_reg"].item() > 0
    assert parameters_without_gradient(plain) == []


def sampled(people: DensePoseAnnotations, boxes: torch.Tensor, person: torch.Tensor) -> Instances:
    proposals = Instances(IMAGE_SIZE, proposal_boxes=Boxes(boxes))
    proposals.gt_boxes = Boxes(people.boxes_xyxy_px[person])
    proposals.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
    proposals.gt_densepose = Matched(people, person)
    proposals.set(MATCH, person)
    return proposals


def test_branch_trains_on_close_foreground_proposals_of_annotated_people(plain: torch.nn.Module):
    people = random_people(3, points=4)
    keep = people.owner != 1
    people = DensePoseAnnotations(  # person 1 has a box only
        boxes_xyxy_px=people.boxes_xyxy_px,
        coarse=people.coarse,
        has_masks=torch.tensor([True, False, False]),
        points_grid=people.points_grid[keep],
        part=people.part[keep],
        uv=people.uv[keep],
        owner=people.owner[keep],
    )
    person = torch.tensor([0, 0, 0, 1, 2])
    boxes = people.boxes_xyxy_px[person].clone()
    boxes[1] += 12  # too far off
    proposals = sampled(people, boxes, person)
    proposals.gt_classes[2] = 1  # background
    heads = copy.copy(plain.roi_heads)
    seen: list[Instances] = []
    heads.densepose_losses = lambda matched, output: seen.extend(matched) or {}
    features = {name: torch.randn(1, 16, 96 // s, 128 // s) for name, s in LEVELS.items()}
    heads.losses_of_matches(features, [proposals])
    (matched,) = seen
    torch.testing.assert_close(matched.proposal_boxes.tensor, boxes[[0, 4]])
    _, annotations = pack_matches([matched])
    assert annotations.num_points.tolist() == [4, 4]
    torch.testing.assert_close(annotations.boxes_xyxy_px, people.boxes_xyxy_px[[0, 2]])


def test_a_limit_of_proposals_holds_for_each_person(plain: torch.nn.Module):
    people = random_people(2, points=4)
    person = torch.tensor([0, 1, 0, 0, 1, 0])
    boxes = people.boxes_xyxy_px[person] + torch.arange(6.0)[:, None] * 0.1  # all close
    heads = copy.copy(plain.roi_heads)
    heads.rois_per_person = 2
    seen: list[Instances] = []
    heads.densepose_losses = lambda matched, output: seen.extend(matched) or {}
    features = {name: torch.randn(1, 16, 96 // s, 128 // s) for name, s in LEVELS.items()}
    proposals = sampled(people, boxes, person)
    heads.losses_of_matches(features, [proposals])
    torch.testing.assert_close(seen[0].proposal_boxes.tensor, boxes[[0, 1, 2, 4]])


def test_instance_masks_can_train_the_coarse_segmentation():
    model = quick_model(
        "synthetic_cpu", "MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS", True
    )
    losses = train_step(model, target(2, gt_densepose=None), target(1, seed=4))
    assert losses["loss_densepose_S"].item() > 0
    only_masks = train_step(model, target(2, gt_densepose=None))
    assert only_masks["loss_densepose_S"].item() > 0
    assert only_masks["loss_densepose_I"].item() == 0


def test_branch_can_be_switched_off():
    model = quick_model("synthetic_cpu", "MODEL.DENSEPOSE_ON", False)
    assert not [name for name, _ in model.named_parameters() if "densepose" in name]
    assert not [name for name in train_step(model, target(1)) if "densepose" in name]


def test_detections_carry_maps_and_survive_post_processing(with_decoder: torch.nn.Module):
    with_decoder.eval()
    with_decoder.roi_heads.box_predictor.test_score_thresh = 0.0
    inputs = batch(target(1), target(1))
    inputs[0] |= {"height": 192, "width": 256}
    with torch.no_grad():
        first, second = (output["instances"] for output in with_decoder(inputs))
    for image in (first, second):
        assert len(image) > 1
        assert isinstance(image.pred_densepose, ChartOutput)
        assert len(image.pred_densepose) == len(image) == len(image.pred_masks)
        assert image.pred_densepose.part_logits.shape[1:] == (25, 28, 28)
    assert first.pred_boxes.tensor.max() > 128


def test_given_boxes_are_independent_of_each_other(plain: torch.nn.Module):
    plain.eval()
    features = {name: torch.randn(2, 16, 96 // s, 128 // s) for name, s in LEVELS.items()}
    boxes = random_people(3).boxes_xyxy_px

    def maps_of(*images: torch.Tensor) -> list[torch.Tensor]:
        given = [
            Instances(IMAGE_SIZE, pred_boxes=Boxes(b), pred_classes=torch.zeros(len(b)).long())
            for b in images
        ]
        with torch.no_grad():
            found = plain.roi_heads.forward_with_given_boxes(features, given)
        return [image.pred_densepose.part_logits for image in found]

    both = maps_of(boxes, boxes[:1])
    swapped = maps_of(boxes.flip(0), boxes[:0])
    torch.testing.assert_close(both[0], swapped[0].flip(0), rtol=1e-4, atol=1e-5)
    assert (len(both[1]), len(swapped[1])) == (1, 0)


def test_bfloat16_autocast_trains_and_predicts(with_decoder: torch.nn.Module):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = train_step(with_decoder, target(2), target(0))
    assert all(torch.isfinite(value) for value in losses.values())
    assert parameters_without_gradient(with_decoder) == []
    exact = train_step(with_decoder, target(2), target(0))
    for name in ("loss_densepose_I", "loss_densepose_S"):
        assert losses[name].dtype == torch.float32
        assert losses[name].item() == pytest.approx(exact[name].item(), rel=0.2)
    with_decoder.eval()
    with_decoder.roi_heads.box_predictor.test_score_thresh = 0.0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        (output,) = with_decoder(batch(target(1)))
    assert len(output["instances"].pred_densepose) > 0
