from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from densepose.errors import InputError
from densepose.surface.evaluation_surface import load_evaluation_surface
from densepose.surface.official.export import write_official_files
from densepose.surface.official.surface import (
    CHARTS_FILE,
    CONVERTED_FILE,
    DISTANCE_FILE,
    NUM_VERTICES,
    VERTEX_FILE,
    OfficialCharts,
    load_official_surface,
)

VERTICES = 70


@pytest.fixture
def stand_in(tmp_path: Path) -> dict:
    """Files of the official form, of 70 vertices instead of 27,554."""
    rng = np.random.default_rng(0)
    part = np.repeat(np.arange(1, 25), 4)
    made = {
        "uv": rng.uniform(0, 1, (96, 2)).round(3),
        "part": part,
        "mesh_vertex": np.concatenate([np.arange(VERTICES), rng.integers(0, VERTICES, 26)]),
        "distances_m": rng.uniform(0, 2, VERTICES * (VERTICES - 1) // 2).astype(np.float32),
    }
    write_official_files(tmp_path, **made)
    return {"folder": tmp_path, **made}


def load(made: dict, **options):
    return load_official_surface(made["folder"], num_vertices=VERTICES, **options)


def test_of_equally_near_vertices_the_first_is_taken():
    uv = np.array([[0.9, 0.9], [0.5, 0.25], [0.5, 0.75], [0.25, 0.5], [0.75, 0.5], [0.5, 0.25]])
    charts = OfficialCharts(uv, np.full(6, 7), np.array([10, 11, 12, 13, 14, 15]))
    asked = np.array([[0.5, 0.5], [0.5, 0.25], [0.625, 0.625]])
    assert charts.nearest_vertex([7, 7, 7], asked).tolist() == [11, 11, 12]


def test_distances_are_those_of_the_triangle_and_symmetric(stand_in):
    surface = load(stand_in)
    for i, j in ((1, 0), (2, 1), (69, 68), (40, 3)):
        want = stand_in["distances_m"][i * (i - 1) // 2 + j]
        assert surface.distance_m([i, j, i], [j, i, i]).tolist() == [want, want, 0]
    assert surface.name == f"smpl_{VERTICES}"


def test_distances_are_converted_once_and_again_when_the_pickle_is_newer(stand_in):
    folder = stand_in["folder"]
    load(stand_in)
    converted = folder / CONVERTED_FILE
    stamp = converted.stat().st_mtime_ns
    load(stand_in)
    assert converted.stat().st_mtime_ns == stamp
    with open(folder / DISTANCE_FILE, "wb") as file:
        pickle.dump({"Pdist_matrix": np.ones((len(stand_in["distances_m"]), 1), np.float32)}, file)
    os.utime(folder / DISTANCE_FILE, ns=(stamp + 10**9, stamp + 10**9))
    assert load(stand_in).distance_m([5], [2])[0] == 1
    (folder / DISTANCE_FILE).unlink()
    assert load(stand_in).distance_m([5], [2])[0] == 1
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))


def test_distances_can_be_kept_elsewhere(stand_in, tmp_path):
    cache = tmp_path / "cache"
    load(stand_in, cache_dir=cache)
    assert list(cache.iterdir()) and not (stand_in["folder"] / CONVERTED_FILE).exists()
    assert load(stand_in, cache_dir=cache).distance_m([1], [0])[0] == stand_in["distances_m"][0]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_become_float32(stand_in, dtype):
    values = stand_in["distances_m"].astype(dtype)
    with open(stand_in["folder"] / DISTANCE_FILE, "wb") as file:
        pickle.dump({"Pdist_matrix": values[:, None]}, file)
    got = load(stand_in).distance_m([1], [0])
    assert got.dtype == np.float32 and got[0] == np.float32(values[0])


@pytest.mark.parametrize("name", [CHARTS_FILE, VERTEX_FILE, DISTANCE_FILE])
def test_missing_files_are_named(stand_in, name):
    (stand_in["folder"] / name).unlink()
    with pytest.raises(InputError, match=name):
        load(stand_in)


def rewrite_charts(folder: Path, **columns) -> None:
    savemat(folder / CHARTS_FILE, columns)


