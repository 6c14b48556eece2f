"""Distances along the surface: exactness, laws, storage, cache."""

from __future__ import annotations

import numpy as np
import pytest
from pygeodesic import geodesic as exact
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from densepose.errors import InputError
from densepose.surface.body import load_template
from densepose.surface.geodesics import (
    GeodesicDistances,
    cached_geodesics,
    packed_index,
    packed_size,
    straight_line_graph,
    write_geodesics,
)
from densepose.surface.mesh import SurfaceMesh
from tests.support.shapes import grid_mesh, sphere, unit_cube


def all_distances(mesh: SurfaceMesh, **options: int) -> np.ndarray:
    return dijkstra(straight_line_graph(mesh.vertices_m, mesh.faces, **options))


def exact_distances(mesh: SurfaceMesh, sources: np.ndarray) -> np.ndarray:
    solver = exact.PyGeodesicAlgorithmExact(mesh.vertices_m.astype(float), mesh.faces)
    return np.stack([solver.geodesicDistances(np.array([s]), None)[0] for s in sources])


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> tuple[SurfaceMesh, GeodesicDistances]:
    mesh = sphere(3)
    return mesh, cached_geodesics(mesh, tmp_path_factory.mktemp("cache"))


def test_on_a_plane_straight_lines_are_euclidean():
    mesh = grid_mesh(5, 4, 1.0, 0.7)
    gap = np.linalg.norm(mesh.vertices_m[:, None] - mesh.vertices_m, axis=2)
    np.testing.assert_allclose(all_distances(mesh, max_triangles=40), gap, rtol=1e-5, atol=1e-6)


def test_opposite_corners_of_a_cube_are_root_five_apart():
    # Unfold two neighbouring sides: a 1 x 2 rectangle whose diagonal is the way.
    assert all_distances(unit_cube())[0, 7] == pytest.approx(5**0.5)


def test_a_line_does_not_pass_through_a_hole():
    mesh = grid_mesh(3, 3)
    centre = np.linalg.norm(mesh.vertices_m[mesh.faces].mean(axis=1)[:, :2] - 0.5, axis=1)
    holed = SurfaceMesh(mesh.vertices_m, mesh.faces[centre > 0.2])
    corner = {tuple(np.rint(3 * v[:2]).astype(int)): i for i, v in enumerate(mesh.vertices_m)}
    start, end = corner[0, 1], corner[3, 2]
    # Straight through the middle square it would be sqrt(10) / 3; around it bends at a corner.
    detour = 2 / 3 + 2**0.5 / 3
    assert all_distances(mesh)[start, end] == pytest.approx(10**0.5 / 3)
    assert all_distances(holed)[start, end] == pytest.approx(detour)


def test_great_circles_on_a_sphere(ball):
    mesh, distances = ball
    unit = mesh.vertices_m.astype(float)
    other = np.arange(len(unit))
    arc = np.arccos(np.clip(unit @ unit[0], -1, 1))
    np.testing.assert_allclose(
        distances.lookup(np.zeros_like(other), other), arc, rtol=0.01, atol=1e-3
    )


def test_a_mesh_with_a_doubled_edge_is_refused():
    mesh = unit_cube()
    with pytest.raises(InputError, match=r"directed edge \d+ -> \d+ belongs to two faces"):
        straight_line_graph(mesh.vertices_m, mesh.faces[[0, 0]])


def test_coinciding_vertices_are_refused():
    with pytest.raises(InputError, match="vertices 0 and 1 of an edge coincide"):
        straight_line_graph(np.zeros((3, 3)), np.array([[0, 1, 2]]))


def test_lookup_equals_a_loop_over_the_full_matrix(ball):
    mesh, distances = ball
    full = all_distances(mesh)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(mesh.vertices_m), (2, 300))
    want = [full[i, j] for i, j in zip(a, b, strict=True)]
    got = distances.lookup(a, b)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_packing_goes_row_by_row_below_the_diagonal():
    high, low = np.tril_indices(6, k=-1)
    np.testing.assert_array_equal(packed_index(high, low), np.arange(packed_size(6)))


def test_laws_of_a_distance(ball):
    mesh, distances = ball
    rng = np.random.default_rng(1)
    a, b, c = rng.integers(0, len(mesh.vertices_m), (3, 5000))
    ab, bc, ac = distances.lookup(a, b), distances.lookup(b, c), distances.lookup(a, c)
    np.testing.assert_array_equal(ab, distances.lookup(b, a))
    assert not distances.lookup(a, a).any()
    assert (ac <= ab + bc + 1e-5).all()
    straight = np.linalg.norm(mesh.vertices_m[a] - mesh.vertices_m[b], axis=1)
    assert (ab >= straight - 1e-5).all()


