from __future__ import annotations

import numpy as np
import pytest

from densepose.evaluation.correct_points import PointTotals
from densepose.evaluation.mistakes import KINDS, kinds_of
from densepose.structures.body_parts import PART_NAMES

NAMES = tuple(KINDS)


def slow_kind(part: int, predicted: int, found: bool) -> str:
    """From the names of the parts."""
    if not found:
        return "points_not_found"
    if predicted == 0:
        return "points_as_background"
    if part == predicted:
        return "points_right_part"
    own, other = (set(PART_NAMES[p].split()) for p in (part, predicted))
    side, face = {"left", "right"}, {"front", "back"}
    if own - side - face != other - side - face:
        return "points_other_limb"
    swapped_side, swapped_face = own & side != other & side, own & face != other & face
    if swapped_side and swapped_face:
        return "points_other_side_and_face"
    return "points_other_side" if swapped_side else "points_other_face"


def test_every_pair_of_parts_is_what_the_names_say():
    part, predicted = (a.ravel() for a in np.mgrid[1:25, 0:25])
    for found in (True, False):
        kinds = kinds_of(part, predicted, np.full(len(part), found))
        expected = [slow_kind(int(p), int(q), found) for p, q in zip(part, predicted, strict=True)]
        assert [NAMES[kind] for kind in kinds] == expected


def test_by_hand():
    def kind(part: str, predicted: str) -> str:
        places = (np.array([PART_NAMES.index(name)]) for name in (part, predicted))
        return NAMES[int(kinds_of(*places, np.ones(1, bool))[0])]

    assert kind("torso back", "torso front") == "points_other_face"
    assert kind("left head", "right head") == "points_other_side"
    assert kind("left hand", "right hand") == "points_other_side"
    assert kind("left hand", "right foot") == "points_other_limb"
    assert kind("left upper arm back", "right upper arm front") == "points_other_side_and_face"


def test_shares_sum_to_one_and_agree_with_the_other_scores():
    rng = np.random.default_rng(0)
    part, predicted = rng.integers(1, 25, 300), rng.integers(0, 25, 300)
    predicted[:100] = part[:100]
    found = rng.random(300) < 0.9
    predicted[~found] = 0
    totals = PointTotals()
    totals.add(np.full(300, np.inf), np.zeros(300), part, predicted, found)
    kinds, shares = totals.kinds(), totals.shares()
    assert sum(kinds.values()) == pytest.approx(1)
    assert kinds["points_right_part"] == pytest.approx(shares["part_accuracy"])
    assert kinds["points_not_found"] == pytest.approx(1 - shares["points_of_found_people"])
    nothing = kinds["points_not_found"] + kinds["points_as_background"]
    assert nothing == pytest.approx(1 - shares["points_on_foreground"])
    assert np.isnan(PointTotals().kinds()["points_right_part"])
