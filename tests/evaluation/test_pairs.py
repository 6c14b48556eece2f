from __future__ import annotations

import numpy as np

from densepose.evaluation.pairs import (
    ImagePairs,
    VertexOfCode,
    annotated_points_px,
    part_of,
    read_codes,
    replaced_part,
    surface_distances,
    uv_of,
    without_uv,
)
from tests.support import packed
from tools.upstream.generated import generated_surface


def map_of_box(box, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
    height, width = (max(int(side), 1) for side in (box[3], box[2]))
    if rng is None:
        return np.ones((height, width), np.uint8), np.zeros((2, height, width), np.uint8)
    labels = rng.integers(0, 25, (height, width), dtype=np.uint8)
    return labels, rng.integers(0, 256, (2, height, width), dtype=np.uint8)


def read(points_grid, owner, person_boxes, boxes, rng=None) -> tuple[np.ndarray, np.ndarray, list]:
    """Codes and inside of all pairs of one image, and the maps."""
    maps = [map_of_box(box, rng) for box in boxes]
    people = packed.people(
        len(person_boxes),
        boxes_xywh_px=np.asarray(person_boxes, np.float64),
        points_grid=np.asarray(points_grid, np.float64),
        owner=np.asarray(owner, np.int64),
        part=np.ones(len(owner), np.int64),
        uv=np.zeros((len(owner), 2)),
    )
    found = packed.detections(boxes, [m[0] for m in maps], uv=[m[1] for m in maps])
    return *read_codes(ImagePairs(people, found)), maps


def test_codes_follow_the_formula_written_as_a_loop():
    rng = np.random.default_rng(0)
    grid, owner = rng.uniform(0, 256, (60, 2)), np.sort(rng.integers(0, 4, 60))
    persons = rng.uniform((-20, -20, 10, 10), (60, 60, 90, 90), (4, 4))
    boxes = rng.uniform((-20, -20, 0.2, 0.2), (60, 60, 90, 90), (5, 4))
    codes, inside, maps = read(grid, owner, persons, boxes, rng)
    want = []
    for (x, y, w, h), (labels, uv) in zip(boxes.tolist(), maps, strict=True):
        for p in range(len(grid)):
            ox, oy, ow, oh = persons[owner[p]].tolist()
            px = int(grid[p, 0] * ow / 255 + ox - x)
            py = int(grid[p, 1] * oh / 255 + oy - y)
            if 0 <= px < int(w) and 0 <= py < int(h):
                u, v = uv[:, py, px].tolist()
                want.append((True, int(labels[py, px]), u, v))
            else:
                want.append((False, 0, 0, 0))
    got = zip(inside.tolist(), part_of(codes).tolist(), codes >> 8 & 255, codes & 255, strict=True)
    assert list(got) == want
    assert 20 < inside.sum() < inside.size - 20


def test_the_metric_divides_by_255_where_training_divides_by_256():
    point = annotated_points_px(np.array([[255.0, 51.0]]), np.array([[10.0, 20.0, 100.0, 50.0]]))
    np.testing.assert_allclose(point, [[110.0, 30.0]])


def test_a_point_less_than_a_pixel_left_of_the_box_still_counts():
    points = [[9.5, 12.0], [8.9, 12.0], [15.0, 12.0]]
    inside = read(points, [0, 0, 0], [[0, 0, 255, 255]], [[10.0, 10.0, 5.0, 5.0]])[1]
    assert inside.tolist() == [True, False, False]


def test_a_box_thinner_than_a_pixel_holds_no_point():
    person, box = [0, 0, 255, 255], [10.0, 10.0, 0.9, 50.0]
    assert not read([[10.2, 12.0]], [0], [person], [box])[1].any()


def test_nobody_asks_for_nothing():
    assert read(np.zeros((0, 2)), [], np.zeros((0, 4)), [[1, 1, 5, 5]])[0].shape == (0,)
    assert read([[1.0, 1.0]], [0], [[0, 0, 9, 9]], [])[0].shape == (0,)


def test_oracles_take_the_part_and_drop_coordinates():
    codes = np.array([(5 << 16) | (9 << 8) | 8, 0], np.int32)
    inside = np.array([True, False])
    true_part = replaced_part(codes, np.array([12, 13]), inside)
    assert part_of(true_part).tolist() == [12, 0]
    np.testing.assert_array_equal(uv_of(true_part)[0], np.array([9, 8]) / 255)
    np.testing.assert_array_equal(uv_of(without_uv(codes)), 0)
    assert part_of(without_uv(codes)).tolist() == [5, 0]


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
