from __future__ import annotations

import numpy as np
import torch

from detectron2.modeling.roi_heads.roi_heads import select_proposals_with_visible_keypoints
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.utils.events import EventStorage

from densepose.modeling.keypoints import has_visible_keypoint
from densepose.modeling.losses.targets import MATCH, MatchedMasks, indexed_target
from densepose.modeling.roi_heads import few_of_each, first_of_each
from tests.support.random_people import IMAGE_SIZE, generator, target


def test_crops_of_matched_masks_are_those_of_copies():
    g = generator()
    masks = BitMasks(torch.rand(3, *IMAGE_SIZE, generator=g) > 0.4)
    person = torch.tensor([2, 0, 0, 1, 2])
    corner = 60 * torch.rand(5, 2, generator=g)
    boxes = torch.cat([corner, corner + 10 + 50 * torch.rand(5, 2, generator=g)], dim=1)
    copies = BitMasks(masks.tensor[person])
    matched = MatchedMasks(masks, person)
    assert torch.equal(matched.crop_and_resize(boxes, 14), copies.crop_and_resize(boxes, 14))
    some = torch.tensor([4, 1])
    want = copies[some].crop_and_resize(boxes[some], 7)
    assert torch.equal(matched[some].crop_and_resize(boxes[some], 7), want)
    assert matched[:0].crop_and_resize(boxes[:0], 7).shape == (0, 7, 7)


def test_an_indexed_target_holds_no_masks_of_its_own():
    people = target(2)
    chosen = indexed_target(people)[torch.tensor([1, 1, 0])]
    assert chosen.get(MATCH).tolist() == chosen.gt_densepose.index.tolist() == [1, 1, 0]
    assert chosen.gt_densepose.source is people.gt_densepose
    assert chosen.gt_masks.source is people.gt_masks
    without = indexed_target(target(2, gt_masks=None, gt_densepose=None))
    assert not without.has("gt_masks")
    assert not without.gt_densepose.source.is_annotated.any()


def test_polygons_stay_polygons():
    square = [[np.array([10.0, 10.0, 10.0, 50.0, 50.0, 50.0, 50.0, 10.0])]]
    people = target(1, gt_masks=PolygonMasks(square))
    light = indexed_target(people)[torch.tensor([0, 0])]
    boxes = torch.tensor([[10.0, 10.0, 50.0, 50.0], [30.0, 10.0, 70.0, 50.0]])
    assert light.gt_masks.crop_and_resize(boxes, 4).flatten(1).float().mean(1).tolist() == [1, 0.5]


def random_matches(count: int) -> Instances:
    """Proposals and keypoints of which some are unlabelled, some outside of the proposal."""
    g = generator()
    corner = 40 * torch.rand(count, 2, generator=g)
    keypoints = torch.rand(count, 3, 3, generator=g) * torch.tensor([100.0, 100.0, 0.0])
    keypoints[..., 2] = torch.randint(0, 3, (count, 3), generator=g)
    boxes = Boxes(torch.cat([corner, corner + 30], dim=1))
    return Instances(IMAGE_SIZE, proposal_boxes=boxes, gt_keypoints=Keypoints(keypoints))


def test_proposals_with_visible_keypoints_are_those_detectron2_takes():
    matches = random_matches(60)
    with EventStorage():
        (want,) = select_proposals_with_visible_keypoints([matches])
    chosen = has_visible_keypoint(matches)
    assert 5 < int(chosen.sum()) < 55
    assert torch.equal(matches[chosen].proposal_boxes.tensor, want.proposal_boxes.tensor)


def test_without_people_or_labels_no_keypoint_is_visible():
    nobody = Instances(IMAGE_SIZE, proposal_boxes=Boxes(torch.zeros(0, 4)))
    assert has_visible_keypoint(nobody).tolist() == []
    matches = random_matches(4)
    matches.gt_keypoints.tensor[..., 2] = 0
    assert has_visible_keypoint(matches).tolist() == [False] * 4


def test_first_of_each_by_hand_and_against_a_loop():
    value = torch.tensor([7, 7, 2, 7, 2, 9])
    assert first_of_each(value, 1).tolist() == [0, 2, 5]
    value = torch.randint(0, 5, (60,), generator=torch.Generator().manual_seed(0))
    want = [i for i in range(60) if int((value[:i] == value[i]).sum()) < 3]
    assert first_of_each(value, 3).tolist() == want
    assert first_of_each(value[:0], 3).tolist() == []


def test_few_proposals_of_each_person():
    person = torch.tensor([1, 0, 1, 1, 0])
    boxes = Boxes(torch.arange(20.0).reshape(5, 4))
    proposals = Instances(IMAGE_SIZE, proposal_boxes=boxes, **{MATCH: person})
    assert few_of_each(proposals, 0) is proposals
    assert few_of_each(proposals, 1).proposal_boxes.tensor[:, 0].tolist() == [0, 4]
    assert few_of_each(proposals, 2).get(MATCH).tolist() == [1, 0, 1, 0]
    nobody = Instances(IMAGE_SIZE, proposal_boxes=boxes[torch.zeros(5, dtype=torch.bool)])
    assert len(few_of_each(nobody, 2)) == 0
