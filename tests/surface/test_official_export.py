"""A surface written in the form of every official file and read back."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from scipy.io import loadmat

from densepose.surface.geodesics import GeodesicDistances, packed_size
from densepose.surface.official.charts import chart_turns, load_uv_symmetry, read_uv_processed
from densepose.surface.official.cse import (
    mesh_paths,
    read_distances,
    read_geometry,
    read_mirror,
    read_texcoords,
)
from densepose.surface.official.export import (
    export_surface,
    symmetry_tables,
    texture_coordinates,
    write_pickle,
)
from densepose.surface.official.surface import load_official_surface
from densepose.surface.symmetry import derive_symmetry
from tests.support.shapes import patchwork_atlas

NAME = "patchwork_216"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("exported")
    atlas, mirror = patchwork_atlas()
    count = atlas.mesh.num_vertices
    triangle = np.random.default_rng(0).uniform(0.1, 2, packed_size(count)).astype(np.float32)
    distances = GeodesicDistances(triangle, count)
    symmetry, reported = derive_symmetry(atlas, mirror), []
    files = export_surface(
        folder, atlas, symmetry, mirror, distances, name=NAME, on_file=reported.append
    )
    return locals()


def test_every_file_is_written_and_nothing_else(exported):
    written = {path for path in exported["folder"].rglob("*") if path.is_file()}
    assert written == set(exported["files"]) and len(written) == 9
    assert len(exported["reported"]) == 7


def test_the_evaluation_surface_is_the_same(exported):
    atlas, count = exported["atlas"], exported["count"]
    surface = load_official_surface(exported["folder"], num_vertices=count)
    rng = np.random.default_rng(1)
    part, uv = rng.integers(0, 25, 500), rng.uniform(0, 1, (500, 2))
    np.testing.assert_array_equal(surface.nearest_vertex(part, uv), atlas.nearest_vertex(part, uv))
    i, j = rng.integers(0, count, (2, 400))
    np.testing.assert_array_equal(surface.distance_m(i, j), exported["distances"].lookup(i, j))
    exported["folder"].joinpath("Pdist_matrix.float32.npy").unlink()


def test_the_charts_are_the_same(exported):
    atlas = exported["atlas"]
    read = read_uv_processed(exported["folder"] / "UV_Processed.mat", atlas.mesh.vertices_m)
    for name in ("face_part", "uv", "uv_part", "uv_vertex_mesh", "uv_faces"):
        np.testing.assert_array_equal(getattr(read, name), getattr(atlas, name), err_msg=name)
    np.testing.assert_array_equal(read.mesh.faces, atlas.mesh.faces)
    way, folded = chart_turns(read)
    assert way.tolist() == [1] * 24 and folded.tolist() == [0] * 24


def test_the_subdivided_form_has_places_and_triangles(exported):
    content = loadmat(exported["folder"] / "SMPL_subdiv.mat")
    atlas = exported["atlas"]
    np.testing.assert_allclose(content["vertex"].T, atlas.mesh.vertices_m[atlas.uv_vertex_mesh])
    np.testing.assert_array_equal(content["faces"] - 1, atlas.uv_faces)


def test_the_left_right_maps_agree_to_half_a_step(exported):
    symmetry = exported["symmetry"]
    read = load_uv_symmetry(exported["folder"] / "UV_symmetry_transforms.mat")
    rng = np.random.default_rng(2)
    part, uv = rng.integers(1, 25, 1000), rng.uniform(0, 1, (1000, 2))
    uv[0], uv[1] = 0, 1
    got, want = read.flip_uv(part, uv), symmetry.flip_uv(part, uv)
    assert np.abs(got - want).max() <= 0.5 / 255 + 1e-6
    # Two flips lead back to the same cell of the table.
    again = read.flip_uv(symmetry.part[part], got)
    assert np.abs(again - uv)[2:].max() <= 0.5 / 255 + 1e-6


def test_a_table_by_hand(exported):
    tables = symmetry_tables(exported["symmetry"])
    u, v = (tables[key][0, 5] for key in ("U_transforms", "V_transforms"))
    assert u.shape == (256, 256)
    # Row: v, column: u. The squares are mirrored in u; the value is that of a cell's middle.
    assert u[7, 0] == pytest.approx(1 - 0.5 / 255) and u[200, 254] == pytest.approx(0.5 / 255)
    assert v[10, 3] == pytest.approx(10.5 / 255) and u[0, 255] == 0 and v[255, 0] == 1


def test_the_files_of_the_mesh_are_read_back(exported):
    atlas, count = exported["atlas"], exported["count"]
    paths = mesh_paths(exported["folder"], NAME)
    mesh = read_geometry(paths["geometry"], count)
    np.testing.assert_array_equal(mesh.vertices_m, atlas.mesh.vertices_m)
    np.testing.assert_array_equal(mesh.faces, atlas.mesh.faces)
    np.testing.assert_array_equal(read_mirror(paths["symmetry"], count), exported["mirror"])
    texcoords = read_texcoords(paths["texcoords"], count)
    np.testing.assert_array_equal(texcoords, texture_coordinates(atlas))
    i, j = np.indices((count, count))
    matrix = read_distances(paths["geodists"], count)
    np.testing.assert_array_equal(matrix, exported["distances"].lookup(i, j))


def test_places_in_the_texture_by_hand(exported):
    place = texture_coordinates(exported["atlas"]).reshape(24, 3, 3, 2)
    # Part 8 lies in the second column of tiles, second row; v grows upwards in a tile.
    np.testing.assert_allclose(place[7, 0, 0], [1 / 4, 2 / 6], rtol=1e-6)
    np.testing.assert_allclose(place[7, 2, 1], [1.5 / 4, 1 / 6], rtol=1e-6)
    assert place.max() < 1 and (place.max() * np.float32(800)).astype(int) == 799


def test_pickles_name_modules_that_every_numpy_has(tmp_path):
    array = np.random.default_rng(0).uniform(size=(6, 5)).astype(np.float32)
    write_pickle(tmp_path / "array.pkl", {"a": array})
    assert b"numpy._core" not in (tmp_path / "array.pkl").read_bytes()
    with open(tmp_path / "array.pkl", "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy 2 warns of its old names
        np.testing.assert_array_equal(pickle.load(file)["a"], array)
