from __future__ import annotations

import numpy as np

from densepose.structures.body_parts import (
    COARSE_OF_PART,
    NUM_PARTS,
    NUM_REGIONS,
    PART_NAMES,
    flipped_keypoints,
    flipped_parts,
)


def test_twenty_four_parts_lie_in_fourteen_regions():
    assert NUM_PARTS == 24 and len(PART_NAMES) == len(COARSE_OF_PART) == 25
    assert sorted(set(COARSE_OF_PART)) == list(range(NUM_REGIONS + 1))


def test_sides_are_exchanged_by_name():
    # COCO's order: nose, then left and right in turn.
    assert flipped_keypoints().tolist() == [0, *np.arange(1, 17).reshape(8, 2)[:, ::-1].ravel()]
    parts = flipped_parts()
    assert parts[parts].tolist() == list(range(25))
    assert PART_NAMES[parts[PART_NAMES.index("left hand")]] == "right hand"
