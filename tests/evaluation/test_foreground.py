from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy.ndimage import zoom

from densepose.evaluation.foreground import (
    EMPTY_CROP,
    MaskCrop,
    box_overlap,
    overlap,
    person_crop,
    place_in_image,
    union_of_regions,
    zoom_to_box,
)


def runs_of(mask: np.ndarray) -> dict:
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def random_masks(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Blocks and ellipses on the annotation grid."""
    rows, columns = np.mgrid[:256, :256]
    masks = []
    for number in range(count):
        if number % 2:
            masks.append(np.kron(rng.integers(0, 2, (16, 16)), np.ones((16, 16), int)))
        else:
            (cy, cx), (a, b) = rng.uniform(60, 200, 2), rng.uniform(10, 120, 2)
            masks.append(((rows - cy) / a) ** 2 + ((columns - cx) / b) ** 2 < 1)
    return [mask.astype(np.uint8) for mask in masks]


def test_zoom_gives_scipys_pixels_for_whole_and_broken_sizes():
    rng = np.random.default_rng(0)
    for number, mask in enumerate(random_masks(rng, 60)):
        w, h = rng.integers(1, 400, 2) if number % 3 else rng.uniform(0.2, 400, 2)
        scale = (max(float(h), 1) / 256, max(float(w), 1) / 256)
        want = zoom(mask.astype(float), scale, order=1, prefilter=False) > 0.5
        np.testing.assert_array_equal(zoom_to_box(mask, (0, 0, w, h)), want)


@pytest.mark.parametrize("side", [511, 181, 256, 3, 1])
def test_zoom_gives_scipys_pixels_where_values_are_exactly_one_half(side):
    mask = np.kron(np.indices((2, 2)).sum(axis=0) % 2, np.ones((128, 128), np.uint8))
    want = zoom(mask.astype(float), side / 256, order=1, prefilter=False) > 0.5
    np.testing.assert_array_equal(zoom_to_box(mask.astype(np.uint8), (0, 0, side, side)), want)


def test_a_full_mask_fills_its_box():
    assert zoom_to_box(np.ones((256, 256), np.uint8), (3, 4, 20, 10)).all()
    assert zoom_to_box(np.ones((256, 256), np.uint8), (3, 4, 20, 10)).shape == (10, 20)


def test_union_of_regions_leaves_out_empty_entries():
    left, top = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
    left[:, :100], top[:50] = True, True
    union = union_of_regions([runs_of(left), [], runs_of(top), []])
    np.testing.assert_array_equal(union.astype(bool), left | top)
    np.testing.assert_array_equal(union_of_regions(runs_of(left)).astype(bool), left)
    assert union_of_regions([[] for _ in range(14)]) is None


def paste(crop: MaskCrop, size: tuple[int, int]) -> np.ndarray:
    image = np.zeros(size, np.uint8, order="F")
    rows, columns = crop.pixels.shape
    image[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.pixels
    return image


def test_overlap_agrees_with_pycocotools():
    rng = np.random.default_rng(2)
    size = (90, 120)

    def crop() -> MaskCrop:
        box = rng.uniform((-20, -20, 1, 1), (60, 40, 90, 70))
        mask = rng.uniform(size=(max(int(box[3]), 1), max(int(box[2]), 1))) < rng.choice(
            [0, 0.6, 1]
        )
        return place_in_image(mask, box, size)

    detections, people = [crop() for _ in range(20)], [crop() for _ in range(9)]
    crowd = rng.uniform(size=9) < 0.4
    encoded = [[coco_mask.encode(paste(c, size)) for c in crops] for crops in (detections, people)]
    want = coco_mask.iou(*encoded, crowd.astype(int).tolist())
    np.testing.assert_array_equal(overlap(detections, people, crowd), want)
    assert (want > 0).sum() > 10


def test_box_overlap_agrees_with_pycocotools():
    rng = np.random.default_rng(3)
    boxes = rng.uniform((-10, -10, 0, 0), (60, 60, 50, 50), (30, 4))
    crowd = rng.uniform(size=12) < 0.3
    want = coco_mask.iou(boxes, boxes[:12], crowd.astype(int).tolist())
    np.testing.assert_array_equal(box_overlap(boxes, boxes[:12], crowd), want)


def test_overlap_with_nobody_is_empty():
    none, one = np.zeros(0, bool), [MaskCrop(np.ones((2, 2), bool), 0, 0)]
    assert overlap(one, [], none).shape == (1, 0)
    assert overlap([], one, np.zeros(1, bool)).shape == (0, 1)
    assert overlap(one, [EMPTY_CROP], np.zeros(1, bool)).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("box", "want"),
    [
        ((2.7, 1.2, 4.0, 3.0), (1, 2, (3, 4))),  # first pixel is the floor
        ((-1.5, 0.0, 4.0, 3.0), (0, 0, (3, 2))),  # truncated towards zero: starts at -1, ends at 2
        ((8.0, 4.0, 4.0, 3.0), (4, 8, (2, 2))),  # cut at the image of 6 x 10
        ((30.0, 1.0, 4.0, 3.0), (0, 0, (0, 0))),  # beyond the image
        ((-9.0, 1.0, 4.0, 3.0), (0, 0, (0, 0))),
    ],
)
def test_place_in_image_cuts_at_the_border(box, want):
    crop = place_in_image(np.ones((3, 4), bool), box, (6, 10))
    assert (crop.top, crop.left, crop.pixels.shape) == want


def test_without_truncation_a_mask_starts_at_the_floor():
    crop = place_in_image(
        np.arange(4)[None] > 0, (-0.5, 0.0, 4.0, 1.0), (6, 10), towards_zero=False
    )
    assert crop.pixels.tolist() == [[True, True, True]]


def test_a_person_without_dp_masks_has_its_segmentation():
    size = (20, 30)
    filled = np.zeros(size, bool)
    filled[5:9, 7:12] = True
    whole = runs_of(filled)
    listed = {"size": list(size), "counts": coco_runs(filled)}
    polygon = [[7, 5, 12, 5, 12, 9, 7, 9]]
    for segmentation in (whole, listed, polygon):
        crop = person_crop({"segmentation": segmentation}, size, "a")
        np.testing.assert_array_equal(paste(crop, size), filled)
    assert person_crop({"segmentation": []}, size, "a").area == 0
    assert person_crop({}, size, "a").area == 0


def coco_runs(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    return np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"dp_masks": [{"size": [64, 64], "counts": "PP1"}], "bbox": [0, 0, 9, 9]}, "256 x 256"),
        (
            {"segmentation": {"size": [8, 8], "counts": "P2"}},
            r"is \[8, 8\], the image is \[20, 30\]",
        ),
        ({"dp_masks": [{"size": [256, 256]}], "bbox": [0, 0, 9, 9]}, "'counts'"),
    ],
)
def test_rejects_masks_of_the_wrong_form_and_names_the_annotation(record, message):
    with pytest.raises(ValueError, match=f"annotation 5: its masks can not be read: .*{message}"):
        person_crop(record, (20, 30), "annotation 5")
