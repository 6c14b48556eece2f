import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densepose.vis.colors import PART_COLORS
from densepose.vis.draw import MODES, draw_boxes, draw_iuv, draw_points, draw_prediction, draw_truth
from densepose.vis.layout import contact_sheet, side_by_side
from tests.support.predictions import prediction

GREY = np.full((20, 30, 3), 100, np.uint8)


def test_only_the_body_is_coloured():
    iuv = np.zeros((20, 30, 3), np.uint8)
    iuv[4:9, 5:12] = (3, 40, 200)
    for mode in MODES:
        drawn = draw_iuv(GREY, iuv, mode=mode)
        body = iuv[..., 0] > 0
        assert (drawn[body] != 100).any()
        assert len(np.unique(drawn[~body])) == 1
    opaque = draw_iuv(GREY, iuv, mode="parts", opacity=1.0)
    np.testing.assert_array_equal(opaque[5, 6], PART_COLORS[3])
    assert (GREY == 100).all()


def test_contours_stand_where_u_or_v_cross_a_level():
    iuv = np.zeros((40, 256, 3), np.uint8)
    iuv[..., 0] = 1
    iuv[..., 1] = np.arange(256)
    drawn = draw_iuv(np.full_like(iuv, 100), iuv, mode="contours")
    on_line = np.flatnonzero((drawn[10] != 70).any(axis=1))
    # Six levels of 256 / 6 steps each have five borders.
    np.testing.assert_array_equal(on_line, np.ceil(256 / 6 * np.arange(1, 6)) - 1)


def test_wrong_modes_and_sizes_are_refused():
    with pytest.raises(ValueError, match="mode must be one of .* got 'part'"):
        draw_iuv(GREY, np.zeros_like(GREY), mode="part")
    with pytest.raises(ValueError, match="must have the same size"):
        draw_iuv(GREY, np.zeros((10, 10, 3), np.uint8))


def test_points_are_discs_of_their_colour_cut_at_the_border():
    drawn = draw_points(
        GREY, np.array([[10.5, 8.5], [0.2, 0.2], [200.0, 5.0]]), np.array([4, 9, 1])
    )
    np.testing.assert_array_equal(drawn[8, 10], PART_COLORS[4])
    np.testing.assert_array_equal(drawn[0, 0], PART_COLORS[9])
    assert drawn[8, 13].tolist() == [0, 0, 0] and drawn[8, 14].tolist() == [100] * 3


def test_boxes_may_leave_the_image():
    drawn = draw_boxes(GREY, np.array([[-5, 2, 12, 40], [3, 3, 8, 8]]), ["0.91", "0.20"])
    assert drawn.shape == GREY.shape and drawn[18, 11].tolist() == [255] * 3


def test_a_prediction_is_drawn_with_its_boxes_and_scores():
    image = np.full((90, 120, 3), 100, np.uint8)
    found = prediction(((2, 3, 40, 60), 0.9, 3), ((70, 5, 110, 80), 0.4, 7), size=(90, 120))
    both = draw_prediction(image, found)
    one = draw_prediction(image, found, min_score=0.5)
    bare = draw_prediction(image, found, boxes=False)
    assert (both[5:80, 70:110] != 100).any() and (one[:, 65:] == 100).all()
    assert (bare == 255).sum() < (both == 255).sum()
    np.testing.assert_array_equal(draw_prediction(GREY, prediction()), GREY)


def test_truth_is_drawn_from_annotations_and_from_iuv(tiny_coco: tuple[Path, Path]):
    data = json.loads(tiny_coco[0].read_text())
    image = np.asarray(Image.open(tiny_coco[1] / data["images"][0]["file_name"]))
    people = [p for p in data["annotations"] if p["image_id"] == 1]
    drawn = draw_truth(image, people)
    x, y, w, h = people[0]["bbox"]
    # The last point lies above all others.
    last = people[-1]
    x, y, w, h = last["bbox"]
    at = int(x + last["dp_x"][-1] / 256 * w), int(y + last["dp_y"][-1] / 256 * h)
    np.testing.assert_array_equal(drawn[at[1], at[0]], PART_COLORS[int(last["dp_I"][-1])])
    np.testing.assert_array_equal(draw_truth(image, []), image)
    bare = [{k: v for k, v in p.items() if not k.startswith("dp_")} for p in people]
    on_mesh = [p | {"dp_x": [5.0], "dp_y": [9.0], "dp_vertex": [3]} for p in bare]
    np.testing.assert_array_equal(draw_truth(image, on_mesh), draw_truth(image, bare))
    iuv = np.zeros_like(image)
    np.testing.assert_array_equal(draw_truth(image, iuv), image)


def test_a_row_scales_to_the_tallest_and_keeps_pixels():
    small, tall = np.full((10, 20, 3), 50, np.uint8), np.full((20, 10, 3), 90, np.uint8)
    row = side_by_side([small, tall])
    assert side_by_side([small, tall], ["small", "tall"]).shape[0] > row.shape[0]
    assert (row == 90).all(axis=2).sum() == 20 * 10
    assert (row == 50).all(axis=2).sum() == 20 * 40


def test_a_contact_sheet_breaks_into_rows():
    images = [np.full((10, 10, 3), 10 * k, np.uint8) for k in range(5)]
    sheet = contact_sheet(images, columns=2)
    first_row = [np.flatnonzero((sheet == 10 * k).all(axis=2).any(axis=1))[0] for k in range(5)]
    assert first_row[0] == first_row[1] < first_row[2] == first_row[3] < first_row[4]
    with pytest.raises(ValueError, match="expected a title for each of 5 images, got 1"):
        contact_sheet(images, ["one"])
    with pytest.raises(ValueError, match="expected images"):
        contact_sheet([])
