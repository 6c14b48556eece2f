"""The atlas: look-ups against slow twins on a flat example, quality of the template's charts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.body import load_template
from densepose.surface.charts import ASSET, ChartAtlas, load_template_atlas, read_atlas
from densepose.surface.own.quality import (
    area_distortion,
    distortion_percentile,
    folded_fraction,
)
from tests.support.shapes import random_surface_points, surface_points, two_part_atlas
from tools.assets.bake_atlas import save_atlas


@pytest.fixture(scope="module")
def flat() -> ChartAtlas:
    return two_part_atlas()


@pytest.fixture(scope="module")
def atlas() -> ChartAtlas:
    return load_template_atlas()


def flat_point(part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """What the flat atlas was built from: chart positions -> points."""
    a, b = np.moveaxis((np.clip(uv, 0.1, 0.9) - 0.1) / 0.8, -1, 0)
    xy = np.where((part == 1)[:, None], np.stack([a, b], 1), np.stack([1 + b, 1 - a], 1))
    return np.concatenate([xy, np.zeros((len(xy), 1))], axis=1)


def test_points_come_back_where_they_were_drawn(flat):
    rng = np.random.default_rng(0)
    part, uv = rng.integers(1, 3, 500), rng.random((500, 2))  # a third lies outside the charts
    np.testing.assert_allclose(flat.to_points(part, uv), flat_point(part, uv), atol=1e-5)


def test_one_point_by_hand(flat):
    # (0.3, 0.5) of part 1 is a quarter of the way along the first square and half way up.
    np.testing.assert_allclose(flat.to_points([1], [[0.3, 0.5]]), [[0.25, 0.5, 0]], atol=1e-6)


def test_located_triangles_hold_their_points(flat):
    rng = np.random.default_rng(1)
    part, uv = rng.integers(1, 3, 500), 0.1 + 0.8 * rng.random((500, 2))
    face, weight = flat.locate(part, uv)
    np.testing.assert_array_equal(flat.face_part[face], part)
    assert (weight >= 0).all()
    np.testing.assert_allclose(weight.sum(axis=1), 1)
    drawn = np.einsum("pk,pkd->pd", weight, flat.uv[flat.uv_faces[face]])
    np.testing.assert_allclose(drawn, uv, atol=1e-6)


def test_there_and_back_again(flat):
    face, weight = random_surface_points(flat, 500, np.random.default_rng(3))
    part, uv = flat.from_surface(face, weight)
    np.testing.assert_allclose(
        flat.to_points(part, uv), surface_points(flat, face, weight), atol=1e-6
    )


def test_points_of_another_pose(flat):
    moved = flat.mesh.vertices_m * [1, 1, 0] + [0, 0, 3]
    got = flat.to_points([2], [[0.5, 0.5]], vertices=moved)
    np.testing.assert_allclose(got, [[1.5, 0.5, 3]], atol=1e-6)
    with pytest.raises(ValueError, match=r"vertices must have shape \(45, 3\), got \(44, 3\)"):
        flat.to_points([2], [[0.5, 0.5]], vertices=moved[1:])


def test_of_equally_near_vertices_the_lowest_is_taken():
    flat = two_part_atlas()
    grid = dataclasses.replace(flat, uv=np.rint(flat.uv * 4).astype(np.float32) / 4)
    # Many chart vertices now coincide; a vertex must come out as its lowest double.
    first = [np.flatnonzero((grid.uv == uv).all(1) & (grid.uv_part == p))[0]
             for p, uv in zip(grid.uv_part, grid.uv, strict=True)]  # fmt: skip
    want = grid.uv_vertex_mesh[first]
    np.testing.assert_array_equal(grid.nearest_vertex(grid.uv_part, grid.uv), want)


def test_background_has_no_place(flat):
    face, weight = flat.locate([0, 1], [[0.5, 0.5], [0.5, 0.5]])
    assert face[0] == -1 and face[1] >= 0 and not weight[0].any()
    assert flat.nearest_vertex([0], [[0.5, 0.5]]).tolist() == [-1]
    assert np.isnan(flat.to_points([0], [[0.5, 0.5]])).all()
    part, uv = flat.from_surface([-1], [[1.0, 0.0, 0.0]])
    assert part.tolist() == [0] and uv.tolist() == [[0, 0]]


def test_no_points_are_no_problem(flat):
    part, uv = np.zeros(0, int), np.zeros((0, 2))
    assert flat.to_points(part, uv).shape == (0, 3)
    assert flat.nearest_vertex(part, uv).shape == (0,)
    assert flat.from_surface(part, np.zeros((0, 3)))[1].shape == (0, 2)


@pytest.mark.parametrize(
    ("part", "uv", "message"),
    [
        ([3], [[0.5, 0.5]], "part 3 has no chart; expected 0 .* or one of \\[1, 2\\]"),
        ([-1], [[0.5, 0.5]], "part -1 has no chart"),
        ([1.5], [[0.5, 0.5]], "part 1.5 has no chart"),
        ([1, 1], [[0.5, 0.5]], r"shapes \(P,\) and \(P, 2\), got \(2,\) and \(1, 2\)"),
        ([1, 1], [[0.5, 0.5], [np.nan, 0]], r"\(u, v\) of point 1 is not finite"),
    ],
)
def test_wrong_points_are_refused(flat, part, uv, message):
    for ask in (flat.locate, flat.nearest_vertex, flat.to_points):
        with pytest.raises(ValueError, match=message):
            ask(part, uv)


def test_wrong_triangles_are_refused(flat):
    with pytest.raises(ValueError, match="triangles must be -1 to 63, got 64 to 64"):
        flat.from_surface([64], [[1, 0, 0]])
    with pytest.raises(ValueError, match=r"shapes \(P,\) and \(P, 3\), got \(1,\) and \(1, 2\)"):
        flat.from_surface([6], [[1, 0]])


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("uv", lambda x: x + 1, r"u and v must lie in \[0, 1\]"),
        ("uv", lambda x: x[:, :1], r"uv must have shape \(50, 2\), got \(50, 1\)"),
        ("uv_faces", lambda x: x[:, ::-1], "do not join the vertices of the mesh"),
        ("uv_faces", lambda x: x + 9, "uv_faces must lie in 0 to 49"),
        ("face_part", lambda x: x[::-1], "belong to different parts"),
        ("face_part", lambda x: x + 24, "parts of triangles must be 1 to 24"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(flat, field, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(flat, **{field: change(getattr(flat, field))})


# The template's atlas ------------------------------------------------------------------------


def test_the_baked_atlas_is_the_one_of_the_baked_body(tmp_path):
    """Fails when the body was baked again without its atlas: run bake_atlas."""
    body = load_template()
    assert read_atlas(ASSET, body).mesh is body.mesh
    other = dataclasses.replace(body, face_part=body.face_part[::-1])
    with pytest.raises(InputError, match=r"atlas\.npz: baked for body .* bake it again"):
        read_atlas(ASSET, other)
    with pytest.raises(InputError, match="atlas.npz: missing; reinstall the package or bake it"):
        read_atlas(tmp_path / "atlas.npz", body)


def test_saving_and_reading_changes_nothing(tmp_path, atlas):
    save_atlas(tmp_path / "a.npz", atlas, load_template())
    again = read_atlas(tmp_path / "a.npz", load_template())
    for name in ("uv", "uv_part", "uv_vertex_mesh", "uv_faces"):
        np.testing.assert_array_equal(getattr(again, name), getattr(atlas, name))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "a.npz", **{**arrays, "schema": 99})
    with pytest.raises(InputError, match="schema 99, this version reads schema 1"):
        read_atlas(tmp_path / "a.npz", load_template())


def test_folds_and_distortion(atlas):
    """At most 1% of a part folded over; distortion as measured, with a little room."""
    folded, distortion = folded_fraction(atlas), distortion_percentile(atlas, 95)
    for part in range(24):
        print(f"part {part + 1}: folded {folded[part]:.4f}, distortion 95% {distortion[part]:.2f}")
    assert folded.max() <= 0.01
    closed = np.isin(np.arange(1, 25), [3, 4, 5, 6, 23, 24])
    assert distortion[~closed].max() < 2
    assert distortion[closed].max() < 8


def test_distortion_of_equal_squares_is_one(flat):
    np.testing.assert_allclose(area_distortion(flat), 1, rtol=1e-5)
    np.testing.assert_allclose(distortion_percentile(flat)[:2], 1, rtol=1e-5)
    assert (
        np.isnan(distortion_percentile(flat)[2:]).all()
        and np.isnan(folded_fraction(flat)[2:]).all()
    )
    turned = dataclasses.replace(flat, uv=1 - flat.uv[:, ::-1])
    assert folded_fraction(turned)[:2].tolist() == [1, 1]
