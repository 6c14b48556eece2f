import numpy as np
import pytest
from pycocotools import mask as coco_mask

from densepose.ops.run_lengths import draw_masks, paint_masks, runs_fill


def encode(mask: np.ndarray) -> str:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")


def random_masks(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blobs = rng.random((count, 16, 16)) < rng.random((count, 1, 1))
    return blobs.repeat(16, axis=1).repeat(16, axis=2)


def test_painting_matches_pycocotools_and_the_highest_label_wins():
    masks = random_masks(20, seed=0)
    rng = np.random.default_rng(1)
    label, owner = rng.integers(1, 15, 20), rng.integers(0, 4, 20)
    got = paint_masks([encode(mask) for mask in masks], label, owner, 5)
    want = np.zeros((5, 256, 256), np.uint8)
    for mask, value, person in zip(masks, label, owner, strict=True):
        want[person] = np.maximum(want[person], mask * np.uint8(value))
    np.testing.assert_array_equal(got, want)
    assert not got[4].any()


def test_a_mask_written_by_hand():
    # Down the columns: two pixels out, three in, the rest out.
    mask = np.zeros((4, 3))
    mask[2:, 0] = mask[:1, 1] = 1
    text = encode(mask)
    assert text == "237"
    planes, filled = draw_masks([text, b"237"], np.array([7, 9]), np.array([0, 1]), 2, (4, 3))
    assert filled.all() and planes.shape == (2, 3, 4)
    assert planes[0].tolist() == [[0, 0, 7, 7], [7, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(planes[1] > 0, planes[0] > 0)


def test_noise_with_long_differences_survives_the_round_trip():
    masks = np.random.default_rng(3).random((3, 256, 256)) < 0.5
    got = paint_masks([encode(m) for m in masks], np.ones(3, int), np.arange(3), 3)
    np.testing.assert_array_equal(got.astype(bool), masks)


@pytest.mark.parametrize("damage", ["", "garbage~~", "cut", "PPPPPPPPPPPP", "\u20ac0"])
def test_damaged_strings_are_told_from_whole_ones(damage: str):
    good = encode(random_masks(1, seed=2)[0])
    text = good[:-3] if damage == "cut" else damage
    assert runs_fill([good, text, good]).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="mask with label 7 of person 1"):
        paint_masks([good, text], np.array([1, 7]), np.array([0, 1]), 2)


def test_no_masks_at_all():
    assert paint_masks([], np.zeros(0, int), np.zeros(0, int), 2).sum() == 0
    assert paint_masks([], np.zeros(0, int), np.zeros(0, int), 0).shape == (0, 256, 256)
