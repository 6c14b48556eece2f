"""The steps of the bake that need no anny: closing, cutting, simplifying, turning edges."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from densepose.surface.mesh import (
    boundary_edges,
    edge_lengths,
    edges,
    euler_characteristic,
    face_areas,
)
from tools.assets.bake_parts import cut_along, split_edges
from tools.assets.bake_simplify import (
    Simplifier,
    feature_edges,
    flip_edges,
    measure_triangles,
    split_long_edges,
)
from tools.assets.bake_source import _open_chains, _zipped
from tools.assets.bake_template import _strongest


def half_disc(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy rectangle, x from 0 to 1 and y from 0 to 2; its side at x = 0 is a middle line."""
    x, y = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 2, rows))
    points = np.stack([x, y, 0.1 * np.sin(3 * x) * np.cos(2 * y)], axis=-1).reshape(-1, 3)
    index = np.arange(columns * rows).reshape(rows, columns)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1)
    quads = quads.reshape(-1, 4)
    return points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def is_consistent(faces: np.ndarray) -> bool:
    """Whether no directed side occurs twice, so that neighbours have the same orientation."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return len(np.unique(sides, axis=0)) == len(sides)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_splitting_any_number_of_sides_keeps_area_and_orientation(count: int):
    points = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0]], dtype=float)
    edge = np.array([[0, 1], [1, 2], [0, 2]])[:count]
    for turn in range(3):
        faces = split_edges(np.roll([[0, 1, 2]], turn, axis=1), edge, 3)
        corner = np.concatenate([points, points[edge].mean(axis=1)])[faces]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        assert len(faces) == count + 1
        assert (normal[:, 2] > 0).all()
        assert normal[:, 2].sum() / 2 == pytest.approx(6)


def test_cutting_leaves_no_triangle_on_both_sides_and_a_straight_line():
    points, faces = half_disc(8, 15)
    fields = np.stack([points[:, 1] - 0.98 - 0.1 * points[:, 0], points[:, 0]], axis=1)
    everywhere, nowhere = np.ones(len(faces), bool), np.zeros(len(points), bool)
    rows, cut, new = cut_along(points, faces, fields, 0, everywhere, nowhere)
    sign = np.sign(new[cut, 0])
    assert not ((sign.min(axis=1) < 0) & (sign.max(axis=1) > 0)).any()
    line = rows[new[:, 0] == 0]
    np.testing.assert_allclose(line[:, 1] - 0.98 - 0.1 * line[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(new[:, 1], rows[:, 0], atol=1e-12)
    assert is_consistent(cut)
    assert euler_characteristic(cut) == 1


def test_cutting_does_not_move_fixed_vertices():
    points, faces = half_disc(8, 15)
    fields = (points[:, 1] - 0.98)[:, None]
    fixed = points[:, 0] == 0
    everywhere = np.ones(len(faces), dtype=bool)
    rows, _, new = cut_along(points, faces, fields, 0, everywhere, fixed)
    np.testing.assert_array_equal(rows[: len(points)][fixed], points[fixed])
    # Row 7 of the grid, at height 1, is near enough to take the cut as it is.
    assert (new[: len(points), 0][fixed] == 0).sum() == 1


def test_splitting_long_edges_reaches_the_spacing_and_keeps_parts_and_area():
    points, faces = half_disc(3, 4)
    part = np.where(points[faces][..., 1].mean(axis=1) < 1, 7, 8).astype(np.uint8)
    spacing = np.full(len(points), 0.1)
    rows, fine, fine_part, fine_spacing = split_long_edges(points, faces, part, spacing)
    assert edge_lengths(rows, edges(fine)).max() <= 0.15
    assert len(fine_spacing) == len(rows)
    assert is_consistent(fine)
    for number in (7, 8):
        before = face_areas(points, faces[part == number]).sum()
        assert face_areas(rows, fine[fine_part == number]).sum() == pytest.approx(before)


def test_simplifying_keeps_topology_borders_and_the_middle_line():
    points, faces = half_disc(12, 23)
    part = np.where(points[faces][..., 1].mean(axis=1) < 1, 7, 8).astype(np.uint8)
    run = Simplifier(points, faces, part, np.full(len(points), 0.2))
    kept = run.run(90)
    left = np.array([run.faces[f] for f in kept])
    assert run.alive == len(np.unique(left)) == 90
    assert is_consistent(left)
    for number in (7, 8):
        mine = left[part[kept] == number]
        assert euler_characteristic(mine) == 1
        # The outline is straight, so collapses along it lose no area but that of the bumps.
        before = face_areas(points, faces[part == number]).sum()
        assert face_areas(points, mine).sum() == pytest.approx(before, rel=0.02)
    border = points[np.unique(boundary_edges(left[part[kept] == 7]))]
    assert (border[border[:, 1] > 0.5, 1].max()) == pytest.approx(1)
    # No inner edge joins two vertices of the rim: with its mirror image it would have four sides.
    rim = set(boundary_edges(left).ravel().tolist())
    known = {tuple(sorted(pair)) for pair in boundary_edges(left).tolist()}
    inner = [pair for pair in edges(left).tolist() if tuple(pair) not in known]
    added = [pair for pair in inner if set(pair) <= rim]
    existing = {tuple(pair) for pair in edges(faces).tolist()}
    assert all(tuple(pair) in existing for pair in added)


def test_quality_of_triangles_by_hand():
    corners = np.array(
        [[[0, 0, 0], [1, 0, 0], [0.5, 3**0.5 / 2, 0]], [[0, 0, 0], [1, 0, 0], [2, 0, 0]]]
    )
    normal, quality, longest = measure_triangles(corners)
    np.testing.assert_allclose(normal[0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(quality, [1, 0], atol=1e-12)
    np.testing.assert_allclose(longest, [1, 2])


def test_features_are_the_rim_and_the_borders_of_parts():
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    lines, rim = feature_edges(faces, np.array([1, 2], dtype=np.uint8))
    assert lines.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    assert rim.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    same, _ = feature_edges(faces, np.array([1, 1], dtype=np.uint8))
    assert [0, 2] not in same.tolist()


def fan_of_thin_triangles() -> tuple[np.ndarray, np.ndarray]:
    """Two thin triangles at edge 0-2, flat, with others around them."""
    points = np.array([[0, 0], [1, -0.3], [2, 0], [1, 0.3], [1, -3], [1, 3]], dtype=float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 4, 1], [1, 4, 2], [2, 5, 3], [3, 5, 0]])
    return np.concatenate([points, np.zeros((6, 1))], axis=1), faces


def test_turning_edges_makes_better_triangles_and_keeps_borders():
    points, faces = fan_of_thin_triangles()
    turned = flip_edges(points, faces, np.ones(6, dtype=np.uint8))
    assert [1, 3] in edges(turned).tolist()
    assert [0, 2] not in edges(turned).tolist()
    assert is_consistent(turned)
    assert measure_triangles(points[turned])[1].min() > measure_triangles(points[faces])[1].min()
    border = flip_edges(points, faces, np.array([1, 2, 1, 1, 2, 2], dtype=np.uint8))
    np.testing.assert_array_equal(border, faces)


def test_an_open_mouth_is_zipped_shut():
    """Upper lip 0..3 and lower lip 7..4, open towards the middle line at x = 0."""
    x = np.array([0, 1, 2, 3, 3.5, 3, 2, 1, 0])
    y = np.array([1, 1, 0.8, 0.5, 0, -0.5, -0.8, -1, -1])
    places = np.stack([x, y, np.zeros(9)], axis=1)
    rim = np.arange(9)
    patch = _zipped(rim, places)
    corner = places[patch]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])[:, 2]
    assert len(patch) == 7
    assert (np.sign(normal) == np.sign(normal[0])).all()
    sides = {tuple(s) for f in patch.tolist() for s in zip(f, f[1:] + f[:1], strict=True)}
    # The patch runs along each side of the rim in the opposite direction.
    assert {(b, a) for a, b in zip(rim[:-1].tolist(), rim[1:].tolist(), strict=True)} <= sides


def test_rims_of_holes_are_found_without_the_middle_line():
    points, faces = half_disc(6, 9)
    points[:, 0] += 1  # nothing lies in the plane x = 0: one ring
    ring = _open_chains(faces, points)
    assert len(ring) == 1
    assert ring[0][0] == ring[0][-1]
    assert len(ring[0]) == len(boundary_edges(faces)) + 1
    points[:, 0] -= 1
    chain = _open_chains(faces, points)
    assert len(chain) == 1
    assert points[chain[0][[0, -1]], 0].tolist() == [0, 0]


def test_the_four_strongest_joints_keep_pairs_together_on_the_middle_line():
    # Joints: 0 the trunk, 1 the head, 2 the neck, 3 and 4 a pair left and right.
    mirror_joint = np.array([0, 1, 2, 4, 3])
    weights = np.array([[0.4, 0.2, 0.2, 0.1, 0.1], [0.4, 0.2, 0.2, 0.15, 0.05]])
    joint, weight = _strongest(weights, np.array([True, False]), mirror_joint)
    np.testing.assert_allclose(weight.sum(axis=1), 1)
    assert set(joint[0][weight[0] > 0].tolist()) == {0, 1, 2}
    np.testing.assert_allclose(weight[1], np.array([0.4, 0.2, 0.2, 0.15]) / 0.95)


def test_the_tool_explains_itself(request: pytest.FixtureRequest):
    shown = subprocess.run(
        [sys.executable, "-m", "tools.assets.bake_template", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(request.config.rootpath), "PATH": ""},
        cwd=request.config.rootpath,
    )
    assert "example: python -m tools.assets.bake_template" in shown.stdout
