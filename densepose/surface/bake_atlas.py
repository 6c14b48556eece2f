"""Making the atlas of the template: one chart for each part, symmetric by construction.

Charts are computed for the parts of the left side and copied to the right; the two halves of the
torso are made their own mirror images. See ``charts`` for the conventions that result.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .charts import SCHEMA, ChartAtlas, body_fingerprint
from .parametrize import (
    classical_scaling,
    flatten_without_folds,
    geodesic_matrix,
    majorise_stress,
    plane_areas,
    to_unit_square,
    turned,
)
from .symmetry import flipped_parts
from .template import BodyTemplate

logger = logging.getLogger(__name__)

# Parts that are curved in all directions: flattened by an energy, with the direction of the rest
# pose along which v grows. All other parts are flattened by multidimensional scaling.
# Hands and feet are socks, open at the wrist or ankle, which becomes the border of the chart. They
# are not cut further: neighbours on the skin stay neighbours in the chart, so a regressed mean of
# two places lies between them, at the price of fingers drawn smaller than palms.
UP, FORWARD = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
CLOSED_PARTS = {4: UP, 5: FORWARD, 24: UP}
OWN_MIRROR_PARTS = (1, 2)
LEFT_PARTS = (4, 5, 8, 10, 12, 14, 15, 17, 19, 21, 24)


def make_atlas(template: BodyTemplate) -> ChartAtlas:
    """Flatten every part of the template.

    Raises:
        ValueError: a part is not a disc, or the parts are not mirror images of each other.
        ModuleNotFoundError: libigl is missing.
    """
    flip = flipped_parts()
    uv_part, uv_vertex, uv = [], [], []
    for part in (*OWN_MIRROR_PARTS, *LEFT_PARTS):
        vertex, position = flatten_part(template, part)
        logger.info("part %d: %d vertices", part, len(vertex))
        uv_part.append(np.full(len(vertex), part))
        uv_vertex.append(vertex)
        uv.append(position)
        if flip[part] != part:
            mirrored = template.mirror_vertex[vertex]
            uv_part.append(np.full(len(vertex), flip[part]))
            uv_vertex.append(mirrored)
            uv.append(np.stack([1 - position[:, 0], position[:, 1]], axis=1))
    part, vertex, position = (np.concatenate(x) for x in (uv_part, uv_vertex, uv))
    order = np.lexsort((vertex, part))
    part, vertex, position = part[order], vertex[order], position[order]
    return ChartAtlas(
        mesh=template.mesh,
        face_part=template.face_part,
        uv=position.astype(np.float32),
        uv_part=part,
        uv_vertex_mesh=vertex,
        uv_faces=_chart_faces(template, part, vertex),
    )


def flatten_part(
    template: BodyTemplate, part: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Chart of one part: its (n,) mesh vertices in ascending order and their (n, 2) positions."""
    vertex, local = np.unique(template.mesh.faces[template.face_part == part], return_inverse=True)
    faces = local.reshape(-1, 3)
    points = template.mesh.vertices_m[vertex].astype(np.float64)
    if part in CLOSED_PARTS:
        position = flatten_without_folds(points, faces)
        position = turned(position, points @ np.array(CLOSED_PARTS[part]))
    else:
        mirror = None
        if part in OWN_MIRROR_PARTS:
            mirror = np.searchsorted(vertex, template.mirror_vertex[vertex])
        position = _scaled_by_distances(points, faces, mirror)
    return vertex, to_unit_square(position)


def _scaled_by_distances(
    points: NDArray[np.float64], faces: NDArray[np.int64], mirror: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Positions by multidimensional scaling, v along the longer side (or the mirror plane), up."""
    distance = geodesic_matrix(points, faces)
    position = majorise_stress(distance, classical_scaling(distance, mirror))
    if mirror is None:
        centred = position - position.mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        position = centred @ axes
    height = points[:, 1] - points[:, 1].mean()
    position[:, 1] *= np.sign(position[:, 1] @ height)
    position[:, 0] *= np.sign(plane_areas(position, faces).sum())
    folded = plane_areas(position, faces) <= 0
    if folded.any():
        logger.info("%d of %d triangles folded; repairing", folded.sum(), len(faces))
        position = flatten_without_folds(points, faces, target=position, pull=1e4)
    if mirror is not None:
        odd = 0.5 * (position[:, 0] - position[mirror, 0])
        even = 0.5 * (position[:, 1] + position[mirror, 1])
        position = np.stack([odd, even], axis=1)
    return position


def _chart_faces(
    template: BodyTemplate, uv_part: NDArray[np.int64], uv_vertex: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(F, 3) chart vertices of each triangle; chart vertices are sorted by part, then vertex."""
    span = template.mesh.num_vertices
    key = uv_part * span + uv_vertex
    wanted = template.face_part.astype(np.int64)[:, None] * span + template.mesh.faces
    place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    if not np.array_equal(key[place], wanted):
        face = int(np.flatnonzero((key[place] != wanted).any(axis=1))[0])
        raise ValueError(
            f"triangle {face} of part {template.face_part[face]} has no mirror image on the left;"
            " the parts of the body are not symmetric"
        )
    return place


def save_atlas(path: str | os.PathLike[str], atlas: ChartAtlas, template: BodyTemplate) -> None:
    """Write what ``read_atlas`` reads, whole or not at all."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                schema=np.int64(SCHEMA),
                body=np.str_(body_fingerprint(template)),
                uv=atlas.uv.astype(np.float32),
                uv_part=atlas.uv_part.astype(np.uint8),
                uv_vertex_mesh=atlas.uv_vertex_mesh.astype(np.uint16),
                uv_faces=atlas.uv_faces.astype(np.uint16),
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
