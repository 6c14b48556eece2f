"""Draw plausible poses and turn them into joint rotations of the body template.

Frames as in ``surface.body``: x to the person's left, y up, z to the front; a rotation is
expressed in the frame of
the parent joint, and all frames are world-aligned in the rest pose. Angles as in ``pose_library``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .pose_library import (
    ANGLE_LIMITS,
    ANGLE_NAMES,
    ARM_POSES,
    LEG_POSES,
    LIMB_ANGLES,
    POSTURE_WEIGHTS,
    SIDES,
    SITTING_ARMS,
    STRIDE_ARMS,
    STRIDES,
    limb_angles,
    upright,
)

_TRUNK_SIGN = {"spine_lean", "spine_turn", "neck_lean", "neck_turn"}
# Share of the trunk's angles that each joint takes.
_SPINE_SHARE = {"pelvis": 0.0, "spine1": 0.30, "spine2": 0.35, "chest": 0.35}
_NECK_SHARE = {"neck": 0.45, "head": 0.55}
_DOWN = np.array([0.0, -1.0, 0.0])


@dataclass(frozen=True)
class Pose:
    """A pose in anatomical angles (degrees) and how the body rests on its surroundings."""

    angles: Mapping[str, float]
    posture: str  # stand | sit | kneel | floor | lie


def mirror_angles(angles: Mapping[str, float]) -> dict[str, float]:
    """The same pose with left and right exchanged."""
    mirrored = {}
    for name, value in angles.items():
        if name[:2] in ("l_", "r_"):
            mirrored[("r" if name[0] == "l" else "l") + name[1:]] = value
        else:
            mirrored[name] = -value if name in _TRUNK_SIGN else value
    return mirrored


def within_limits(angles: Mapping[str, float]) -> dict[str, float]:
    """Every angle clipped to the range of its joint."""
    return {n: float(np.clip(v, *ANGLE_LIMITS[n][:2])) for n, v in angles.items()}


def _draw(rng: np.random.Generator, table: Mapping, names: Sequence[str]) -> dict[str, float]:
    """Angles of a library pose, half the time mirrored, sometimes on the way to another one."""
    first = limb_angles(*table[names[rng.integers(len(names))]][:3])
    if rng.random() < 0.5:
        first = mirror_angles(first)
    if rng.random() > 0.35:
        return first
    second = limb_angles(*table[names[rng.integers(len(names))]][:3])
    share = rng.uniform(0.15, 0.85)
    rest = upright()
    both = {**first, **second}
    return {n: (1 - share) * first.get(n, rest[n]) + share * second.get(n, rest[n]) for n in both}


def sample_pose(rng: np.random.Generator) -> Pose:
    """A random pose within all limits: legs and arms from the library, blended and varied."""
    postures = list(POSTURE_WEIGHTS)
    posture = postures[rng.choice(len(postures), p=list(POSTURE_WEIGHTS.values()))]
    legs_of_posture = [name for name, pose in LEG_POSES.items() if pose[3] == posture]
    if posture == "stand" and rng.random() < 0.3:
        legs_of_posture = list(STRIDES)
    legs = _draw(rng, LEG_POSES, legs_of_posture)
    arm_names: Sequence[str] = list(ARM_POSES)
    if posture in ("sit", "floor"):
        arm_names = SITTING_ARMS
    elif legs_of_posture == list(STRIDES) and rng.random() < 0.7:
        arm_names = STRIDE_ARMS
    arms = _draw(rng, ARM_POSES, arm_names)
    angles = upright()
    for source in (legs, arms):
        for name, value in source.items():
            trunk = name in ("spine_bend", "spine_lean", "spine_turn") and source is arms
            angles[name] = angles[name] + value if trunk else value
    noise = rng.standard_normal(len(ANGLE_NAMES))
    for name, draw in zip(ANGLE_NAMES, noise, strict=True):
        angles[name] += ANGLE_LIMITS[name][2] * draw
    return Pose(within_limits(angles), posture)


def _turn(axis: str, degrees: float) -> np.ndarray:
    """(3, 3) rotation about a coordinate axis."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def _from_down(direction: np.ndarray) -> np.ndarray:
    """Smallest rotation (3, 3) that takes "straight down" to ``direction`` (3,)."""
    direction = direction / np.linalg.norm(direction)
    axis = np.cross(_DOWN, direction)
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + _DOWN @ direction)


