"""IUV pixels to the body and back: tables against the slow look-ups they are made from."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.surface.body import load_template
from densepose.surface.chart_search import UV_STEPS
from densepose.surface.charts import ChartAtlas, chart_grid, load_template_atlas, vertex_iuv
from tests.support.shapes import two_part_atlas


@pytest.fixture(scope="module")
def flat() -> ChartAtlas:
    return two_part_atlas()


@pytest.fixture(scope="module")
def template() -> ChartAtlas:
    return load_template_atlas()


def random_iuv(count: int, parts: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    iuv = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    iuv[:, 0] = rng.integers(0, parts + 1, count)
    return iuv


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_a_grid_is_what_locate_says_one_by_one(flat, steps):
    grid = chart_grid(flat, steps)
    part, i, j = (x.ravel() for x in np.meshgrid([1, 2], *[np.arange(steps + 1)] * 2))
    uv = np.stack([i, j], axis=1) / steps
    face, weight = flat.locate(part, uv)
    np.testing.assert_array_equal(grid.face[part, i, j], face)
    np.testing.assert_allclose(grid.barycentric[part, i, j], weight, atol=1e-6)
    # The square of the charts is [0.1, 0.9]^2 but for the rounding of its corners.
    beyond = np.maximum(0.1 - uv, uv - 0.9).max(axis=1)
    clear = np.abs(beyond) > 1e-6
    np.testing.assert_array_equal(grid.inside[part, i, j][clear], (beyond < 0)[clear])
    assert (grid.face[[0, *range(3, 25)]] == -1).all()


def test_the_template_s_tables_are_what_the_atlas_says(template):
    iuv = random_iuv(1500, 24)
    part, uv = iuv[:, 0].astype(int), iuv[:, 1:] / UV_STEPS
    face, weight = template.surface_of(iuv)
    slow_face, slow_weight = template.locate(part, uv)
    np.testing.assert_array_equal(face, slow_face)
    np.testing.assert_array_equal(weight, slow_weight.astype(np.float32))
    np.testing.assert_array_equal(template.vertices_of(iuv), template.nearest_vertex(part, uv))
    points = template.to_points(part, uv)
    np.testing.assert_allclose(template.points_of(iuv), points, atol=2e-6)


def test_points_follow_a_posed_body(template):
    body = load_template()
    rotations = np.zeros((body.num_joints, 3), np.float32)
    rotations[body.joint("l_elbow"), 2] = 0.8
    posed = body.posed(np.zeros(body.num_shapes), rotations, (0.5, 0.0, 2.0))
    iuv = random_iuv(300, 24, seed=1).reshape(20, 15, 3)
    expected = template.to_points(
        iuv[..., 0].ravel(), iuv[..., 1:].reshape(-1, 2) / UV_STEPS, posed
    )
    found = template.points_of(iuv, posed)
    assert found.shape == (20, 15, 3)
    np.testing.assert_allclose(found.reshape(-1, 3), expected, atol=2e-6)
    assert np.nanmax(np.abs(found - template.points_of(iuv) - [0.5, 0, 2])) > 0.05


def test_one_pixel_by_hand(flat):
    # Code 51 of 255 is 0.2: an eighth of the way from 0.1 to 0.9, so 0.125 m from the corner.
    np.testing.assert_allclose(
        flat.points_of(np.array([1, 51, 51], np.uint8)), [0.125, 0.125, 0], atol=1e-6
    )
    assert flat.vertices_of(np.array([[1, 26, 26]], np.uint8))[0] == 0  # the corner at the origin


def test_background_is_nowhere(template):
    nothing = np.zeros((2, 2, 3), np.uint8)
    face, weight = template.surface_of(nothing)
    assert (face == -1).all() and (weight == 0).all()
    assert (template.vertices_of(nothing) == -1).all()
    assert np.isnan(template.points_of(nothing)).all()
    assert template.points_of(np.zeros((0, 3), np.uint8)).shape == (0, 3)


def test_every_vertex_comes_back_through_its_iuv(template):
    atlas = template
    vertex = np.arange(atlas.mesh.num_vertices)
    back = template.vertices_of(vertex_iuv(atlas, vertex))
    lost = back != vertex
    # Vertices nearer than half a step of 1 / 255 share a code: 2 of 6,686.
    assert lost.mean() < 0.001
    places = atlas.mesh.vertices_m
    assert np.linalg.norm(places[back[lost]] - places[vertex[lost]], axis=1).max(initial=0) < 0.005


def test_iuv_comes_back_through_the_surface(template):
    iuv = random_iuv(2000, 24, seed=2)
    part, i, j = iuv.astype(int).T
    iuv = iuv[chart_grid(template, UV_STEPS).inside[part, i, j]]
    part, uv = template.from_surface(*template.surface_of(iuv))
    np.testing.assert_array_equal(
        np.column_stack([part, np.rint(uv * UV_STEPS)]).astype(np.uint8), iuv
    )


def test_a_vertex_on_a_border_is_in_the_lowest_of_its_parts(flat):
    middle = np.flatnonzero(np.isclose(flat.mesh.vertices_m[:, 0], 1))
    part, uv = flat.from_vertices(middle)
    assert (part == 1).all()
    np.testing.assert_allclose(uv[:, 0], 0.9)
    part, uv = flat.from_vertices(np.array([-1, flat.mesh.num_vertices - 1]))
    assert part.tolist() == [0, 2] and uv[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("iuv", "complaint"),
    [
        (np.zeros((4, 2), np.uint8), r"\(\.\.\., 3\) uint8, got \(4, 2\)"),
        (np.zeros((4, 3)), "got .* float64"),
        (np.array([[3, 0, 0]], np.uint8), r"part 3 has no chart; expected .* \[1, 2\]"),
        (np.array([[200, 0, 0]], np.uint8), "part 200 has no chart"),
    ],
)
def test_what_is_no_iuv_is_rejected(flat, iuv, complaint):
    for ask in (flat.surface_of, flat.vertices_of, flat.points_of):
        with pytest.raises(ValueError, match=complaint):
            ask(iuv)


def test_wrong_vertices_are_rejected(flat):
    with pytest.raises(ValueError, match="vertices must have shape"):
        flat.points_of(np.zeros((1, 3), np.uint8), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="vertices must be -1 to 44, got 45 to 45"):
        flat.from_vertices([45])
    with pytest.raises(ValueError, match="integers, got .* float64"):
        flat.from_vertices([0.5])
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        chart_grid(flat, 0)
