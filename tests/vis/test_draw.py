import json
from pathlib import Path

import numpy as np
from PIL import Image

from densepose.vis.draw import draw, draw_annotations, draw_boxes, draw_points
from densepose.vis.styles import PART_COLORS
from tests.support.predictions import prediction

GREY = np.full((20, 30, 3), 100, np.uint8)


def test_contours_stand_where_u_or_v_cross_a_level():
    iuv = np.zeros((40, 256, 3), np.uint8)
    iuv[..., 0] = 1
    iuv[..., 1] = np.arange(256)
    drawn = draw(np.full_like(iuv, 100), iuv, style="contour")
    on_line = np.flatnonzero((drawn[10] != 70).any(axis=1))
    # Six levels of 256 / 6 steps each have five borders.
    np.testing.assert_array_equal(on_line, np.ceil(256 / 6 * np.arange(1, 6)) - 1)


def test_points_are_discs_of_their_colour_cut_at_the_border():
    drawn = draw_points(
        GREY, np.array([[10.5, 8.5], [0.2, 0.2], [200.0, 5.0]]), np.array([4, 9, 1])
    )
    np.testing.assert_array_equal(drawn[8, 10], PART_COLORS[4])
    np.testing.assert_array_equal(drawn[0, 0], PART_COLORS[9])
    assert drawn[8, 13].tolist() == [0, 0, 0] and drawn[8, 14].tolist() == [100] * 3
    assert (GREY == 100).all()


def test_boxes_may_leave_the_image():
    drawn = draw_boxes(GREY, np.array([[-5, 2, 12, 40], [3, 3, 8, 8]]), ["0.91", "0.20"])
    assert drawn.shape == GREY.shape and drawn[18, 11].tolist() == [255] * 3


def test_a_prediction_is_drawn_with_its_boxes_and_scores():
    image = np.full((90, 120, 3), 100, np.uint8)
    found = prediction(((2, 3, 40, 60), 0.9, 3), ((70, 5, 110, 80), 0.4, 7), size=(90, 120))
    both = draw(image, found, boxes=True)
    one = draw(image, found, boxes=True, min_score=0.5)
    bare = draw(image, found)
    assert (both[5:80, 70:110] != 100).any() and (one[:, 65:] == 100).all()
    assert (bare == 255).sum() < (both == 255).sum()
    np.testing.assert_array_equal(draw(GREY, prediction(), boxes=True), GREY)


def test_annotations_are_drawn(tiny_coco: tuple[Path, Path]):
    data = json.loads(tiny_coco[0].read_text())
    image = np.asarray(Image.open(tiny_coco[1] / data["images"][0]["file_name"]))
    people = [p for p in data["annotations"] if p["image_id"] == 1]
    drawn = draw_annotations(image, people)
    # The last point lies above all others.
    last = people[-1]
    x, y, w, h = last["bbox"]
    at = int(x + last["dp_x"][-1] / 256 * w), int(y + last["dp_y"][-1] / 256 * h)
    np.testing.assert_array_equal(drawn[at[1], at[0]], PART_COLORS[int(last["dp_I"][-1])])
    np.testing.assert_array_equal(draw_annotations(image, []), image)
    bare = [{k: v for k, v in p.items() if not k.startswith("dp_")} for p in people]
    on_mesh = [p | {"dp_x": [5.0], "dp_y": [9.0], "dp_vertex": [3]} for p in bare]
    np.testing.assert_array_equal(draw_annotations(image, on_mesh), draw_annotations(image, bare))
