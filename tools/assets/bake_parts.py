"""Where one DensePose part of the left half ends and the next begins.

Six planes cut the limbs and the head off the torso (``part_fields``), one sheet through the sides
divides front from back. All places are those of anny's mean body in the rest pose, relative to its
joints, so a change of the mean moves them too.

Cutting a mesh along level lines, so that body parts meet in smooth lines of edges.

Vertices are rows of numbers (n, D), the first three of which are the place in metres; a vertex made
on an edge gets the mean of the rows at its ends. Fields are (n, K) numbers at the vertices,
interpolated the same way; field k is cut where it is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from densepose.surface.mesh import edges, half_edges

from .bake_source import CENTRE_M, HalfBody

# Metres by which the cut of the leg drops for each metre behind the sides.
BUTTOCKS = 0.4
# Names of the fields, in the order of their columns; a positive value is on the far side of the
# torso, or in front.
FIELDS = ("wrist", "elbow", "shoulder", "ankle", "knee", "hip", "neck", "front")
# DensePose part of the left half for each region: (back, front).
PARTS = {
    "torso": (1, 2),
    "upper leg": (8, 10),
    "lower leg": (12, 14),
    "upper arm": (17, 15),
    "lower arm": (21, 19),
    "hand": (4, 4),
    "foot": (5, 5),
    "head": (24, 24),
}
# Height over the soles and depth z, metres, of the line through the sides of torso and legs: the
# outline of the mean body seen from the front.
SIDE_HEIGHT_M = (
    0.00, 0.08, 0.20, 0.32, 0.44, 0.50, 0.56, 0.65, 0.74, 0.82, 0.90,
    1.00, 1.10, 1.20, 1.30, 1.36, 1.43, 1.50, 1.60,
)  # fmt: skip
SIDE_DEPTH_M = (
    0.026, 0.020, 0.003, 0.004, 0.012, 0.024, 0.036, 0.042, 0.036, 0.026, 0.028,
    0.032, 0.030, 0.026, 0.022, 0.014, 0.004, 0.016, 0.030,
)  # fmt: skip


def part_fields(half: HalfBody) -> NDArray[np.float64]:
    """(n, 8) signed distances in metres, columns as in ``FIELDS``; -1 where one does not apply."""
    place = dict(zip(half.joint_names, half.joints_m[0], strict=True))
    weight = dict(zip(half.joint_names, half.rows[:, -len(half.joint_names) :].T, strict=True))
    points = half.rows[:, :3]
    arm = sum(weight["l_" + j] for j in ("clavicle", "shoulder", "elbow", "wrist", "fingers"))
    leg = sum(weight["l_" + j] for j in ("hip", "knee", "ankle", "toes"))
    upper_arm = place["l_elbow"] - place["l_shoulder"]
    lower_arm = place["l_wrist"] - place["l_elbow"]
    hand = place["l_fingers"] - place["l_wrist"]
    upper_leg = place["l_knee"] - place["l_hip"]
    lower_leg = place["l_ankle"] - place["l_knee"]
    middle_neck = 0.5 * (place["neck"] + place["head"])
    planes = (
        (place["l_wrist"], _unit(lower_arm) + _unit(hand), arm),
        (place["l_elbow"], _unit(upper_arm) + _unit(lower_arm), arm),
        (place["l_shoulder"], np.array([1, 0.17, 0]), arm),
        (place["l_ankle"] + [0, 0.02, 0], np.array([0, -1, 0]), leg),
        (place["l_knee"], _unit(upper_leg) + _unit(lower_leg), leg),
        (place["l_hip"], np.array([0.64, -0.77, 0]), leg),
        (middle_neck, np.array([0, 1, 0.7]), weight["neck"] + weight["head"]),
    )
    columns = [
        np.where(applies > 0, (points - origin) @ _unit(normal), -1.0)
        for origin, normal, applies in planes
    ]
    front = _front(points, place, weight)
    # The buttocks are torso: behind the sides, the cut drops below the plane.
    columns[FIELDS.index("hip")] -= BUTTOCKS * np.maximum(0, -front)
    return np.stack([*columns, front], axis=1)


def _front(
    points: NDArray[np.float64],
    place: dict[str, NDArray[np.float64]],
    weight: dict[str, NDArray[np.float64]],
) -> NDArray[np.float64]:
    """(n,) distance in front of the sides; the skinning weights blend from limb to limb."""
    side = PchipInterpolator(SIDE_HEIGHT_M, SIDE_DEPTH_M)(points[:, 1].clip(0, 1.6))
    upper = _in_front_of_axis(points, place["l_shoulder"], place["l_elbow"])
    lower = _in_front_of_axis(points, place["l_elbow"], place["l_wrist"])
    on_upper = weight["l_shoulder"]
    on_lower = weight["l_elbow"] + weight["l_wrist"] + weight["l_fingers"]
    rest = 1 - on_upper - on_lower
    return rest * (points[:, 2] - side) + on_upper * upper + on_lower * lower


def _in_front_of_axis(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    axis = _unit(end - start)
    ahead = np.array([0.0, 0.0, 1.0])
    return (points - start) @ _unit(ahead - (ahead @ axis) * axis)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def cut_into_parts(
    half: HalfBody,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8]]:
    """Cut the left half along all borders.

    Returns:
        rows (n, D), faces (f, 3) and the DensePose part (f,) of each triangle.
    """
    rows, faces, fields = half.rows, half.faces, part_fields(half)
    for column in range(len(FIELDS) - 1):
        rows, faces, fields = cut_along(
            rows,
            faces,
            fields,
            column,
            np.ones(len(faces), dtype=bool),
            _fixed(rows, fields[:, :column]),
        )
    two_sided = np.isin(_regions(fields, faces), ["hand", "foot", "head"], invert=True)
    last = len(FIELDS) - 1
    fixed = _fixed(rows, fields[:, :last])
    rows, faces, fields = cut_along(rows, faces, fields, last, two_sided, fixed)
    region = _regions(fields, faces)
    front = _sign(fields, faces, "front")
    part = np.zeros(len(faces), dtype=np.uint8)
    for name, (back_part, front_part) in PARTS.items():
        part[region == name] = np.where(front[region == name], front_part, back_part)
    return rows, faces, part


def _fixed(rows: NDArray[np.float64], cut_fields: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) vertices of the middle line and of the lines cut so far."""
    return (np.abs(rows[:, 0]) < CENTRE_M) | (cut_fields == 0).any(axis=1)


