"""Where a point of the body's skin lies, in words clothes are described with.

All positions are metres on the resting mean body, so a garment is painted once and fits every shape
and pose. Frame: x to the person's left, y up, z to the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix, diags

from densepose.structures.body_parts import PART_NAMES
from densepose.surface.body import BodyTemplate, load_template
from densepose.surface.mesh import edges

# (25,) bool: the parts with a word in their name.
_IS = {
    word: np.array([word in name.split() for name in PART_NAMES])
    for word in ("torso", "hand", "foot", "head", "leg", "arm", "back", "right")
}


@dataclass(frozen=True)
class BodyPoints:
    """P points on the skin."""

    rest: np.ndarray  # (P, 3) on the resting mean body
    part: np.ndarray  # (P,) 1..24
    arm: np.ndarray  # (P,) along the arm: 0 shoulder, 1 elbow, 2 wrist
    leg: np.ndarray  # (P,) along the leg: 0 hip, 1 knee, 2 ankle
    outward: np.ndarray  # (P,) around the leg: 1 outer side, -1 inner side
    forward: np.ndarray  # (P,) around the leg: 1 front, -1 back
    landmark: Mapping[str, np.ndarray]  # ``Anatomy.landmark``

    @property
    def x(self) -> np.ndarray:
        """Metres to the person's left of the middle."""
        return self.rest[:, 0]

    @property
    def y(self) -> np.ndarray:
        """Metres above the soles."""
        return self.rest[:, 1]

    @property
    def z(self) -> np.ndarray:
        """Metres to the front."""
        return self.rest[:, 2]

    def on(self, name: str) -> np.ndarray:
        """(P,) bool: on the torso, hand, foot, head, leg, arm, its back or its right."""
        return _IS[name][self.part]

    def __getitem__(self, index: np.ndarray) -> BodyPoints:
        arrays = {name: value[index] for name, value in vars(self).items() if name != "landmark"}
        return BodyPoints(**arrays, landmark=self.landmark)


@dataclass(frozen=True)
class Anatomy:
    """Per-vertex words for the template, and the landmarks that garments are measured from."""

    template: BodyTemplate
    table: np.ndarray  # (V, 7) float32: rest x, y, z, arm, leg, outward, forward
    corner_table: np.ndarray  # (F, 3, 7): the table at the corners of each face
    vertex_part: np.ndarray  # (V,) the part of one of the faces around
    landmark: dict[str, np.ndarray]  # (3,) joints (left side for limbs) and keypoints by name
    smoothing: csr_matrix  # (V, V) mean of each vertex and its neighbours
    vertex_corner: tuple[np.ndarray, np.ndarray]  # (V,) a face at each vertex, (V, 3) where on it

    def points(self, face: np.ndarray, barycentric: np.ndarray) -> BodyPoints:
        """Points given by face (P,) and barycentric coordinates (P, 3)."""
        values = np.einsum("pck,pc->pk", self.corner_table[face], barycentric)
        return self._points(values, self.template.face_part[face])

    def vertices(self) -> BodyPoints:
        """All vertices."""
        return self._points(self.table, self.vertex_part)

    def _points(self, values: np.ndarray, part: np.ndarray) -> BodyPoints:
        rest = np.ascontiguousarray(values[:, :3])
        return BodyPoints(rest, part, *np.ascontiguousarray(values[:, 3:].T), self.landmark)


def _along(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    axis = end - start
    return (points - start) @ axis / (axis @ axis)


def measure(template: BodyTemplate) -> Anatomy:
    """Words for every vertex of a template."""
    rest = template.mesh.vertices_m
    joint = {name: template.joints_m[i] for i, name in enumerate(template.joint_names)}
    left = np.abs(rest) * [1, 0, 0] + rest * [0, 1, 1]
    arm = np.clip(_along(left, joint["l_shoulder"], joint["l_elbow"]), -1, 1)
    arm = arm + np.clip(_along(left, joint["l_elbow"], joint["l_wrist"]), 0, 3)
    thigh = np.clip(_along(left, joint["l_hip"], joint["l_knee"]), -1, 1)
    leg = thigh + np.clip(_along(left, joint["l_knee"], joint["l_ankle"]), 0, 3)
    upper = joint["l_hip"] + np.clip(thigh, 0, 1)[:, None] * (joint["l_knee"] - joint["l_hip"])
    axis = np.where(
        (leg > 1)[:, None], upper + (leg - 1)[:, None] * (joint["l_ankle"] - joint["l_knee"]), upper
    )
    around = (left - axis)[:, ::2]
    around = around / np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-6)
    table = np.column_stack([rest, arm, leg, around]).astype(np.float32)
    keypoints = template.keypoints(rest)
    names = ("nose", "l_eye", "r_eye", "l_ear", "r_ear")
    landmark = joint | {name: keypoints[i] for i, name in enumerate(names)}
    faces = template.mesh.faces
    vertex_face, vertex_place = _a_corner_of_each_vertex(faces, len(rest))
    return Anatomy(
        template=template,
        table=table,
        corner_table=table[faces],
        vertex_part=template.face_part[vertex_face],
        landmark=landmark,
        smoothing=_neighbour_mean(faces, len(rest)),
        vertex_corner=(vertex_face, vertex_place),
    )


def _neighbour_mean(faces: np.ndarray, count: int) -> csr_matrix:
    itself = np.tile(np.arange(count)[:, None], 2)
    pairs = np.concatenate([edges(faces), edges(faces)[:, ::-1], itself])
    adjacent = csr_matrix((np.ones(len(pairs), np.float32), pairs.T), (count, count))
    weight = 1 / np.bincount(pairs[:, 0])
    return csr_matrix(diags(weight.astype(np.float32)) @ adjacent)


def _a_corner_of_each_vertex(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    last = np.zeros(count, np.int64)  # corner k of face f is number k F + f
    last[faces.T.reshape(-1)] = np.arange(faces.size)
    corner, face = np.divmod(last, len(faces))
    return face, np.eye(3, dtype=np.float32)[corner]


@lru_cache(maxsize=1)
def load_anatomy() -> Anatomy:
    """Words for the template that ships with the package."""
    return measure(load_template())