def test_lookup_keeps_shapes_and_takes_nothing(ball):
    _, distances = ball
    assert distances.lookup(np.zeros((2, 3), int), np.ones((2, 3), int)).shape == (2, 3)
    assert distances.lookup(np.zeros(0, int), np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("wrong", [-1, 642])
def test_an_index_out_of_range_is_refused(ball, wrong):
    with pytest.raises(ValueError, match=f"vertex {wrong} is out of range for .* 642 vertices"):
        ball[1].lookup(np.array([0, wrong]), np.array([0, 0]))
    with pytest.raises(ValueError, match="whole numbers, got float64"):
        ball[1].lookup(np.array([0.5]), np.array([1.0]))


def test_a_file_of_another_size_is_refused(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros(10, np.float32))
    assert GeodesicDistances.open(tmp_path / "d.npy", 5).lookup([4], [0]) == 0
    with pytest.raises(InputError, match=r"d\.npy: expected 15 float32 values for 6 vertices"):
        GeodesicDistances.open(tmp_path / "d.npy", 6)


def test_half_precision_and_broken_files_are_refused(tmp_path):
    np.save(tmp_path / "half.npy", np.zeros(10, np.float16))
    with pytest.raises(InputError, match=r"half\.npy: expected 10 float32 .* float16"):
        GeodesicDistances.open(tmp_path / "half.npy", 5)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "half.npy").read_bytes()[:100])
    with pytest.raises(InputError, match=r"cut\.npy: not a complete \.npy file"):
        GeodesicDistances.open(tmp_path / "cut.npy", 5)


def test_the_cache_is_read_again_and_never_for_another_mesh(tmp_path):
    mesh = grid_mesh(3, 3)
    first = cached_geodesics(mesh, tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    assert cached_geodesics(mesh, tmp_path).lookup([5], [0]) == first.lookup([5], [0])
    assert file.stat().st_mtime_ns == written
    moved = mesh.with_vertices(mesh.vertices_m * 2)
    assert cached_geodesics(moved, tmp_path).lookup([5], [0]) == pytest.approx(
        2 * first.lookup([5], [0])
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_the_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEPOSE_CACHE", str(tmp_path / "there"))
    cached_geodesics(grid_mesh(1, 1))
    assert len(list((tmp_path / "there").iterdir())) == 1


def test_a_failure_leaves_no_file(tmp_path):
    mesh = unit_cube()
    with pytest.raises(InputError, match="belongs to two faces"):
        write_geodesics(tmp_path / "d.npy", SurfaceMesh(mesh.vertices_m, mesh.faces[[0, 0]]))
    assert list(tmp_path.iterdir()) == []


def test_unreachable_vertices_are_infinitely_far(tmp_path):
    mesh = unit_cube()
    two = SurfaceMesh(
        np.concatenate([mesh.vertices_m, mesh.vertices_m + 5]),
        np.concatenate([mesh.faces, mesh.faces + 8]),
    )
    distances = cached_geodesics(two, tmp_path)
    assert np.isinf(distances.lookup([0], [8])) and np.isfinite(distances.lookup([9], [8]))


@pytest.fixture(scope="module")
def template_graph() -> csr_matrix:
    mesh = load_template().mesh
    return straight_line_graph(mesh.vertices_m, mesh.faces)


def test_on_the_template_distances_match_an_exact_solver(template_graph):
    """Median relative error below 1%, 95th percentile below 3%, never shorter than exact."""
    mesh = load_template().mesh
    sources = np.random.default_rng(0).choice(mesh.num_vertices, 8, replace=False)
    got, want = dijkstra(template_graph, indices=sources), exact_distances(mesh, sources)
    apart = want > 0
    error = got[apart] / want[apart] - 1
    median, high = np.median(error), np.percentile(error, 95)
    print(f"too long by {median:.5f} (median), {high:.5f} (95%), {error.max():.4f} (most)")
    assert median < 0.01 and high < 0.03
    assert error.min() > -1e-4


def test_on_the_template_distances_are_mirror_symmetric(template_graph):
    body = load_template()
    sources = np.random.default_rng(1).choice(body.mesh.num_vertices, 12, replace=False)
    here = dijkstra(template_graph, indices=sources)
    mirrored = dijkstra(template_graph, indices=body.mirror_vertex[sources])
    assert np.isfinite(here).all()
    np.testing.assert_allclose(here, mirrored[:, body.mirror_vertex], atol=1e-3)