def _sign(fields: NDArray[np.float64], faces: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
    return fields[faces, FIELDS.index(name)].sum(axis=1) > 0


def _regions(fields: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.str_]:
    """(f,) name of the region, by the outermost cut that a triangle lies beyond."""
    order = (
        ("wrist", "hand"),
        ("elbow", "lower arm"),
        ("shoulder", "upper arm"),
        ("ankle", "foot"),
        ("knee", "lower leg"),
        ("hip", "upper leg"),
        ("neck", "head"),
    )
    beyond = [_sign(fields, faces, cut) for cut, _ in order]
    return np.select(beyond, [name for _, name in order], default="torso")


# A crossing nearer to a vertex than this share of the edge is moved to the vertex, to make no
# slivers.
SNAP = 0.2


def cut_along(
    rows: NDArray[np.float64],
    faces: NDArray[np.int64],
    fields: NDArray[np.float64],
    field: int,
    where: NDArray[np.bool_],
    fixed: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Split the triangles that a field crosses: afterwards none has corners of both signs.

    Args:
        rows: (n, D).
        faces: (f, 3).
        fields: (n, K).
        field: which of the K to cut along.
        where: (f,) triangles to split; their neighbours are split where they share a cut edge.
        fixed: (n,) vertices that must not move; a crossing near one is put on it as it is.

    Returns:
        Rows (n + m, D), faces and fields (n + m, K) with m new vertices, at which the field is
        exactly 0.
    """
    edge = edges(faces[where])
    a, b = fields[edge, field].T
    edge = edge[a * b < 0]
    a, b = fields[edge, field].T
    share = np.abs(a) / (np.abs(a) + np.abs(b))
    near = np.concatenate([edge[share < SNAP], edge[share > 1 - SNAP, ::-1]])
    step = np.concatenate([share[share < SNAP], 1 - share[share > 1 - SNAP]])
    # Each vertex goes to the nearest of its crossings.
    order = np.argsort(step, kind="stable")
    snapped, first = np.unique(near[order, 0], return_index=True)
    other, step = near[order[first], 1], step[order[first], None]
    step = np.where(fixed[snapped, None], 0, step)
    moved_rows, moved_fields = rows.copy(), fields.copy()
    moved_rows[snapped] += step * (rows[other] - rows[snapped])
    moved_fields[snapped] += step * (fields[other] - fields[snapped])
    moved_fields[snapped, field] = 0

    a, b = moved_fields[edge, field].T
    edge = edge[a * b < 0]
    a, b = moved_fields[edge, field].T
    share = (np.abs(a) / (np.abs(a) + np.abs(b)))[:, None]
    new_rows = (1 - share) * moved_rows[edge[:, 0]] + share * moved_rows[edge[:, 1]]
    new_fields = (1 - share) * moved_fields[edge[:, 0]] + share * moved_fields[edge[:, 1]]
    new_fields[:, field] = 0
    faces = split_edges(faces, edge, len(rows))
    return np.concatenate([moved_rows, new_rows]), faces, np.concatenate([moved_fields, new_fields])


def split_edges(
    faces: NDArray[np.int64], edge: NDArray[np.int64], first_new: int
) -> NDArray[np.int64]:
    """Put vertex ``first_new`` + i on edge i of (m, 2) and divide the triangles at it.

    Returns:
        (f', 3) triangles covering the same surface with the same orientation.
    """
    number = {tuple(pair): first_new + i for i, pair in enumerate(np.sort(edge, axis=1).tolist())}
    sides = np.sort(half_edges(faces), axis=1).tolist()
    middle = np.array([number.get(tuple(side), -1) for side in sides]).reshape(3, -1).T
    count = (middle >= 0).sum(axis=1)
    pieces = [faces[count == 0]]

    one = count == 1
    turn = middle[one].argmax(axis=1)
    a, b, c = _turned(faces[one], turn)
    m, _, _ = _turned(middle[one], turn)
    pieces += [np.stack([a, m, c], axis=1), np.stack([m, b, c], axis=1)]

    two = count == 2
    turn = (middle[two].argmin(axis=1) + 1) % 3
    a, b, c = _turned(faces[two], turn)
    m, n, _ = _turned(middle[two], turn)
    pieces += [np.stack(t, axis=1) for t in ((m, b, n), (a, m, n), (a, n, c))]

    a, b, c = faces[count == 3].T
    m, n, o = middle[count == 3].T
    pieces += [np.stack(t, axis=1) for t in ((a, m, o), (m, b, n), (o, n, c), (m, n, o))]
    return np.concatenate(pieces)


def _turned(
    triples: NDArray[np.int64], turn: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Columns of (n, 3) after rotating each row to begin at ``turn``."""
    rows = np.arange(len(triples))
    return tuple(triples[rows, (turn + i) % 3] for i in range(3))
