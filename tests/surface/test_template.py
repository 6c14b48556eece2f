"""The shipped body: its surface, parts, symmetry, shapes, skinning, keypoints, and its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from densepose.errors import InputError
from densepose.structures.body_parts import PART_NAMES
from densepose.surface.body import ASSET, BodyTemplate, load_template, read_template
from densepose.surface.mesh import (
    boundary_edges,
    edges,
    euler_characteristic,
    face_areas,
    face_neighbors,
)
from tests.support.shapes import is_closed_manifold

MIRROR_PART = [
    PART_NAMES.index(
        name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
    )
    for name in PART_NAMES
]
PARTS = range(1, 25)


@pytest.fixture(scope="module")
def body() -> BodyTemplate:
    return load_template()


def mirrored(points: np.ndarray) -> np.ndarray:
    return points * np.array([-1, 1, 1], dtype=points.dtype)


def rest(body: BodyTemplate) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(body.num_shapes), np.zeros((body.num_joints, 3))


# --- surface ---


def test_the_skin_is_one_closed_surface_without_handles(body: BodyTemplate):
    faces, edge = body.mesh.faces, edges(body.mesh.faces)
    size = body.mesh.num_vertices
    graph = coo_matrix((np.ones(len(edge)), edge.T), shape=(size, size))
    assert 5000 <= size <= 8000
    assert connected_components(graph, directed=False)[0] == 1
    assert is_closed_manifold(faces)
    assert euler_characteristic(faces) == 2


# --- parts ---


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_one_disc(body: BodyTemplate, part: int):
    chosen = body.face_part == part
    faces = body.mesh.faces[chosen]
    pairs = face_neighbors(faces)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(faces), len(faces)))
    pieces = connected_components(graph, directed=False)[0]
    after = dict(boundary_edges(faces).tolist())
    loop = [next(iter(after))]
    while after[loop[-1]] != loop[0]:
        loop.append(after[loop[-1]])
    area = face_areas(body.mesh.vertices_m, faces).sum()
    print(f"{PART_NAMES[part]}: {len(faces)} triangles, {area * 1e4:.0f} cm2, rim {len(loop)}")
    assert pieces == 1
    # One rim that passes every rim vertex once, and no handle.
    assert len(loop) == len(after) == len(boundary_edges(faces))
    assert euler_characteristic(faces) == 1


# --- symmetry ---


def test_mirror_maps_are_exact_and_their_own_inverse(body: BodyTemplate):
    mirror = body.mirror_vertex
    np.testing.assert_array_equal(mirror[mirror], np.arange(body.mesh.num_vertices))
    np.testing.assert_array_equal(mirrored(body.mesh.vertices_m[mirror]), body.mesh.vertices_m)
    np.testing.assert_array_equal(mirrored(body.shape_vertices_m[:, mirror]), body.shape_vertices_m)
    joints = body.mirror_joint
    np.testing.assert_array_equal(joints[joints], np.arange(body.num_joints))
    np.testing.assert_allclose(mirrored(body.joints_m[joints]), body.joints_m, atol=1e-6)
    np.testing.assert_allclose(body.skin_weights[mirror][:, joints], body.skin_weights, atol=1e-6)


def test_mirrored_triangles_are_triangles_of_the_mirrored_part(body: BodyTemplate):
    part_of = {
        tuple(sorted(face)): part
        for face, part in zip(body.mesh.faces.tolist(), body.face_part.tolist(), strict=True)
    }
    flipped = np.sort(body.mirror_vertex[body.mesh.faces], axis=1)
    for face, part in zip(flipped.tolist(), body.face_part.tolist(), strict=True):
        assert part_of[tuple(face)] == MIRROR_PART[part]


def test_a_mirrored_pose_gives_the_mirrored_body(body: BodyTemplate):
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=body.num_shapes) * 0.5
    rotations = rng.normal(size=(body.num_joints, 3)) * 0.4
    # A reflection turns the rotation vector (x, y, z) into (x, -y, -z).
    flipped = rotations[body.mirror_joint] * [1, -1, -1]
    one = body.posed(coefficients, rotations, [0.3, 0.1, 2.0])
    two = body.posed(coefficients, flipped, [-0.3, 0.1, 2.0])
    np.testing.assert_allclose(mirrored(two[body.mirror_vertex]), one, atol=1e-5)


# --- shapes ---


def test_shape_directions_do_what_they_are_called(body: BodyTemplate):
    height = {}
    for index, name in enumerate(body.shape_names):
        coefficients, _ = rest(body)
        coefficients[index] = 1
        vertices, joints = body.shaped(coefficients)
        height[name] = np.ptp(vertices[:, 1])
        assert abs(vertices[:, 1].min()) < 0.005, name
        assert joints.shape == (body.num_joints, 3)
    mean = np.ptp(body.mesh.vertices_m[:, 1])
    assert height["height"] > mean + 0.05
    assert height["child"] < mean - 0.2
    assert {"height", "weight", "sex", "age", "muscle"} <= set(body.shape_names)


def girth(body: BodyTemplate, vertices: np.ndarray) -> float:
    belly = np.abs(body.mesh.vertices_m[:, 1] - 1.1) < 0.03
    belly &= np.abs(body.mesh.vertices_m[:, 0]) < 0.2
    return float(np.ptp(vertices[belly, 2]))


def test_more_weight_is_a_deeper_belly(body: BodyTemplate):
    coefficients, _ = rest(body)
    coefficients[body.shape_names.index("weight")] = 2
    assert girth(body, body.shaped(coefficients)[0]) > girth(body, body.mesh.vertices_m) + 0.03


# --- wrong input and the file ---


def test_rejects_wrong_shapes_and_names(body: BodyTemplate):
    coefficients, rotations = rest(body)
    with pytest.raises(ValueError, match=r"shape coefficients must have shape \(10,\), got \(3,\)"):
        body.shaped(np.zeros(3))
    with pytest.raises(ValueError, match=r"rotations must have shape \(24, 3\), got \(24, 4\)"):
        body.posed(coefficients, np.zeros((24, 4)))
    with pytest.raises(ValueError, match=r"translation must have shape \(3,\)"):
        body.posed(coefficients, rotations, 1.0)
    with pytest.raises(ValueError, match="vertices must have shape"):
        body.keypoints(np.zeros((5, 3)))
    with pytest.raises(KeyError, match="no joint 'l_ellbow'; the body has pelvis"):
        body.joint("l_ellbow")


def test_the_shared_body_is_read_only(body: BodyTemplate):
    assert load_template() is body
    with pytest.raises(ValueError, match="read-only"):
        body.mesh.vertices_m[0] = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": None}, "schema None, this version reads schema 1"),
        ({"schema": np.array(99)}, "schema 99, this version reads schema 1; bake it again"),
        ({"skin_joint": None}, "missing skin_joint"),
        ({"vertices_m": np.ones((3, 3), np.float32)}, "face 0 names vertices .* expected 0 to 2"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, change: dict, message: str):
    with np.load(ASSET) as file:
        arrays = {k: v for k, v in (dict(file) | change).items() if v is not None}
    np.savez(tmp_path / "body.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_template(tmp_path / "body.npz")
    assert "body.npz" in str(caught.value)
    with pytest.raises(InputError, match=r"none.npz: missing; reinstall the package or bake it"):
        read_template(tmp_path / "none.npz")


def test_loading_and_posing_need_neither_torch_nor_anny():
    code = (
        "import sys, numpy as np;"
        "from densepose.surface.body import load_template as load; b = load();"
        "b.posed(np.zeros(b.num_shapes), np.zeros((b.num_joints, 3)));"
        "sys.exit(any(m in sys.modules for m in ('torch', 'anny', 'warp', 'detectron2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