def test_broken_charts_are_refused(stand_in):
    folder, count = stand_in["folder"], len(stand_in["uv"])
    good = {
        "U_subdiv": stand_in["uv"][:, :1],
        "V_subdiv": stand_in["uv"][:, 1:],
        "Part_ID_subdiv": stand_in["part"][:, None],
    }
    cases = [
        ({k: v for k, v in good.items() if k != "V_subdiv"}, "no 'V_subdiv'; it holds"),
        (good | {"U_subdiv": good["U_subdiv"] * 2}, "U_subdiv must be from 0 to 1, got 1"),
        (
            good | {"Part_ID_subdiv": good["Part_ID_subdiv"] % 24},
            "whole numbers from 1 to 24, got 0",
        ),
        (
            good | {"Part_ID_subdiv": np.minimum(good["Part_ID_subdiv"], 23)},
            r"no vertex of parts \[24\]",
        ),
        (good | {"U_subdiv": np.ones((3, 2))}, "must be one column of numbers"),
        (good | {"U_subdiv": np.ones((3, 1)) / 2}, "columns of different lengths"),
        ({k: v[:-1] for k, v in good.items()}, f"index has {count} rows, .* has {count - 1} chart"),
    ]
    for columns, message in cases:
        rewrite_charts(folder, **columns)
        with pytest.raises(InputError, match=message):
            load(stand_in)
    (folder / CHARTS_FILE).write_bytes(b"not a mat file, nor ever was one" * 9)
    with pytest.raises(InputError, match="not a complete MATLAB file"):
        load(stand_in)


def test_broken_distances_are_refused(stand_in):
    values = stand_in["distances_m"]
    negative = values.copy()
    negative[7] = -1
    cases = [
        ({"Pdist": values}, r"expected a dict with the array 'Pdist_matrix', got \['Pdist'\]"),
        ([values], "got list"),
        ({"Pdist_matrix": values[:-1]}, "expected 2415 distances of 70 vertices"),
        ({"Pdist_matrix": values.astype(int)}, "expected 2415 distances of 70 vertices"),
        ({"Pdist_matrix": negative}, r"must be from 0 to 10.0, got -1.0 \(1 wrong values"),
        ({"Pdist_matrix": values * np.nan}, "must be from 0 to 10.0, got nan"),
    ]
    for content, message in cases:
        with open(stand_in["folder"] / DISTANCE_FILE, "wb") as file:
            pickle.dump(content, file)
        with pytest.raises(InputError, match=f"{DISTANCE_FILE}: .*{message}"):
            load(stand_in)
        assert not (stand_in["folder"] / CONVERTED_FILE).exists()


def test_files_of_another_size_are_refused_as_official_ones(stand_in):
    with pytest.raises(InputError, match=f"of {NUM_VERTICES} vertices"):
        load_official_surface(stand_in["folder"])


def test_parts_without_chart_are_refused():
    charts = OfficialCharts(np.zeros((1, 2)), np.array([3]), np.array([0]))
    with pytest.raises(InputError, match=r"no chart of part 4; there are \[3\]"):
        charts.nearest_vertex([3, 4], np.zeros((2, 2)))
    assert charts.nearest_vertex([3, 0], np.zeros((2, 2))).tolist() == [0, -1]


def test_export_needs_all_distances(tmp_path):
    with pytest.raises(ValueError, match="vertices need 3 distances, got 1"):
        write_official_files(
            tmp_path,
            uv=np.zeros((3, 2)),
            part=np.ones(3, int),
            mesh_vertex=np.arange(3),
            distances_m=np.zeros(1, np.float32),
        )


def test_files_of_another_mesh_are_named_by_its_vertices(stand_in):
    folder = stand_in["folder"]
    load(stand_in)  # converts
    surface = load_evaluation_surface("smpl_70", folder)
    assert surface.name == "smpl_70"
    assert surface.distance_m([0], [1])[0] == stand_in["distances_m"][0]
    with pytest.raises(InputError, match=r"mesh of 70 vertices.* name the surface smpl_70"):
        load_evaluation_surface("smpl_27554", folder)
