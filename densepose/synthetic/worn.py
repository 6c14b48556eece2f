"""Worn things with a shape of their own: skirts, hair tied up, the brim of a cap, a backpack.

Skirts, hair and brims count as the person: a pixel of theirs shows the nearest point of the body,
as an annotator guesses the body under the cloth. A backpack does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy
from .appearance import Appearance
from .materials import Pattern
from .objects import Mesh, Thing, ball, box, join, quads

_LEVELS = 9
_AROUND = 28
# Vertices within this much of a level, in leg units, hold the skirt away from the axis.
_REACH = 0.12
# Relative to the chest joint, behind it: a bag and its pocket.
_BACKPACK = [
    box([0.30, 0.42, 0.15], [0.0, 0.14, -0.235]),
    box([0.24, 0.20, 0.06], [0.0, 0.06, -0.335]),
]


@dataclass(frozen=True)
class PosedBody:
    """What worn things are hung on; all in the frame of the body."""

    vertices: np.ndarray  # (V, 3) posed
    joints: np.ndarray  # (J, 3) posed
    linear: np.ndarray  # (J, 3, 3) rotation of each joint from the rest pose
    offset: np.ndarray  # (J, 3): posed = linear @ rest + offset
    rest_joints: np.ndarray  # (J, 3) of this shape


def things_worn(look: Appearance, body: PosedBody, anatomy: Anatomy) -> tuple[Thing, ...]:
    """Everything ``look`` has that is not painted on the skin."""
    things = []
    garment = skirt_of(look)
    if garment is not None:
        things.append(_skirt(*garment, look, body, anatomy))
    head = anatomy.template.joint("head")
    eye = anatomy.landmark["l_eye"] - anatomy.landmark["head"]
    if look.head.cut == "tied" and look.head.hat in ("none", "band"):
        things.append(_tied_hair(look, body, head))
    if look.head.hat == "cap":
        plain = Pattern("plain", np.stack([look.head.hat_color] * 3), 0.1, np.eye(3), 0.05)
        things.append(_rigid(body, head, _brim(eye), plain, 0.05))
    if look.backpack is not None:
        chest = anatomy.template.joint("chest")
        things.append(_rigid(body, chest, join(_BACKPACK), look.backpack, 0.1, is_person=False))
    return tuple(things)


def skirt_of(look: Appearance) -> tuple[Pattern, float, float] | None:
    """Pattern, length in leg units and flare of the skirt of a person, if any."""
    if look.top.skirt > 0:
        return look.top.pattern, look.top.skirt, 0.03 + look.top.loose_m
    if look.bottom.kind == "skirt" and look.top.kind != "swim":
        return look.bottom.pattern, look.bottom.length, 0.02 + look.bottom.loose_m
    return None


def _rigid(
    body: PosedBody,
    joint: int,
    mesh: Mesh,
    pattern: Pattern,
    gloss: float,
    *,
    is_person: bool = True,
) -> Thing:
    """A mesh given relative to a resting joint that follows the joint."""
    vertices, faces = mesh
    rest = vertices + body.rest_joints[joint]
    posed = rest @ body.linear[joint].T + body.offset[joint]
    return Thing(posed.astype(np.float32), faces, vertices, pattern, gloss, is_person=is_person)


def _tied_hair(look: Appearance, body: PosedBody, head: int) -> Thing:
    size = 0.028 + look.head.volume_m * 0.6
    parts = [ball(size, np.array([0.0, 0.07 + look.head.parting, -0.105]), 8)]
    if look.head.parting >= 0:
        # A tail that hangs down behind.
        vertices, faces = ball(1.0, np.zeros(3), 8)
        tail = vertices * np.array([0.022, 0.085, 0.02]) + np.array([0.0, 0.0, -0.125])
        parts.append((tail.astype(np.float32), faces))
    axes = np.array([[1.0, 0, 0], [0, 0.25, 0], [0, 0, 1.0]])
    colors = np.stack([look.head.hair * 0.85, look.head.hair * 1.2, look.head.hair])
    pattern = Pattern("mottled", colors, 0.012, axes, 0.1)
    return _rigid(body, head, join(parts), pattern, 0.3)


def _brim(eye: np.ndarray) -> Mesh:
    """A half disc in front of the forehead."""
    angle = np.linspace(-1.25, 1.25, 13)
    inner = np.stack([0.072 * np.sin(angle), np.zeros(13), 0.07 * np.cos(angle)], axis=1)
    outer = np.stack([0.082 * np.sin(angle), -0.02 * np.cos(angle), 0.145 * np.cos(angle)], axis=1)
    vertices = np.concatenate([inner, outer]) + [0.0, eye[1] + 0.048, eye[2] - 0.065]
    corner = np.arange(12)
    return vertices.astype(np.float32), quads(corner, corner + 13, corner + 14, corner + 1)


def _skirt(
    pattern: Pattern,
    length: float,
    flare_m: float,
    look: Appearance,
    body: PosedBody,
    anatomy: Anatomy,
) -> Thing:
    """A tube from the hips down, held away from its axis by the legs."""
    names = anatomy.template.joint_names
    at = {name: body.joints[i] for i, name in enumerate(names)}
    rest = {name: anatomy.template.joints_m[i] for i, name in enumerate(names)}
    level = np.linspace(-0.32, length, _LEVELS)
    centre = _leg_axis(at, level)
    tangent = np.gradient(centre, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    side = at["l_hip"] - at["r_hip"]
    side = side - (tangent @ side)[:, None] * tangent
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    front = np.cross(side, tangent) * -1.0
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    outward = np.sin(angle)[:, None, None] * side + np.cos(angle)[:, None, None] * front
    points = anatomy.vertices()
    near_skirt = points.on("torso") | points.on("leg")
    vertices = []
    for number in range(_LEVELS):
        held = body.vertices[near_skirt & (np.abs(points.leg - level[number]) < _REACH)]
        offset = held - centre[number]
        flat = offset - (offset @ tangent[number])[:, None] * tangent[number]
        radius = (flat @ outward[:, number].T).max(axis=0, initial=0.06)
        height = number / (_LEVELS - 1)
        radius = radius + 0.006 + flare_m * height * (1 + 0.5 * np.sin(5 * angle) * height)
        vertices.append(centre[number] + radius[:, None] * outward[:, number])
    rest_y = _leg_axis(rest, level)[:, 1]
    local = np.stack(
        [
            np.tile(0.2 * np.sin(angle), _LEVELS),
            np.repeat(rest_y, _AROUND),
            np.tile(0.15 * np.cos(angle), _LEVELS),
        ],
        axis=1,
    )
    posed = np.concatenate(vertices).astype(np.float32)
    here = np.arange((_LEVELS - 1) * _AROUND)
    right = here // _AROUND * _AROUND + (here + 1) % _AROUND
    faces = quads(here, here + _AROUND, right + _AROUND, right)
    local = local.astype(np.float32)
    return Thing(posed, faces, local, pattern, 0.04, fold=0.3, is_person=True)


def _leg_axis(joint: dict[str, np.ndarray], level: np.ndarray) -> np.ndarray:
    """(L,) leg units -> (L, 3) points half-way between the legs; above them on the spine."""
    hips, knees = (0.5 * (joint[f"l_{n}"] + joint[f"r_{n}"]) for n in ("hip", "knee"))
    ankles = 0.5 * (joint["l_ankle"] + joint["r_ankle"])
    knots = np.stack([joint["spine2"], hips, knees, ankles])
    return np.stack(
        [np.interp(level, [-0.42, 0.0, 1.0, 2.0], knots[:, axis]) for axis in range(3)], axis=1
    )
