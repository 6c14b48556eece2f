"""Everyday poses in anatomical angles, drawn at random, and the joint rotations they mean.

All angles in degrees, 0 in a person who stands upright with hanging arms. For limbs, positive means
the same movement on both sides:
    shoulder_elevation: the arm leaves the trunk, 90 is horizontal; shoulder_azimuth: towards where
        it does, 0 forwards, 90 sideways, negative across the chest; shoulder_twist: inward rotation
    elbow, knee: flexion; hip_flexion: thigh forwards; hip_spread: sideways; hip_twist: toes inwards
    forearm_twist: palm turns backwards; wrist: flexion towards the palm; ankle: toes down
Trunk: bend forwards, lean to the left, turn to the left.

Frames as in ``surface.body``: x to the person's left, y up, z to the front; a rotation is expressed
in the frame of the parent joint, and all frames are world-aligned in the rest pose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

# name: (lowest, highest, standard deviation of everyday variation around a library pose)
TRUNK_ANGLES = {
    "spine_bend": (-20.0, 75.0, 4.0),
    "spine_lean": (-30.0, 30.0, 4.0),
    "spine_turn": (-40.0, 40.0, 6.0),
    "neck_bend": (-35.0, 40.0, 8.0),
    "neck_lean": (-25.0, 25.0, 5.0),
    "neck_turn": (-60.0, 60.0, 16.0),
}
LIMB_ANGLES = {
    "clavicle": (-5.0, 25.0, 3.0),
    "shoulder_elevation": (0.0, 172.0, 7.0),
    "shoulder_azimuth": (-35.0, 120.0, 10.0),
    "shoulder_twist": (-60.0, 85.0, 10.0),
    "elbow": (2.0, 145.0, 9.0),
    "forearm_twist": (-60.0, 75.0, 14.0),
    "wrist": (-45.0, 55.0, 9.0),
    "fingers": (-5.0, 65.0, 14.0),
    "hip_flexion": (-20.0, 120.0, 5.0),
    "hip_spread": (-12.0, 50.0, 3.0),
    "hip_twist": (-35.0, 35.0, 5.0),
    "knee": (2.0, 145.0, 5.0),
    "ankle": (-20.0, 40.0, 4.0),
    "toes": (-35.0, 10.0, 3.0),
}
SIDES = ("l", "r")
ANGLE_LIMITS = TRUNK_ANGLES | {
    f"{s}_{name}": limit for s in SIDES for name, limit in LIMB_ANGLES.items()
}
ANGLE_NAMES = tuple(ANGLE_LIMITS)

# fmt: off
_LIMB_REST = {
    "shoulder_elevation": 9.0, "shoulder_azimuth": 75.0, "elbow": 14.0, "shoulder_twist": 12.0,
    "fingers": 18.0, "hip_spread": 4.0, "hip_twist": -6.0, "knee": 4.0,
}
# fmt: on


def _arm(
    elevation: float, azimuth: float, twist: float, elbow: float, forearm: float = 0.0
) -> dict:
    names = ("shoulder_elevation", "shoulder_azimuth", "shoulder_twist", "elbow", "forearm_twist")
    arm = dict(zip(names, (elevation, azimuth, twist, elbow, forearm), strict=True))
    return arm | {"clavicle": max(0.0, (elevation - 70.0) / 5.0)}


def _leg(
    flexion: float, spread: float, knee: float, ankle: float = 0.0, twist: float = -5.0
) -> dict:
    names = ("hip_flexion", "hip_spread", "knee", "ankle", "hip_twist")
    return dict(zip(names, (flexion, spread, knee, ankle, twist), strict=True))


# Arms: name -> (left, right, trunk). Legs: name -> (left, right, trunk, posture). Each is also used
# mirrored.
ARM_POSES = {
    "hanging": ({}, {}, {}),
    "slightly_out": (_arm(22, 85, 15, 20), _arm(20, 85, 15, 22), {}),
    "stride_swing": (_arm(28, 5, 10, 28), _arm(8, 80, 15, 18), {"spine_turn": 6.0}),
    "stride_back": (_arm(20, 115, 5, 12), _arm(30, 5, 12, 35), {"spine_turn": -6.0}),
    "run": (_arm(35, 0, 20, 92), _arm(38, 120, 10, 88), {"spine_bend": 12.0}),
    "hands_on_hips": (_arm(42, 100, 45, 95, 40), _arm(42, 100, 45, 95, 40), {}),
    "one_hand_on_hip": (_arm(42, 100, 45, 95, 40), {}, {"spine_lean": 4.0}),
    "arms_crossed": (_arm(38, 12, 68, 112, 20), _arm(44, 14, 62, 104, 10), {"neck_bend": 4.0}),
    "hands_in_pockets": (_arm(22, 105, 25, 42, 5), _arm(22, 105, 25, 42, 5), {}),
    "wave": (_arm(85, 85, -55, 110, -10), {}, {}),
    "both_up": (_arm(155, 70, 0, 20), _arm(158, 72, 0, 18), {}),
    "cheer": (_arm(135, 80, -10, 55), _arm(140, 78, -12, 50), {"neck_bend": -8.0}),
    "reach_forward": (_arm(82, 5, 5, 15), {}, {"spine_bend": 10.0}),
    "reach_both": (_arm(78, 8, 10, 20), _arm(76, 8, 10, 25), {"spine_bend": 8.0}),
    "reach_up": (_arm(165, 45, 0, 10), {}, {"neck_bend": -18.0, "spine_lean": -8.0}),
    "t_arms": (_arm(88, 90, 0, 8), _arm(88, 90, 0, 8), {}),
    "point_side": (_arm(86, 78, 0, 6), {}, {"neck_turn": 30.0}),
    "phone_at_ear": (_arm(40, 30, 10, 142), {}, {"neck_lean": 6.0}),
    "look_at_phone": (_arm(28, 18, 35, 100, -20), _arm(24, 30, 40, 92), {"neck_bend": 28.0}),
    "drink": (_arm(50, 25, 35, 128), {}, {"neck_bend": -6.0}),
    "think": (_arm(35, 10, 40, 138), _arm(30, 15, 65, 92, 15), {}),
    "carry_front": (_arm(35, 8, 20, 82, -40), _arm(35, 8, 20, 82, -40), {"spine_bend": -4.0}),
    "hands_behind": (_arm(24, 118, 60, 45, 30), _arm(24, 118, 60, 42, 30), {}),
    "hands_behind_head": (_arm(118, 88, -35, 135), _arm(118, 88, -35, 135), {}),
    "swing_club": (_arm(72, -22, 10, 15), _arm(60, 5, 40, 25), {"spine_turn": -32.0}),
    "throw": (_arm(95, 95, -50, 85), _arm(72, 20, 10, 25), {"spine_turn": 25.0}),
    "hands_clasped": (_arm(24, 12, 48, 68, 10), _arm(24, 12, 48, 68, 10), {}),
    "racket": (_arm(60, 50, -20, 60), _arm(45, 70, 20, 45), {"spine_turn": 15.0}),
    "guard": (_arm(48, 15, 25, 128), _arm(52, 10, 25, 118), {"spine_turn": 15.0}),
    "typing": (_arm(32, 12, 18, 78, 35), _arm(32, 12, 18, 78, 35), {"neck_bend": 14.0}),
    "lap": (_arm(26, 10, 30, 55, 30), _arm(26, 10, 30, 55, 30), {}),
}
LEG_POSES = {
    "stand": ({}, {}, {}, "stand"),
    "stand_wide": (_leg(0, 17, 4), _leg(0, 17, 4), {}, "stand"),
    "contrapposto": (_leg(12, 8, 22, 8, -14), _leg(-3, 3, 3), {"spine_lean": -4.0}, "stand"),
    "legs_crossed_standing": (_leg(8, -9, 10, 5), _leg(-4, -4, 3), {}, "stand"),
    "walk": (_leg(26, 2, 8, -6), _leg(-16, 2, 20, 14), {}, "stand"),
    "walk_passing": (_leg(18, 2, 48, 12), _leg(0, 2, 6), {}, "stand"),
    "run": (_leg(62, 3, 92, 10), _leg(-18, 2, 26, 28), {"spine_bend": 12.0}, "stand"),
    "run_kick": (_leg(18, 2, 18), _leg(-15, 2, 95, 28), {"spine_bend": 10.0}, "stand"),
    "lunge": (_leg(72, 4, 82, -4), _leg(-18, 3, 34, 22), {}, "stand"),
    "side_step": (_leg(15, 28, 18), _leg(5, 12, 10), {"spine_lean": 6.0}, "stand"),
    "high_knee": (_leg(88, 4, 95, 15), _leg(0, 3, 5), {}, "stand"),
    "kick": (_leg(62, 6, 18, 22), _leg(-6, 3, 12), {"spine_bend": -8.0}, "stand"),
    "bend_forward": (_leg(35, 6, 12, -6), _leg(35, 6, 12, -6), {"spine_bend": 52.0}, "stand"),
    "lean_forward": (_leg(22, 6, 14, -6), _leg(22, 6, 14, -6), {"spine_bend": 26.0}, "stand"),
    "half_squat": (_leg(58, 12, 72, -16), _leg(58, 12, 72, -16), {"spine_bend": 24.0}, "stand"),
    "squat": (_leg(108, 17, 132, -20), _leg(108, 17, 132, -20), {"spine_bend": 26.0}, "stand"),
    "ski": (_leg(48, 6, 58, -18), _leg(52, 6, 62, -18), {"spine_bend": 30.0}, "stand"),
    "surf": (_leg(45, 30, 48, -5), _leg(38, 25, 42, -5), {"spine_bend": 12.0}, "stand"),
    "kneel_one": (_leg(88, 6, 92), _leg(-4, 6, 100, 35), {}, "kneel"),
    "kneel_both": (_leg(8, 6, 105, 38), _leg(8, 6, 105, 38), {}, "kneel"),
    "sit": (_leg(84, 8, 84), _leg(84, 8, 84), {"spine_bend": 6.0}, "sit"),
    "sit_relaxed": (_leg(80, 14, 62, 8), _leg(82, 10, 74), {"spine_bend": -4.0}, "sit"),
    "sit_wide": (_leg(84, 26, 86), _leg(84, 24, 86), {"spine_bend": 22.0}, "sit"),
    "sit_crossed": (_leg(100, -6, 74, 14), _leg(82, 4, 84), {}, "sit"),
    "sit_stool": (_leg(58, 14, 66, 8), _leg(64, 10, 58, 6), {}, "sit"),
    "sit_floor": (_leg(88, 10, 22, 18), _leg(90, 12, 60, 12), {"spine_bend": 14.0}, "floor"),
    "lie": (_leg(6, 6, 8, 22), _leg(10, 8, 24, 20), {}, "lie"),
}
# How often a posture is drawn; within a posture all leg poses are equally likely.
POSTURE_WEIGHTS = {"stand": 0.70, "sit": 0.19, "kneel": 0.05, "floor": 0.03, "lie": 0.03}
# fmt: off
SITTING_ARMS = (
    "lap", "typing", "hanging", "look_at_phone", "drink", "think", "arms_crossed", "wave",
    "phone_at_ear", "reach_forward", "hands_clasped", "carry_front", "hands_behind_head",
)
# fmt: on
STRIDE_ARMS = ("stride_swing", "stride_back", "run", "hanging", "slightly_out")
STRIDES = ("walk", "walk_passing", "run", "run_kick", "lunge")


def limb_angles(left: dict, right: dict, trunk: dict) -> dict[str, float]:
    """Named angles of the arms or legs and the trunk; others stay as in the upright pose."""
    named = {f"l_{name}": value for name, value in left.items()}
    named |= {f"r_{name}": value for name, value in right.items()}
    return named | dict(trunk)


def upright() -> dict[str, float]:
    """All angles of a relaxed upright person."""
    angles = dict.fromkeys(ANGLE_NAMES, 0.0)
    return angles | {
        f"{side}_{name}": value for side in SIDES for name, value in _LIMB_REST.items()
    }


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
    rotations: np.ndarray | None = None  # (J, 3) of a recorded pose, in place of the angles


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
    fraction = rng.uniform(0.15, 0.85)
    rest = upright()
    both = {**first, **second}
    return {
        n: (1 - fraction) * first.get(n, rest[n]) + fraction * second.get(n, rest[n]) for n in both
    }


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
    for weights, prefix in ((_SPINE_SHARE, "spine"), (_NECK_SHARE, "neck")):
        for joint, part in weights.items():
            bend, lean, turn = (part * angles[f"{prefix}_{k}"] for k in ("bend", "lean", "turn"))
            named[joint] = _turn("y", turn) @ _turn("x", bend) @ _turn("z", -lean)
    for side in SIDES:
        limbs = _arm_rotations(angles, side, rest) | _leg_rotations(angles, side, rest)
        named |= {f"{side}_{joint}": rotation for joint, rotation in limbs.items()}
    matrices = np.stack([named.get(name, np.eye(3)) for name in joint_names])
    return Rotation.from_matrix(matrices).as_rotvec()
