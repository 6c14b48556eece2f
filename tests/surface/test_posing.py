"""Posing the shipped body: skinning weights, rotations, keypoints."""

from __future__ import annotations

import math

import numpy as np
import pytest

from densepose.structures.body_parts import KEYPOINT_NAMES
from densepose.surface.body import BodyTemplate, load_template, rotation_matrices
from tests.support.shapes import posed_joints


@pytest.fixture(scope="module")
def body() -> BodyTemplate:
    return load_template()


def rest(body: BodyTemplate) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(body.num_shapes), np.zeros((body.num_joints, 3))


def naive_posed(
    body: BodyTemplate, coefficients: np.ndarray, rotations: np.ndarray, vertices: np.ndarray
) -> np.ndarray:
    """Skinning from its definition, one vertex and one joint at a time, in homogeneous matrices."""
    joints = body.joints_m + np.einsum("s,sjk->jk", coefficients, body.shape_joints_m)
    chain = []
    for joint in range(body.num_joints):
        rotation, (x, y, z) = np.eye(4), rotations[joint]
        angle = math.sqrt(x * x + y * y + z * z)
        if angle > 0:
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
            rotation[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
        there, back = np.eye(4), np.eye(4)
        there[:3, 3], back[:3, 3] = joints[joint], -joints[joint]
        parent = body.joint_parents[joint]
        chain.append((np.eye(4) if parent < 0 else chain[parent]) @ there @ rotation @ back)
    shaped = body.mesh.vertices_m + np.einsum("s,svk->vk", coefficients, body.shape_vertices_m)
    moved = []
    for vertex in vertices:
        total = np.zeros(4)
        for joint in np.flatnonzero(body.skin_weights[vertex]):
            place = np.append(shaped[vertex], 1)
            total += body.skin_weights[vertex, joint] * (chain[joint] @ place)
        moved.append(total[:3])
    return np.array(moved)


def test_posing_matches_the_definition_written_as_a_loop(body: BodyTemplate):
    rng = np.random.default_rng(3)
    coefficients = rng.normal(size=body.num_shapes) * 0.5
    rotations = rng.normal(size=(body.num_joints, 3))
    sample = rng.choice(body.mesh.num_vertices, 60, replace=False)
    want = naive_posed(body, coefficients, rotations, sample)
    got = body.posed(coefficients, rotations)[sample]
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_no_rotation_keeps_the_rest_pose(body: BodyTemplate):
    coefficients, rotations = rest(body)
    np.testing.assert_allclose(
        body.posed(coefficients, rotations, [1, 2, 3]) - [1, 2, 3], body.mesh.vertices_m, atol=1e-6
    )


def test_turning_the_pelvis_turns_the_whole_body_rigidly(body: BodyTemplate):
    coefficients, rotations = rest(body)
    rotations[body.joint("pelvis")] = [0, np.pi / 2, 0]
    pelvis = body.joints_m[body.joint("pelvis")]
    offset = body.mesh.vertices_m - pelvis
    # A quarter turn about y takes the front, z, to the left, x.
    want = np.stack([offset[:, 2], offset[:, 1], -offset[:, 0]], axis=1) + pelvis
    np.testing.assert_allclose(body.posed(coefficients, rotations), want, atol=1e-5)


def test_bending_the_left_knee_moves_only_the_left_leg_and_backwards(body: BodyTemplate):
    coefficients, rotations = rest(body)
    rotations[body.joint("l_knee")] = [np.pi / 2, 0, 0]
    posed = body.posed(coefficients, rotations)
    moved = np.linalg.norm(posed - body.mesh.vertices_m, axis=1) > 1e-3
    assert (body.mesh.vertices_m[moved, 0] > 0).all()
    assert body.mesh.vertices_m[moved, 1].max() < 0.7
    foot = np.unique(body.mesh.faces[body.face_part == 5])
    assert (posed[foot, 2] < -0.2).all()
    joints = posed_joints(body, rotations)
    length = np.linalg.norm(joints[body.joint("l_ankle")] - joints[body.joint("l_knee")])
    rest_length = np.linalg.norm(
        body.joints_m[body.joint("l_ankle")] - body.joints_m[body.joint("l_knee")]
    )
    assert length == pytest.approx(rest_length, rel=1e-5)


def test_rotation_matrices_by_hand_and_as_rotations():
    quarter = rotation_matrices(np.array([[0, 0, np.pi / 2], [0, 0, 0]]))
    np.testing.assert_allclose(quarter[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)
    np.testing.assert_array_equal(quarter[1], np.eye(3))
    matrix = rotation_matrices(np.random.default_rng(4).normal(size=(20, 3)) * 3)
    np.testing.assert_allclose(
        matrix @ matrix.transpose(0, 2, 1), np.tile(np.eye(3), (20, 1, 1)), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)


# --- keypoints ---


def test_keypoints_stay_at_their_joints_while_posing(body: BodyTemplate):
    coefficients, rotations = rest(body)
    rotations[body.joint("l_elbow")] = [-1.0, -0.9, 0.1]
    rotations[body.joint("l_knee")] = [1.5, 0, 0]
    keypoints = body.keypoints(body.posed(coefficients, rotations))
    joints = posed_joints(body, rotations)
    for name, joint in (
        ("left_elbow", "l_elbow"),
        ("left_wrist", "l_wrist"),
        ("left_knee", "l_knee"),
        ("left_ankle", "l_ankle"),
        ("right_knee", "r_knee"),
    ):
        gap = np.linalg.norm(keypoints[KEYPOINT_NAMES.index(name)] - joints[body.joint(joint)])
        assert gap < 0.04, name
