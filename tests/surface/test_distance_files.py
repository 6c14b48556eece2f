"""Distances in the forms of the releases, converted to files for mapping."""

from __future__ import annotations

import os
import pickle
import tracemalloc

import numpy as np
import pytest

from densepose.surface.geodesics import GeodesicDistances
from densepose.surface.official import surface as distance_files
from densepose.surface.official.surface import (
    MatrixDistances,
    convert_distance_matrix,
    convert_distances,
    num_vertices_of,
    open_distances,
)

COUNT = 37


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(distance_files, "_ROWS", 10)
    monkeypatch.setattr(distance_files, "_CHUNK", 101)


@pytest.fixture
def matrix() -> np.ndarray:
    values = np.random.default_rng(0).uniform(0.1, 2, (COUNT, COUNT)).astype(np.float32)
    values = np.maximum(values, values.T)
    np.fill_diagonal(values, 0)
    return values


def write(path, content) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_symmetric_matrix_becomes_a_triangle(tmp_path, matrix, order):
    write(tmp_path / "geodists.pkl", np.asarray(matrix, order=order))
    done = []
    assert convert_distance_matrix(
        tmp_path / "geodists.pkl", tmp_path / "out.npy", on_progress=done.append
    )
    assert sum(done) == matrix.size
    found = open_distances(tmp_path / "out.npy", COUNT)
    assert isinstance(found, GeodesicDistances)
    i, j = np.indices(matrix.shape)
    np.testing.assert_array_equal(found.lookup(i, j), matrix)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["geodists.pkl", "out.npy"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("place", [(3, 30), (30, 3), (11, 12), (20, 20)])
def test_a_matrix_that_is_not_symmetric_is_kept_whole(tmp_path, matrix, place, order, caplog):
    matrix[place] += 1e-6
    write(tmp_path / "geodists.pkl", np.asarray(matrix, order=order))
    assert not convert_distance_matrix(tmp_path / "geodists.pkl", tmp_path / "out.npy", COUNT)
    assert "not symmetric; kept as a whole matrix" in caplog.text
    found = open_distances(tmp_path / "out.npy", COUNT)
    assert isinstance(found, MatrixDistances) and found.num_vertices == COUNT
    i, j = np.indices(matrix.shape)
    np.testing.assert_array_equal(found.lookup(i, j), matrix)
    assert found.lookup(3, 4).dtype == np.float32
    with pytest.raises(ValueError, match="vertex 37 is out of range for distances of 37 vertices"):
        found.lookup([0], [37])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m[:, :-1], r"expected a \(37, 37\) array of floats, got shape \(37, 36\)"),
        (lambda m: m[:5, :5], r"expected a \(37, 37\) array of floats, got shape \(5, 5\)"),
        (lambda m: (m * 9).astype(int), "got shape .* of int64"),
        (lambda m: {"geodists": m}, "array of floats, got dict"),
        (lambda m: m - 1, "distances must be from 0 to"),
        (lambda m: m * np.float32(np.inf), "distances must be from 0 to"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_matrices_of_another_form_are_refused(tmp_path, matrix, change, told):
    write(tmp_path / "geodists.pkl", change(matrix))
    with pytest.raises(ValueError, match=f"geodists.pkl: .*{told}"):
        convert_distance_matrix(tmp_path / "geodists.pkl", tmp_path / "out.npy", COUNT)
    assert [p.name for p in tmp_path.iterdir()] == ["geodists.pkl"]


def test_an_interrupted_conversion_leaves_nothing(tmp_path, matrix):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    write(tmp_path / "geodists.pkl", matrix)
    write(tmp_path / "pdist.pkl", {"Pdist_matrix": matrix[np.tril_indices(COUNT, -1)]})
    for convert, name in ((convert_distance_matrix, "geodists"), (convert_distances, "pdist")):
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path / f"{name}.pkl", tmp_path / "out.npy", COUNT, on_progress=interrupt)
    assert sorted(os.listdir(tmp_path)) == ["geodists.pkl", "pdist.pkl"]


def test_the_number_of_vertices_follows_from_the_number_of_distances(tmp_path, matrix):
    for count in (0 + 1, 2, 37, 6686, 27554):
        assert num_vertices_of(count * (count - 1) // 2) == max(count, 1)
    assert num_vertices_of(379597681) == 27554 and num_vertices_of(379597680) is None
    write(tmp_path / "pdist.pkl", {"Pdist_matrix": matrix[np.tril_indices(COUNT, -1)]})
    with pytest.raises(ValueError, match="as of 37 vertices"):
        convert_distances(tmp_path / "pdist.pkl", tmp_path / "out.npy", 38)


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "out.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"out.npy: not a complete .npy file .*convert it again"):
        open_distances(tmp_path / "out.npy", COUNT)


def test_memory_does_not_grow_with_the_matrix(tmp_path, monkeypatch):
    monkeypatch.setattr(distance_files, "_ROWS", 64)
    monkeypatch.setattr(distance_files, "_CHUNK", 1 << 18)
    values = np.add.outer(np.arange(2000), np.arange(2000)).astype(np.float32)
    np.fill_diagonal(values, 0)
    write(tmp_path / "geodists.pkl", values)
    tracemalloc.start()
    assert convert_distance_matrix(tmp_path / "geodists.pkl", tmp_path / "out.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6 < values.nbytes
    assert open_distances(tmp_path / "out.npy", 2000).lookup([1999], [7])[0] == 2006