def _arm_rotations(angles: Mapping[str, float], side: str, rest: Mapping[str, np.ndarray]) -> dict:
    sign = 1.0 if side == "l" else -1.0
    a = {name: angles[f"{side}_{name}"] for name in LIMB_ANGLES}
    upper, lower = rest[f"{side}_shoulder"], rest[f"{side}_elbow"]
    azimuth = _turn("y", sign * a["shoulder_azimuth"])
    lift = azimuth @ _turn("x", -a["shoulder_elevation"]) @ azimuth.T
    hinge = _turn("x", -a["elbow"])
    # Half of the forearm's twist is taken by the elbow, half by the wrist, as skin does.
    half = _turn("y", -sign * a["forearm_twist"] / 2)
    wrist = half @ _turn("z", -sign * a["wrist"])
    curl = _turn("z", -sign * a["fingers"])
    return {
        "clavicle": _turn("z", sign * a["clavicle"]),
        "shoulder": lift @ _turn("y", -sign * a["shoulder_twist"]) @ upper.T,
        "elbow": upper @ hinge @ half @ lower.T,
        "wrist": lower @ wrist @ lower.T,
        "fingers": lower @ curl @ lower.T,
    }


def _leg_rotations(angles: Mapping[str, float], side: str, rest: Mapping[str, np.ndarray]) -> dict:
    sign = 1.0 if side == "l" else -1.0
    a = {name: angles[f"{side}_{name}"] for name in LIMB_ANGLES}
    upper, lower = rest[f"{side}_hip"], rest[f"{side}_knee"]
    swing = _turn("x", -a["hip_flexion"]) @ _turn("z", sign * a["hip_spread"])
    return {
        "hip": swing @ _turn("y", -sign * a["hip_twist"]) @ upper.T,
        "knee": upper @ _turn("x", a["knee"]) @ lower.T,
        "ankle": lower @ _turn("x", a["ankle"]),
        "toes": _turn("x", a["toes"]),
    }


def joint_rotations(
    angles: Mapping[str, float], joint_names: Sequence[str], rest_joints: np.ndarray
) -> np.ndarray:
    """Anatomical angles -> (J, 3) axis-angle rotations of the template's joints.

    Args:
        angles: degrees for every name of ``ANGLE_NAMES``.
        joint_names: J names; those of the contract of ``BodyTemplate``.
        rest_joints: (J, 3) metres, joints of the rest pose.
    """
    at = {name: rest_joints[i] for i, name in enumerate(joint_names)}
    after = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}
    rest = {
        f"{s}_{a}": _from_down(at[f"{s}_{b}"] - at[f"{s}_{a}"])
        for s in SIDES
        for a, b in after.items()
    }
    named: dict[str, np.ndarray] = {}
    for share, prefix in ((_SPINE_SHARE, "spine"), (_NECK_SHARE, "neck")):
        for joint, part in share.items():
            bend, lean, turn = (part * angles[f"{prefix}_{k}"] for k in ("bend", "lean", "turn"))
            named[joint] = _turn("y", turn) @ _turn("x", bend) @ _turn("z", -lean)
    for side in SIDES:
        limbs = _arm_rotations(angles, side, rest) | _leg_rotations(angles, side, rest)
        named |= {f"{side}_{joint}": rotation for joint, rotation in limbs.items()}
    matrices = np.stack([named.get(name, np.eye(3)) for name in joint_names])
    return Rotation.from_matrix(matrices).as_rotvec()
