from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from detectron2.structures import BitMasks, Boxes, Instances

from densepose.modeling.losses.targets import (
    UNKNOWN,
    coarse_labels,
    coarse_targets,
    mask_labels,
    pack_matches,
    point_targets,
)
from densepose.structures.annotations import DensePoseAnnotations
from tests.support.random_people import IMAGE_SIZE, jittered, matched_proposals, random_people


def resample_with_grid_sample(people: DensePoseAnnotations, boxes: torch.Tensor, side: int):
    """The same by torch's general resampling of whole masks in normalised coordinates."""
    source = people.boxes_xyxy_px
    size = source[:, 2:] - source[:, :2]
    first = 2 * (boxes[:, :2] - source[:, :2]) / size - 1
    last = 2 * (boxes[:, 2:] - source[:, :2]) / size - 1
    step = torch.arange(side) / side
    x = step[None, None, :] * (last - first)[:, 0, None, None] + first[:, 0, None, None]
    y = step[None, :, None] * (last - first)[:, 1, None, None] + first[:, 1, None, None]
    grid = torch.stack([x.expand(-1, side, -1), y.expand(-1, -1, side)], dim=3)
    masks = people.coarse[:, None].float()
    sampled = F.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=True)
    return sampled[:, 0].long()


def test_coarse_targets_equal_grid_sample():
    people = random_people(12)
    boxes = jittered(people.boxes_xyxy_px, 12.0)
    got = coarse_targets(boxes, people, (28, 28))
    wanted = resample_with_grid_sample(people, boxes, 28)
    assert (got != wanted).float().mean() < 1e-3  # a cell on a tie may fall to the other side
    assert (wanted > 0).float().mean() > 0.3


def test_coarse_targets_by_hand():
    people = random_people(1)
    left_half = torch.zeros(1, 256, 256, dtype=torch.uint8)
    left_half[:, :, :128] = 7
    people = DensePoseAnnotations(**{**vars(people), "coarse": left_half})
    x0, y0, x1, y1 = people.boxes_xyxy_px[0].tolist()
    same = coarse_targets(people.boxes_xyxy_px, people, (4, 4))
    assert same[0].tolist() == [[7, 7, 0, 0]] * 4
    # Twice as wide, from the same left border: the mask's right border is in the middle.
    wide = coarse_targets(torch.tensor([[x0, y0, 2 * x1 - x0, y1]]), people, (4, 4))
    assert wide[0].tolist() == [[7, 0, 0, 0]] * 4


def test_point_targets_say_which_points_are_inside_the_proposal():
    people = random_people(2, points=5)
    x0, y0, x1, y1 = people.boxes_xyxy_px.unbind(dim=1)
    halves = torch.stack([x0, y0, (x0 + x1) / 2, y1], dim=1)
    points = point_targets(halves, people, torch.arange(2), (4, 4), upscale=2)
    kept = people.points_grid[:, 0] < 128
    assert 0 < kept.sum() < 10
    assert torch.equal(points.inside, kept)
    assert torch.equal(points.at.map_index, people.owner)


def test_packing_counts_people_without_annotation():
    first, last = random_people(2, points=3), random_people(1, points=4, seed=5)
    without = Instances(IMAGE_SIZE, proposal_boxes=Boxes(torch.ones(3, 4)))
    boxes, people = pack_matches([matched_proposals(first), without, matched_proposals(last)])
    assert len(boxes) == len(people) == 6
    assert people.num_points.tolist() == [3, 3, 0, 0, 0, 4]
    assert people.has_masks.tolist() == [True, True, False, False, False, True]


def test_mask_targets_are_the_mask_inside_the_proposal():
    mask = torch.zeros(1, *IMAGE_SIZE, dtype=torch.bool)
    mask[:, :, :40] = True
    box = Boxes(torch.tensor([[20.0, 10.0, 60.0, 50.0]]))
    with_mask = Instances(IMAGE_SIZE, proposal_boxes=box, gt_masks=BitMasks(mask))
    without = Instances(IMAGE_SIZE, proposal_boxes=box)
    labels = mask_labels([without, with_mask], (4, 4))
    assert labels.tolist() == [[[UNKNOWN] * 4] * 4, [[1, 1, 0, 0]] * 4]


def test_without_part_masks_nothing_is_known():
    people = random_people(2)
    people = replace(people, has_masks=torch.tensor([True, False]))
    labels = coarse_labels(people.boxes_xyxy_px, people, (4, 4))
    assert (labels[0] >= 0).all() and (labels[1] == UNKNOWN).all()
