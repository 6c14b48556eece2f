"""The body that ships with the project: skin, skeleton, shapes and the 24 DensePose parts.

Frame: metres; x to the person's left, y up, z to the front. In the rest pose the soles are at
y = 0, the arms hang at 45 degrees from the vertical, the elbows are bent by 41 degrees, and the
frame of every joint is aligned with the world.
Shapes: V vertices, F triangles, J joints, S shape directions, 17 keypoints in COCO order.

The file ``assets/body.npz`` (K vertices to a keypoint); its origin, its licence and how to make it
again are in ``assets/README.md``:

=================  ==================  ===========================================================
key                shape, dtype        meaning
=================  ==================  ===========================================================
schema             () int64            number of this layout
vertices_m         (V, 3) float32      rest pose of the mean shape
faces              (F, 3) int32        counter-clockwise seen from outside
face_part          (F,) uint8          DensePose part of each triangle, 1 to 24
mirror_vertex      (V,) int32          vertex at the mirrored place, its own inverse
joint_names        (J,) str            pelvis first, parents before children
joint_parents      (J,) int32          -1 for the pelvis
joints_m           (J, 3) float32      rest pose of the mean shape
mirror_joint       (J,) int32          joint on the other side, its own inverse
skin_joint         (V, 4) uint8        joints that move a vertex
skin_weight        (V, 4) float32      their weights, sum 1
shape_names        (S,) str            what a direction changes
shape_low          (S,) float32        smallest coefficient that still looks human
shape_high         (S,) float32        largest one
shape_vertices_m   (S, V, 3) float16   displacement for a coefficient of 1
shape_joints_m     (S, J, 3) float32   displacement of the joints
keypoint_vertex    (17, K) int32       vertices whose weighted mean is a keypoint
keypoint_weight    (17, K) float32     their weights, sum 1
=================  ==================  ===========================================================
"""

from __future__ import annotations

import functools
from collections.abc import Set
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from densepose.errors import InputError

from .mesh import SurfaceMesh, check_mesh

ASSET = Path(__file__).parent / "assets" / "body.npz"
SCHEMA = 1


@dataclass(frozen=True)
class BodyTemplate:
    """The body; ``shaped`` and ``posed`` compute new positions and never change the arrays."""

    mesh: SurfaceMesh  # rest pose, mean shape
    face_part: NDArray[np.uint8]  # (F,) 1 to 24
    mirror_vertex: NDArray[np.int64]  # (V,)
    joint_names: tuple[str, ...]
    joint_parents: NDArray[np.int64]  # (J,), -1 for the root
    joints_m: NDArray[np.float32]  # (J, 3)
    mirror_joint: NDArray[np.int64]  # (J,)
    skin_weights: NDArray[np.float32]  # (V, J), at most 4 above 0 in a row
    shape_names: tuple[str, ...]
    shape_low: NDArray[np.float32]  # (S,)
    shape_high: NDArray[np.float32]  # (S,)
    shape_vertices_m: NDArray[np.float32]  # (S, V, 3)
    shape_joints_m: NDArray[np.float32]  # (S, J, 3)
    keypoint_vertex: NDArray[np.int64]  # (17, K)
    keypoint_weight: NDArray[np.float32]  # (17, K)

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.joint_names)

    @property
    def num_shapes(self) -> int:
        """Number of shape coefficients S."""
        return len(self.shape_names)

    def joint(self, name: str) -> int:
        """Index of a joint; KeyError with the known names when there is none."""
        if name not in self.joint_names:
            raise KeyError(f"no joint {name!r}; the body has {', '.join(self.joint_names)}")
        return self.joint_names.index(name)

    def shaped(self, coefficients: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rest pose of another person.

        Args:
            coefficients: (S,) one number for each of ``shape_names``, 0 for the mean; sensible from
                ``shape_low`` to ``shape_high``.

        Returns:
            (V, 3) vertices and (J, 3) joints, soles at y = 0 up to a few millimetres.
        """
        weight = _checked(coefficients, (self.num_shapes,), "shape coefficients")
        vertices = self.mesh.vertices_m + np.tensordot(weight, self.shape_vertices_m, axes=1)
        return vertices, self.joints_m + np.tensordot(weight, self.shape_joints_m, axes=1)

    def posed(
        self,
        coefficients: ArrayLike,
        rotations: ArrayLike,
        translation: ArrayLike = (0.0, 0.0, 0.0),
    ) -> NDArray[np.float32]:
        """Linear blend skinning.

        Args:
            coefficients: (S,) as for ``shaped``.
            rotations: (J, 3) axis times angle in radians, each expressed in the frame of the
                joint's parent (the pelvis': in the world); zeros keep the rest pose.
            translation: (3,) metres, added last.

        Returns:
            (V, 3) vertices.
        """
        vertices, joints = self.shaped(coefficients)
        linear, offset = self.joint_motions(joints, rotations)
        motion = np.concatenate([linear.reshape(-1, 9), offset], axis=1)
        blended = self.skin_weights @ motion
        moved = np.einsum("vij,vj->vi", blended[:, :9].reshape(-1, 3, 3), vertices)
        return moved + blended[:, 9:] + _checked(translation, (3,), "translation")

    def joint_motions(
        self, joints_m: NDArray[np.float32], rotations: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rigid motion of each joint from the rest pose: x -> linear x + offset.

        Args:
            joints_m: (J, 3) rest positions.
            rotations: (J, 3) as for ``posed``.

        Returns:
            (J, 3, 3) rotations and (J, 3) offsets.
        """
        local = rotation_matrices(_checked(rotations, (self.num_joints, 3), "rotations"))
        linear = local.copy()
        offset = np.empty_like(joints_m)
        # About its joint, a rotation is x -> R (x - joint) + joint; parents precede children.
        local_offset = joints_m - np.einsum("jik,jk->ji", local, joints_m)
        for joint, parent in enumerate(self.joint_parents.tolist()):
            if parent < 0:
                offset[joint] = local_offset[joint]
            else:
                linear[joint] = linear[parent] @ local[joint]
                offset[joint] = linear[parent] @ local_offset[joint] + offset[parent]
        return linear, offset

    def keypoints(self, vertices_m: NDArray[np.floating]) -> NDArray[np.float32]:
        """(V, 3) vertices of a body in any pose -> (17, 3) COCO keypoints."""
        vertices = _checked(vertices_m, self.mesh.vertices_m.shape, "vertices")
        return np.einsum("kn,knd->kd", self.keypoint_weight, vertices[self.keypoint_vertex])


