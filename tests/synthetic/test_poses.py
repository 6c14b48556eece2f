from __future__ import annotations

import numpy as np
import pytest

from densepose.surface.body import load_template
from densepose.synthetic.poses import (
    ANGLE_LIMITS,
    ANGLE_NAMES,
    ARM_POSES,
    LEG_POSES,
    POSTURE_WEIGHTS,
    joint_rotations,
    limb_angles,
    mirror_angles,
    sample_pose,
    upright,
    within_limits,
)
from tests.support.shapes import posed_joints


def joints_of(angles: dict[str, float]) -> dict[str, np.ndarray]:
    body = load_template()
    rotations = joint_rotations(angles, body.joint_names, body.joints_m)
    joints = posed_joints(body, rotations)
    return dict(zip(body.joint_names, joints, strict=True))


def direction(joints: dict[str, np.ndarray], start: str, end: str) -> np.ndarray:
    step = joints[end] - joints[start]
    return step / np.linalg.norm(step)


def test_random_poses_stay_within_the_limits_of_every_joint():
    poses = [sample_pose(np.random.default_rng(seed)) for seed in range(150)]
    for pose in poses:
        assert set(pose.angles) == set(ANGLE_NAMES)
        for name, angle in pose.angles.items():
            low, high, _ = ANGLE_LIMITS[name]
            assert low <= angle <= high, name
    assert {pose.posture for pose in poses} == set(POSTURE_WEIGHTS)


@pytest.mark.parametrize("table", [ARM_POSES, LEG_POSES])
def test_library_poses_name_known_angles_within_their_limits(table):
    for key, pose in table.items():
        for name, angle in limb_angles(*pose[:3]).items():
            low, high, _ = ANGLE_LIMITS[name]
            assert low <= angle <= high, (key, name)


def test_angles_beyond_a_joint_are_clipped():
    clipped = within_limits({"l_knee": -30.0, "r_elbow": 400.0, "neck_turn": 5.0})
    assert clipped == {"l_knee": 2.0, "r_elbow": 145.0, "neck_turn": 5.0}


def test_mirroring_twice_changes_nothing_and_once_mirrors_the_body():
    angles = dict(sample_pose(np.random.default_rng(3)).angles)
    assert mirror_angles(mirror_angles(angles)) == angles
    body = load_template()
    here = joints_of(angles)
    mirrored = joints_of(mirror_angles(angles))
    names = list(body.joint_names)
    for index, name in enumerate(names):
        other = here[names[body.mirror_joint[index]]] * [-1, 1, 1]
        np.testing.assert_allclose(mirrored[name], other, atol=2e-4)


def test_all_angles_zero_hangs_straight_limbs():
    joints = joints_of(dict.fromkeys(ANGLE_NAMES, 0.0))
    for side in "lr":
        limbs = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
        for start, end in limbs:
            down = direction(joints, f"{side}_{start}", f"{side}_{end}")
            np.testing.assert_allclose(down, [0, -1, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "start", "end", "expected"),
    [
        ({"l_shoulder_elevation": 90.0, "l_shoulder_azimuth": 0.0}, "shoulder", "elbow", [0, 0, 1]),
        (
            {"l_shoulder_elevation": 90.0, "l_shoulder_azimuth": 90.0},
            "shoulder",
            "elbow",
            [1, 0, 0],
        ),
        ({"l_elbow": 90.0}, "elbow", "wrist", [0, 0, 1]),
        ({"l_elbow": 90.0, "l_shoulder_twist": 80.0}, "elbow", "wrist", [-0.985, 0, 0.174]),
        ({"l_hip_flexion": 90.0}, "hip", "knee", [0, 0, 1]),
        ({"l_hip_spread": 30.0}, "hip", "knee", [0.5, -0.866, 0]),
        ({"l_knee": 90.0}, "knee", "ankle", [0, 0, -1]),
    ],
)
def test_each_angle_moves_the_left_limb_as_its_name_says(change, start, end, expected):
    joints = joints_of(dict.fromkeys(ANGLE_NAMES, 0.0) | change)
    np.testing.assert_allclose(direction(joints, f"l_{start}", f"l_{end}"), expected, atol=2e-3)


def test_bending_forward_brings_the_head_to_the_front():
    still, bent = joints_of(upright()), joints_of(upright() | {"spine_bend": 60.0})
    assert bent["head"][2] > still["head"][2] + 0.3
    assert bent["head"][1] < still["head"][1]
