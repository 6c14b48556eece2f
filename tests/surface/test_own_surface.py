"""Surfaces of meshes of the user's own: charts, the file, what evaluation and flips make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.charts import vertex_iuv
from densepose.surface.evaluation_surface import load_evaluation_surface
from densepose.surface.geodesics import cached_geodesics
from densepose.surface.mesh import mesh_fingerprint
from densepose.surface.own.build import (
    BuildOptions,
    build_own_surface,
    chart_warnings,
    make_own_atlas,
)
from densepose.surface.own.quality import folded_fraction
from densepose.surface.own.surface_file import (
    OwnSurface,
    load_own_evaluation_surface,
    read_own_surface,
    write_own_surface,
)
from tests.support.shapes import (
    grid_mesh,
    half_cylinder,
    random_surface_points,
    sphere,
    surface_points,
    torus,
    tube,
    write_obj,
)


@pytest.fixture(scope="module")
def egg(tmp_path_factory) -> Path:
    """An egg that is no body of revolution, with a pointed end up: left and right are across x."""
    ball = sphere(2)
    x, y, z = ball.vertices_m.T
    points = np.stack([0.5 * x, 1.2 * y + 0.2 * z, (0.7 - 0.2 * y) * z + 0.1 * z**2], axis=1)
    path = tmp_path_factory.mktemp("own") / "egg.obj"
    write_obj(path, ball.with_vertices(points))
    return path


@pytest.fixture(scope="module")
def surface(egg):
    return build_own_surface(egg, BuildOptions(num_parts=6))[0]


def test_charts_have_no_folds_and_fill_the_square(surface):
    atlas = surface.atlas
    parts = np.unique(atlas.face_part)
    assert 5 <= len(parts) <= 6 and (folded_fraction(atlas)[parts - 1] == 0).all()
    for part in parts:
        uv = atlas.uv[atlas.uv_part == part]
        np.testing.assert_allclose([uv.min(axis=0), uv.max(axis=0)], [[0, 0], [1, 1]], atol=1e-6)


def test_places_come_back_through_their_charts(surface):
    atlas = surface.atlas
    face, weight = random_surface_points(atlas, 300, np.random.default_rng(0))
    places = surface_points(atlas, face, weight)
    np.testing.assert_allclose(
        atlas.to_points(*atlas.from_surface(face, weight)), places, atol=1e-5
    )
    vertex = np.arange(atlas.mesh.num_vertices)
    np.testing.assert_array_equal(atlas.vertices_of(vertex_iuv(atlas, vertex)), vertex)


@pytest.mark.parametrize("up", [1, 2])
def test_v_grows_along_the_axis_called_up_and_u_does_not(egg, up):
    built, _ = build_own_surface(egg, BuildOptions(num_parts=6, up="xyz"[up]))
    atlas = built.atlas
    height = atlas.mesh.vertices_m[atlas.uv_vertex_mesh, up]
    for part in np.unique(atlas.face_part):
        mine = atlas.uv_part == part
        flat = np.column_stack([atlas.uv[mine], np.ones(mine.sum())]).astype(np.float64)
        along_u, along_v, _ = np.linalg.lstsq(flat, height[mine], rcond=None)[0]
        assert along_v > 0 and abs(along_u) < 1e-4 + 1e-3 * along_v


def test_a_flip_goes_to_the_mirrored_place(surface):
    atlas, symmetry = surface.atlas, surface.symmetry
    face, weight = random_surface_points(atlas, 400, np.random.default_rng(1))
    part, uv = atlas.from_surface(face, weight)
    mirrored = atlas.to_points(symmetry.part[part], symmetry.flip_uv(part, uv))
    error = np.linalg.norm(mirrored - surface_points(atlas, face, weight) * [-1, 1, 1], axis=1)
    # The table has steps of 1 / 255, and borders of parts are alike but for single triangles.
    assert np.median(error) < 0.01 and np.percentile(error, 95) < 0.06
    np.testing.assert_array_equal(symmetry.part[symmetry.part], np.arange(25))
    image = atlas.mesh.vertices_m[surface.mirror_vertex]
    np.testing.assert_allclose(image, atlas.mesh.vertices_m * [-1, 1, 1], atol=1e-5)


def test_the_file_gives_everything_back(surface, tmp_path):
    path = tmp_path / "egg.npz"
    write_own_surface(path, surface)
    again = read_own_surface(path)
    assert again.name == "egg" and again.part_names == surface.part_names
    for name in ("face_part", "uv", "uv_part", "uv_vertex_mesh", "uv_faces"):
        np.testing.assert_array_equal(getattr(again.atlas, name), getattr(surface.atlas, name))
    np.testing.assert_array_equal(again.atlas.mesh.faces, surface.atlas.mesh.faces)
    np.testing.assert_array_equal(again.mirror_vertex, surface.mirror_vertex)
    np.testing.assert_array_equal(again.symmetry.part, surface.symmetry.part)
    np.testing.assert_allclose(again.symmetry.uv_table, surface.symmetry.uv_table, atol=1e-5)
    mesh = surface.atlas.mesh
    name = f"geodesics_{mesh_fingerprint(mesh.vertices_m, mesh.faces)}_12.npy"
    assert {p.name for p in tmp_path.iterdir()} == {"egg.npz", name}


def test_evaluation_takes_the_file_and_maps_its_distances(surface, tmp_path):
    path = tmp_path / "egg.npz"
    write_own_surface(path, surface)
    ready = load_evaluation_surface(str(path))
    assert isinstance(ready.distances.triangle, np.memmap) and ready.name == "egg"
    mesh = surface.atlas.mesh
    expected = cached_geodesics(mesh, tmp_path / "cache")
    a, b = np.random.default_rng(2).integers(0, mesh.num_vertices, (2, 500))
    np.testing.assert_array_equal(ready.distance_m(a, b), expected.lookup(a, b))
    part, uv = surface.atlas.uv_part[:50], surface.atlas.uv[:50]
    np.testing.assert_array_equal(
        ready.nearest_vertex(part, uv), surface.atlas.nearest_vertex(part, uv)
    )


def test_without_distances_they_are_computed_into_the_cache(surface, tmp_path):
    path = tmp_path / "egg.npz"
    write_own_surface(path, surface, geodesics=False)
    ready = load_own_evaluation_surface(path, cache_dir=tmp_path / "cache")
    assert ready.distance_m([0], [0])[0] == 0 and ready.distance_m([0], [5])[0] > 0
    assert len(list((tmp_path / "cache").glob("geodesics_*.npy"))) == 1


@pytest.mark.parametrize("mesh", [sphere(1), tube(), torus(), half_cylinder()])
def test_one_part_of_any_shape_gets_a_chart_without_folds(mesh):
    atlas = make_own_atlas(mesh, np.ones(mesh.num_faces, int))
    assert folded_fraction(atlas)[0] == 0
    places = mesh.vertices_m[atlas.uv_vertex_mesh]
    np.testing.assert_allclose(atlas.to_points(atlas.uv_part, atlas.uv), places, atol=1e-4)


def test_a_flat_piece_keeps_its_shape():
    mesh = grid_mesh(6, 4)
    atlas = make_own_atlas(mesh, np.ones(mesh.num_faces, int))
    np.testing.assert_allclose(atlas.uv, mesh.vertices_m[atlas.uv_vertex_mesh, :2], atol=1e-4)
    built = OwnSurface("flat", atlas, ("",) * 25, None, None)
    assert chart_warnings(built) == []


def test_a_part_in_two_pieces_is_an_error_with_its_name():
    mesh = grid_mesh(10, 2)
    part = np.where(np.abs(mesh.vertices_m[mesh.faces][..., 0].mean(axis=1) - 0.5) < 0.2, 2, 1)
    with pytest.raises(InputError, match=r"part 1 \(sleeves\) is in 2 pieces of 50.0%, 50.0%"):
        make_own_atlas(mesh, part, names=("", "sleeves", "body"))


def test_a_lopsided_mesh_has_no_left_and_right(tmp_path):
    points = sphere(1).vertices_m * [1, 2, 3] + np.random.default_rng(0).normal(0, 0.2, (42, 3))
    write_obj(tmp_path / "stone.obj", sphere(1).with_vertices(points))
    built, found = build_own_surface(tmp_path / "stone.obj", BuildOptions(num_parts=3))
    assert built.symmetry is None and built.mirror_vertex is None
    assert any("no left and right: the mesh is not symmetric" in w for w in found.warnings)
    write_own_surface(tmp_path / "stone.npz", built)
    assert read_own_surface(tmp_path / "stone.npz").symmetry is None


def test_files_that_are_none_are_rejected(surface, tmp_path):
    with pytest.raises(InputError, match="absent.npz: no such file; densepose build-sur"):
        read_own_surface(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="egg.txt: the file of a surface ends in .npz"):
        write_own_surface(tmp_path / "egg.txt", surface)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match="text.npz: not a file of a surface, or damaged"):
        read_own_surface(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(InputError, match="other.npz: not a file of a surface of layout 1"):
        read_own_surface(tmp_path / "other.npz")
    with pytest.raises(InputError, match="unknown surface 'smlp'; expected one of .*build-surface"):
        load_evaluation_surface("smlp")
