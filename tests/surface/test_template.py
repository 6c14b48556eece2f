"""The shipped body: its surface, parts, symmetry, shapes, skinning, keypoints, and its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from densepose.structures.body_parts import PART_NAMES
from densepose.surface.body import ASSET, BodyTemplate, load_template, read_body, read_template
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


def part_centre(body: BodyTemplate, part: int) -> np.ndarray:
    return body.mesh.vertices_m[body.mesh.faces[body.face_part == part]].mean(axis=(0, 1))


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


def test_the_skin_encloses_a_body_of_human_volume_and_area(body: BodyTemplate):
    corner = body.mesh.vertices_m[body.mesh.faces].astype(np.float64)
    volume = np.einsum("fi,fi->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6
    area = face_areas(body.mesh.vertices_m, body.mesh.faces)
    assert 0.055 < volume < 0.085  # cubic metres; positive: normals point outwards
    assert 1.5 < area.sum() < 2.2
    assert area.min() > 1e-7


def test_the_rest_pose_stands_on_the_floor_and_faces_the_front(body: BodyTemplate):
    low, high = body.mesh.vertices_m.min(axis=0), body.mesh.vertices_m.max(axis=0)
    assert low[1] == pytest.approx(0, abs=1e-6)
    assert 1.6 < high[1] < 1.8
    assert body.joints_m[body.joint("l_wrist"), 0] > 0.3
    toes, ankle = body.joints_m[[body.joint("l_toes"), body.joint("l_ankle")]]
    assert toes[2] > ankle[2] + 0.1


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


def test_parts_lie_where_their_names_say(body: BodyTemplate):
    for part in PARTS:
        name, centre = PART_NAMES[part], part_centre(body, part)
        if "left" in name:
            assert centre[0] > 0, name
        if name.endswith("front"):
            assert centre[2] > part_centre(body, PART_NAMES.index(name[:-5] + "back"))[2], name
    height = {n: part_centre(body, PART_NAMES.index(n))[1] for n in PART_NAMES[1:]}
    column = ("left foot", "left lower leg front", "left upper leg front", "torso front")
    assert [height[n] for n in column] == sorted(height[n] for n in column)
    assert height["left head"] > height["torso front"]
    assert height["left upper arm back"] > height["left lower arm back"] > height["left hand"]


def test_parts_meet_at_the_joints(body: BodyTemplate):
    vertices, faces = body.mesh.vertices_m, body.mesh.faces
    for names, joint in (
        (("left upper leg front", "left lower leg front"), "l_knee"),
        (("left lower arm back", "left hand"), "l_wrist"),
        (("right upper arm back", "right lower arm back"), "r_elbow"),
        (("right lower leg back", "right foot"), "r_ankle"),
    ):
        sides = [set(faces[body.face_part == PART_NAMES.index(n)].ravel().tolist()) for n in names]
        border = vertices[sorted(sides[0] & sides[1])]
        assert np.linalg.norm(border - body.joints_m[body.joint(joint)], axis=1).max() < 0.09


def test_borders_are_smooth(body: BodyTemplate):
    """The line around the knee deviates from a plane by less than 4 mm."""
    sides = [
        set(body.mesh.faces[np.isin(body.face_part, parts)].ravel().tolist())
        for parts in ((8, 10), (12, 14))
    ]
    line = body.mesh.vertices_m[sorted(sides[0] & sides[1])].astype(np.float64)
    normal = np.linalg.svd(line - line.mean(axis=0))[2][-1]
    assert np.abs((line - line.mean(axis=0)) @ normal).max() < 0.004


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


def test_extreme_shapes_keep_their_triangles(body: BodyTemplate):
    """No single direction, taken to its end, turns a visible patch of skin inside out."""
    before = face_areas(body.mesh.vertices_m, body.mesh.faces)
    for index in range(body.num_shapes):
        for end in (body.shape_low[index], body.shape_high[index]):
            coefficients, _ = rest(body)
            coefficients[index] = end
            vertices, _ = body.shaped(coefficients)
            corner = vertices[body.mesh.faces].astype(np.float64)
            normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
            corner = body.mesh.vertices_m[body.mesh.faces].astype(np.float64)
            old = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
            turned = (normal * old).sum(axis=1) < 0
            assert before[turned].sum() < 0.001 * before.sum(), body.shape_names[index]


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


def test_the_arrays_of_the_asset_fit_together():
    arrays = read_body(ASSET)
    num_vertices, num_joints = len(arrays["vertices_m"]), len(arrays["joint_names"])
    shapes = {
        "face_part": (len(arrays["faces"]),),
        "skin_joint": (num_vertices, 4),
        "skin_weight": (num_vertices, 4),
        "joints_m": (num_joints, 3),
        "shape_vertices_m": (len(arrays["shape_names"]), num_vertices, 3),
        "shape_joints_m": (len(arrays["shape_names"]), num_joints, 3),
        "keypoint_vertex": (17, arrays["keypoint_weight"].shape[1]),
    }
    assert {key: arrays[key].shape for key in shapes} == shapes
    assert (arrays["joint_parents"] < np.arange(num_joints)).all()
    for key, count in (("mirror_vertex", num_vertices), ("mirror_joint", num_joints)):
        np.testing.assert_array_equal(arrays[key][arrays[key]], np.arange(count))


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
    arrays = {k: v for k, v in (read_body(ASSET) | change).items() if v is not None}
    np.savez(tmp_path / "body.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_template(tmp_path / "body.npz")
    assert "body.npz" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"none.npz: no baked body here"):
        read_template(tmp_path / "none.npz")


def test_the_asset_is_small():
    assert ASSET.stat().st_size < 1_500_000


def test_loading_and_posing_need_neither_torch_nor_anny():
    code = (
        "import sys, numpy as np;"
        "from densepose.surface.body import load_template as load; b = load();"
        "b.posed(np.zeros(b.num_shapes), np.zeros((b.num_joints, 3)));"
        "sys.exit(any(m in sys.modules for m in ('torch', 'anny', 'warp', 'detectron2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
