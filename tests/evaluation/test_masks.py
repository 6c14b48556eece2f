from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy.ndimage import zoom

from densepose.evaluation.masks import (
    Masks,
    box_overlap,
    detection_masks,
    detections_to_keep,
    encode_labels,
    ignore_mask,
    mask_areas,
    mask_overlap,
    people_masks,
    people_to_keep,
    windows_in_image,
)
from densepose.evaluation.pairs import ImagePairs
from tests.support import packed


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


def masks_of(*records: dict, size=(100, 200)) -> Masks:
    records = [{"bbox": [0, 0, 9, 9]} | record for record in records]
    boxes = np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4)
    return people_masks(
        packed.people(len(records), records=tuple(records), boxes_xywh_px=boxes, image_size=size)
    )


def plane(masks: Masks, index: int) -> np.ndarray:
    flat = masks.pixels[masks.first[index] : masks.first[index + 1]]
    return flat.reshape(masks.window["rows"][index], masks.window["columns"][index])


def picture(masks: Masks, index: int, size: tuple[int, int]) -> np.ndarray:
    image = np.zeros(size, np.uint8, order="F")
    top, left, rows, columns = masks.window[index].tolist()[:4]
    image[top : top + rows, left : left + columns] = plane(masks, index)
    return image


def zoomed(mask: np.ndarray, width: float, height: float) -> np.ndarray:
    record = {"dp_masks": [runs_of(mask)], "bbox": [0, 0, width, height]}
    size = (max(round(height), int(height)) + 2, max(round(width), int(width)) + 2)
    return plane(masks_of(record, size=size), 0)


def test_zoom_gives_scipys_pixels_for_whole_and_broken_sizes():
    rng = np.random.default_rng(0)
    for number, mask in enumerate(random_masks(rng, 60)):
        w, h = rng.integers(1, 400, 2) if number % 3 else rng.uniform(1, 400, 2)
        want = zoom(mask.astype(float), (h / 256, w / 256), order=1, prefilter=False) > 0.5
        # A box of broken size shows its whole pixels.
        np.testing.assert_array_equal(zoomed(mask, w, h), want[: int(h), : int(w)])


@pytest.mark.parametrize("side", [511, 181, 256, 3, 1])
def test_zoom_gives_scipys_pixels_where_values_are_exactly_one_half(side):
    mask = np.kron(np.indices((2, 2)).sum(axis=0) % 2, np.ones((128, 128), np.uint8))
    want = zoom(mask.astype(float), side / 256, order=1, prefilter=False) > 0.5
    np.testing.assert_array_equal(zoomed(mask, side, side), want)


def test_a_full_mask_fills_its_box():
    masks = masks_of({"dp_masks": [runs_of(np.ones((256, 256)))], "bbox": [3, 4, 20, 10]})
    assert masks.window[0].tolist() == (4, 3, 10, 20, 0, 0)
    assert mask_areas(masks).tolist() == [200] and plane(masks, 0).all()


def test_the_union_of_regions_leaves_out_empty_entries():
    left, top = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
    left[:, :100], top[:50] = True, True
    box, size = [0, 0, 256, 256], (300, 300)
    regions = [runs_of(left), [], runs_of(top), []]
    masks = masks_of(
        *({"dp_masks": given, "bbox": box} for given in (regions, runs_of(left), [[]] * 14)),
        size=size,
    )
    np.testing.assert_array_equal(plane(masks, 0), left | top)
    np.testing.assert_array_equal(plane(masks, 1), left)
    assert mask_areas(masks).tolist() == [(left | top).sum(), left.sum(), 0]


def random_pairs(rng: np.random.Generator, size: tuple[int, int]) -> ImagePairs:
    """Detections and people across the borders of an image, some of them empty, some crowds."""
    boxes = rng.uniform((-20, -20, 0.5, 0.5), (60, 40, 90, 70), (20, 4))
    labels = [
        (rng.uniform(size=(max(int(h), 1), max(int(w), 1))) < rng.choice([0, 0.6, 1])).astype(
            np.uint8
        )
        * 7
        for _, _, w, h in boxes
    ]
    person_boxes = rng.uniform((-20, -20, 0.5, 0.5), (60, 40, 90, 70), (9, 4))
    records = tuple(
        {"dp_masks": [runs_of(mask)], "bbox": box.tolist()}
        for mask, box in zip(random_masks(rng, 9), person_boxes, strict=True)
    )
    people = packed.people(
        9,
        records=records,
        boxes_xywh_px=person_boxes,
        crowd=rng.uniform(size=9) < 0.4,
        image_size=size,
    )
    return ImagePairs(people, packed.detections(boxes, labels))


def test_overlap_agrees_with_pycocotools():
    size = (90, 120)
    pairs = random_pairs(np.random.default_rng(2), size)
    found = pairs.detections
    seen_masks, masks = detection_masks(pairs), people_masks(pairs.people)
    seen = []
    for labels, (top, left, rows, columns, row, column) in zip(
        found.labels, seen_masks.window.tolist(), strict=True
    ):
        image = np.zeros(size, np.uint8, order="F")
        inside = labels[row : row + rows, column : column + columns]
        image[top : top + rows, left : left + columns] = inside > 0
        seen.append(coco_mask.encode(image))
    drawn = [coco_mask.encode(picture(masks, index, size)) for index in range(9)]
    want = coco_mask.iou(seen, drawn, pairs.people.crowd.astype(int).tolist())
    np.testing.assert_array_equal(mask_overlap(pairs, seen_masks, masks), want.ravel())
    assert (want > 0).sum() > 10


