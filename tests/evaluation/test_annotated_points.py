from __future__ import annotations

import numpy as np

from densepose.evaluation.annotated_points import (
    VertexOfCode,
    annotated_points_px,
    part_of,
    pixels_in_boxes,
    read_codes,
    replaced_part,
    surface_distances,
    uv_of,
    without_uv,
)
from densepose.evaluation.generated import generated_surface


def test_pixels_follow_the_formula_written_as_a_loop():
    rng = np.random.default_rng(0)
    grid = rng.uniform(0, 256, (30, 2))
    owner = rng.uniform((-20, -20, 10, 10), (60, 60, 90, 90), (30, 4))
    boxes = rng.uniform((-20, -20, 0.2, 0.2), (60, 60, 90, 90), (5, 4))
    row, column, inside = pixels_in_boxes(annotated_points_px(grid, owner), boxes)
    for d, (x, y, w, h) in enumerate(boxes.tolist()):
        for p in range(len(grid)):
            ox, oy, ow, oh = owner[p].tolist()
            px = int(grid[p, 0] * ow / 255 + ox - x)
            py = int(grid[p, 1] * oh / 255 + oy - y)
            assert inside[d, p] == (0 <= px < int(w) and 0 <= py < int(h))
            if inside[d, p]:
                assert (column[d, p], row[d, p]) == (px, py)


def test_the_metric_divides_by_255_where_training_divides_by_256():
    point = annotated_points_px(np.array([[255.0, 51.0]]), np.array([[10.0, 20.0, 100.0, 50.0]]))
    np.testing.assert_allclose(point, [[110.0, 30.0]])


def test_a_point_less_than_a_pixel_left_of_the_box_still_counts():
    boxes = np.array([[10.0, 10.0, 5.0, 5.0]])
    inside = pixels_in_boxes(np.array([[9.5, 12.0], [8.9, 12.0], [15.0, 12.0]]), boxes)[2]
    assert inside.tolist() == [[True, False, False]]


def test_a_box_thinner_than_a_pixel_holds_no_point():
    boxes = np.array([[10.0, 10.0, 0.9, 50.0]])
    assert not pixels_in_boxes(np.array([[10.2, 12.0]]), boxes)[2].any()


def test_codes_hold_part_and_uv_and_are_background_outside():
    labels = (np.array([[0, 24], [3, 7]], np.uint8),)
    uv = (np.array([[[0, 255], [1, 2]], [[0, 255], [3, 4]]], np.uint8),)
    row, column = np.array([[0, 1, 1]]), np.array([[1, 0, 1]])
    codes = read_codes(labels, uv, row, column, np.array([[True, True, False]]))
    assert part_of(codes).tolist() == [[24, 3, 0]]
    np.testing.assert_array_equal(uv_of(codes[0, :2]), np.array([[255, 255], [1, 3]]) / 255)


def test_oracles_take_the_part_and_drop_coordinates():
    labels, uv = (np.array([[5]], np.uint8),), (np.array([[[9]], [[8]]], np.uint8),)
    place = np.zeros((1, 2), int)
    inside = np.array([[True, False]])
    codes = read_codes(labels, uv, place, place, inside)
    true_part = replaced_part(codes, np.array([12, 13]), inside)
    assert part_of(true_part).tolist() == [[12, 0]]
    np.testing.assert_array_equal(uv_of(true_part[0])[0], np.array([9, 8]) / 255)
    np.testing.assert_array_equal(uv_of(without_uv(codes)[0]), 0)
    assert part_of(without_uv(codes)).tolist() == [[5, 0]]


def test_vertices_of_codes_are_those_of_the_surface_and_asked_once():
    surface = generated_surface(vertices_per_part=12)
    asked = []

    class Counting:
        def nearest_vertex(self, part, uv):
            asked.append(len(part))
            return surface.nearest_vertex(part, uv)

    rng = np.random.default_rng(1)
    codes = (rng.integers(0, 25, 500) << 16) | rng.integers(0, 1 << 16, 500)
    lookup = VertexOfCode(Counting())
    np.testing.assert_array_equal(
        lookup(codes), surface.nearest_vertex(part_of(codes), uv_of(codes))
    )
    np.testing.assert_array_equal(lookup(codes), lookup(codes))
    assert asked == [len(np.unique(codes[part_of(codes) > 0]))]
    assert lookup(np.zeros(0, np.int64)).shape == (0,)


def test_distances_are_zero_on_the_spot_and_infinite_without_vertex():
    surface = generated_surface(vertices_per_part=12)
    distance, looked_up = surface_distances(
        surface, np.array([3, 3, 3, -1]), np.array([3, -1, 9, -1])
    )
    assert distance[0] == 0 and np.isinf(distance[[1, 3]]).all()
    assert distance[2] == surface.distance_m([3], [9])[0] > 0
    assert looked_up.tolist() == [False, False, True, False]
