from __future__ import annotations

import numpy as np
import pytest

from densepose.evaluation.ignore_regions import detections_to_keep, ignore_mask, people_to_keep

SIZE = (40, 50)
LEFT_HALF = [[0, 0, 25, 0, 25, 40, 0, 40]]


def region() -> np.ndarray:
    return ignore_mask(LEFT_HALF, SIZE)


def test_polygons_become_their_union():
    mask = ignore_mask([*LEFT_HALF, [25, 0, 30, 0, 30, 40, 25, 40]], SIZE)
    assert mask[:, :30].all() and not mask[:, 30:].any()
    assert ignore_mask([], SIZE) is None


def test_people_are_left_out_from_seventy_percent_on():
    boxes = np.array([[15, 5, 20, 10], [18, 5, 10, 10], [30, 5, 10, 10]], float)  # 50, 70, 0 %
    assert people_to_keep(region(), boxes).tolist() == [True, False, True]
    assert people_to_keep(region(), np.array([[1.0, 1.0, 0.5, 9.0]])).tolist() == [False]
    assert people_to_keep(None, boxes).all()


def test_detections_are_left_out_from_ninety_percent_of_their_pixels_on():
    boxes = np.array([[20, 5, 10, 10]] * 3, float)  # the right half of the box is outside
    half, left = np.ones((10, 10), np.uint8), np.ones((10, 10), np.uint8)
    left[:, 5:] = 0
    for only_inside in (True, False):
        keep = detections_to_keep(
            region(), boxes, [half, left, left * 0], only_inside_image=only_inside
        )
        assert keep.tolist() == [True, False, True]
    assert detections_to_keep(None, boxes, [half] * 3, only_inside_image=True).all()


@pytest.mark.parametrize(("only_inside", "kept"), [(True, True), (False, False)])
def test_a_map_across_the_border_always_stays_only_in_the_published_rules(only_inside, kept):
    boxes = np.array([[5.0, 35.0, 10.0, 10.0]])
    labels = [np.ones((10, 10), np.uint8)]
    keep = detections_to_keep(region(), boxes, labels, only_inside_image=only_inside)
    assert keep.tolist() == [kept]