def test_box_overlap_agrees_with_pycocotools():
    rng = np.random.default_rng(3)
    boxes = rng.uniform((-10, -10, 0, 0), (60, 60, 50, 50), (30, 4))
    crowd = rng.uniform(size=12) < 0.3
    want = coco_mask.iou(boxes, boxes[:12], crowd.astype(int).tolist())
    got = box_overlap(packed.boxes_only(boxes[:12], boxes, crowd))
    np.testing.assert_array_equal(got, want.ravel())


def test_overlap_with_nobody_is_empty():
    for count, boxes in ((0, [[0, 0, 2, 2]]), (1, [])):
        pairs = ImagePairs(packed.people(count), packed.detections(boxes))
        assert box_overlap(pairs).shape == (0,)
        found = detection_masks(pairs)
        assert mask_overlap(pairs, found, people_masks(pairs.people)).shape == (0,)


@pytest.mark.parametrize(
    ("box", "want"),
    [
        ((2.7, 1.2, 4.0, 3.0), [1, 2, 3, 4, 0, 0]),  # first pixel is the floor
        ((-1.5, 0.0, 4.0, 3.0), [0, 0, 3, 2, 0, 1]),  # truncated towards zero: from -1 to 2
        ((8.0, 4.0, 4.0, 3.0), [4, 8, 2, 2, 0, 0]),  # cut at the image of 6 x 10
        ((30.0, 1.0, 4.0, 3.0), [0] * 6),  # beyond the image
        ((-9.0, 1.0, 4.0, 3.0), [0] * 6),
    ],
)
def test_windows_are_cut_at_the_border(box, want):
    window = windows_in_image(np.array([box]), np.array([[3, 4]]), np.array([[6, 10]]))
    assert window.tolist() == [tuple(want)]


def test_without_truncation_a_mask_starts_at_the_floor():
    box, sizes = np.array([[-0.5, 0.0, 4.0, 1.0]]), (np.array([[1, 4]]), np.array([[6, 10]]))
    assert windows_in_image(box, *sizes, towards_zero=False).tolist() == [(0, 0, 1, 3, 0, 1)]
    assert windows_in_image(box, *sizes).tolist() == [(0, 0, 1, 3, 0, 0)]


def test_a_person_without_dp_masks_has_its_segmentation():
    size = (20, 30)
    filled = np.zeros(size, bool)
    filled[5:9, 7:12] = True
    polygon = [[7, 5, 12, 5, 12, 9, 7, 9]]
    given = (runs_of(filled), polygon)
    masks = masks_of(*({"segmentation": each} for each in given), size=size)
    for index in range(len(given)):
        np.testing.assert_array_equal(picture(masks, index, size), filled)
    assert mask_areas(masks_of({"segmentation": []}, {}, size=size)).tolist() == [0, 0]


def test_labels_are_encoded_at_their_place():
    labels = np.array([[9, 9, 9, 9], [9, 7, 0, 9], [9, 2, 3, 9]], np.uint8)
    window = windows_in_image(
        np.array([[2.0, 1.0, 4.0, 3.0]]), np.array([[3, 4]]), np.array([[3, 5]])
    )
    runs = encode_labels(labels, window[0], (3, 5))
    assert runs["size"] == [3, 5]
    assert np.argwhere(coco_mask.decode(runs)).tolist() == [
        *([1, 2], [1, 3], [1, 4], [2, 2], [2, 3]),
    ]


SIZE = (40, 50)
LEFT_HALF = [[0, 0, 25, 0, 25, 40, 0, 40]]


def region() -> np.ndarray:
    return ignore_mask(LEFT_HALF, SIZE)


def test_polygons_become_their_union():
    mask = ignore_mask([*LEFT_HALF, [25, 0, 30, 0, 30, 40, 25, 40]], SIZE)
    assert mask[:, :30].all() and not mask[:, 30:].any()


def test_people_are_left_out_from_seventy_percent_on():
    boxes = np.array([[15, 5, 20, 10], [18, 5, 10, 10], [30, 5, 10, 10]], float)  # 50, 70, 0 %
    assert people_to_keep(region(), boxes).tolist() == [True, False, True]
    assert people_to_keep(region(), np.array([[1.0, 1.0, 0.5, 9.0]])).tolist() == [False]


def test_detections_are_left_out_from_ninety_percent_of_their_pixels_on():
    boxes = np.array([[20, 5, 10, 10]] * 3, float)  # the right half of the box is outside
    half, left = np.ones((10, 10), np.uint8), np.ones((10, 10), np.uint8)
    left[:, 5:] = 0
    for only_inside in (True, False):
        keep = detections_to_keep(
            region(), boxes, [half, left, left * 0], only_inside_image=only_inside
        )
        assert keep.tolist() == [True, False, True]


@pytest.mark.parametrize(("only_inside", "kept"), [(True, True), (False, False)])
def test_a_map_across_the_border_always_stays_only_in_the_published_rules(only_inside, kept):
    boxes = np.array([[5.0, 35.0, 10.0, 10.0]])
    labels = [np.ones((10, 10), np.uint8)]
    keep = detections_to_keep(region(), boxes, labels, only_inside_image=only_inside)
    assert keep.tolist() == [kept]
