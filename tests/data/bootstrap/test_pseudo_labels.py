from __future__ import annotations

import numpy as np
import torch

from densepose.data.bootstrap.pseudo_labels import body_masks, pseudo_annotations, pseudo_truth
from densepose.structures.annotations import grid_to_image
from densepose.structures.body_parts import COARSE_OF_PART
from tests.support.random_pixels import random_pixels


def test_points_lie_at_the_centres_of_their_pixels():
    pixels = random_pixels([(6, 5), (3, 4)])
    chosen = torch.tensor([0, 7, 29, 30, 41])
    people = pseudo_annotations(pixels, chosen)
    # Boxes are as wide as their pixels here, so grid steps are whole pixels of the box.
    got = grid_to_image(people.points_grid, people.boxes_xyxy_px[people.owner])
    corner = pixels.boxes_xyxy_px[pixels.owner[chosen], :2]
    centre = torch.stack([pixels.column, pixels.row], dim=1)[chosen] + 0.5
    torch.testing.assert_close(got, corner + centre)
    assert torch.equal(people.part, pixels.part[chosen])
    torch.testing.assert_close(people.uv, pixels.uv[chosen].clamp(0, 1))
    assert people.owner.tolist() == [0, 0, 0, 1, 1]
    assert people.num_points.tolist() == [3, 2]


def test_the_grid_runs_over_the_fractional_box():
    pixels = random_pixels([(4, 10)])
    pixels.boxes_xyxy_px[0, 2] += 0.9  # 10.9 px wide has 10 whole pixels, spread over all of it
    people = pseudo_annotations(pixels, torch.tensor([3]))
    torch.testing.assert_close(people.points_grid, torch.tensor([[89.6, 32.0]]))


def test_part_masks_are_the_regions_of_the_parts():
    pixels = random_pixels([(2, 2)])
    people = pseudo_annotations(pixels, torch.zeros(0, dtype=torch.int64))
    assert np.array_equal(people.coarse.numpy(), COARSE_OF_PART[pixels.part_grid.numpy()])
    assert people.coarse.dtype == torch.uint8 and people.has_masks.all()
    assert len(people.part) == 0


def test_masks_are_cut_at_the_image():
    pixels = random_pixels([(3, 4), (2, 2)])
    masks = body_masks(pixels, (7, 5))
    want = torch.zeros(2, 7, 5, dtype=torch.bool)
    want[0, 3:6, 2:6] = True  # corner (2.5, 3.25) and 4 px wide; the image ends at column 5
    want[1, 6:8, 2:4] = True
    assert torch.equal(masks, want)


def test_truth_has_the_fields_of_the_mapper():
    pixels = random_pixels([(3, 4)])
    classes = torch.tensor([0])
    truth = pseudo_truth(pixels, torch.tensor([1]), classes, (20, 20), use_masks=True)
    fields = {"gt_boxes", "gt_classes", "gt_densepose", "gt_masks"}
    assert set(truth.get_fields()) == fields
    assert truth.gt_masks.tensor.sum() == 12
    truth = pseudo_truth(pixels, torch.tensor([1]), classes, (20, 20), use_masks=False)
    assert set(truth.get_fields()) == fields - {"gt_masks"}


def test_nobody():
    nobody = random_pixels([])
    empty = torch.zeros(0, dtype=torch.int64)
    truth = pseudo_truth(nobody, empty, empty, (8, 9), use_masks=True)
    assert len(truth) == 0 and truth.gt_masks.tensor.shape == (0, 8, 9)
    assert len(truth.gt_densepose) == 0