def rotation_matrices(axis_angle: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, 3) axis times angle in radians -> (N, 3, 3) rotations; zeros give the identity."""
    axis_angle = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(axis_angle, axis=1)[:, None, None]
    # Rodrigues' formula; sinc keeps both factors finite at angle 0.
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    x, y, z = axis_angle.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    return (np.eye(3) + first * cross + second * (cross @ cross)).astype(np.float32)


def _checked(values: ArrayLike, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, got {array.shape}")
    return array


@functools.lru_cache(maxsize=1)
def load_template() -> BodyTemplate:
    """The body of the package; read once, then shared, so its arrays are read-only."""
    return read_template(ASSET)


def read_template(path: Path) -> BodyTemplate:
    """Read a baked body.

    Raises:
        InputError: no such file; another schema, a key is missing, or the mesh is not one.
    """
    made = {field.name for field in fields(BodyTemplate)} - {"mesh", "skin_weights"}
    needed = made | {"vertices_m", "faces", "skin_joint", "skin_weight"}
    arrays = read_baked(path, SCHEMA, needed, "tools/assets/bake_template")
    del arrays["schema"]
    mesh = check_mesh(arrays.pop("vertices_m"), arrays.pop("faces"), str(path))
    names = {key: tuple(arrays.pop(key).tolist()) for key in ("joint_names", "shape_names")}
    joint, weight = arrays.pop("skin_joint"), arrays.pop("skin_weight")
    weights = np.zeros((mesh.num_vertices, len(names["joint_names"])), np.float32)
    np.add.at(weights, (np.arange(len(joint))[:, None], joint), weight)
    wide = {np.dtype(np.int32): np.int64, np.dtype(np.float16): np.float32}
    arrays = {
        key: array.astype(wide.get(array.dtype, array.dtype)) for key, array in arrays.items()
    }
    body = BodyTemplate(mesh=mesh, skin_weights=weights, **names, **arrays)
    for array in [*vars(body).values(), mesh.vertices_m, mesh.faces]:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return body


def read_baked(path: Path, schema: int, keys: Set[str], tool: str) -> dict[str, NDArray]:
    """``schema`` and the named arrays of a file that ``tool`` made.

    Raises:
        InputError: no such file; another schema, or a key is missing.
    """
    again = f"bake it again with {tool}"
    if not Path(path).is_file():
        raise InputError(f"{path}: missing; reinstall the package or {again}")
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    if int(arrays.get("schema", 0)) != schema:
        found = arrays.get("schema")
        raise InputError(f"{path}: schema {found}, this version reads schema {schema}; {again}")
    if missing := sorted(keys - arrays.keys()):
        raise InputError(f"{path}: missing {', '.join(missing)}; {again}")
    return arrays
