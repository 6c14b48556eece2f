"""Make the charts of the baked body again: run after bake_template.

    python -m tools.assets.bake_atlas [--picture charts.png]

One chart for each part, symmetric by construction: charts are computed for the parts of the left
side and copied to the right, and the two halves of the torso are made their own mirror images. See
``densepose.surface.charts`` for the conventions that result.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from densepose.files import atomic
from densepose.structures.body_parts import NUM_PARTS, PART_NAMES, flipped_parts
from densepose.surface.body import BodyTemplate, load_template
from densepose.surface.charts import ASSET, SCHEMA, ChartAtlas, body_fingerprint
from densepose.surface.geodesics import straight_line_graph
from densepose.surface.mesh import plane_areas
from densepose.surface.own.flatten import (
    flatten_without_folds,
    to_unit_square,
    turned,
)
from densepose.surface.own.quality import distortion_percentile, folded_fraction
from densepose.vis.atlas_picture import draw_atlas

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
    with atomic(path) as temporary:
        np.savez_compressed(
            temporary,
            schema=np.int64(SCHEMA),
            body=np.str_(body_fingerprint(template)),
            uv=atlas.uv.astype(np.float32),
            uv_part=atlas.uv_part.astype(np.uint8),
            uv_vertex_mesh=atlas.uv_vertex_mesh.astype(np.uint16),
            uv_faces=atlas.uv_faces.astype(np.uint16),
        )


def geodesic_matrix(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(V, V) distances along the piece, not leaving it."""
    return dijkstra(straight_line_graph(vertices, faces))


def classical_scaling(
    distance: NDArray[np.floating], mirror: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Plane positions whose inner products come nearest to those the distances imply.

    Args:
        distance: (V, V) symmetric.
        mirror: (V,) mirrored vertex of a piece that is its own mirror image. The first coordinate
            then changes its sign under it and the second stays.

    Returns:
        (V, 2), the coordinate of larger spread second; with ``mirror`` the odd coordinate first.
    """
    squares = np.asarray(distance, np.float64) ** 2
    mean = squares.mean(axis=0)
    inner = -0.5 * (squares - mean - mean[:, None] + mean.mean())
    if mirror is None:
        value, vector = np.linalg.eigh(inner)
        return vector[:, [-2, -1]] * np.sqrt(np.maximum(value[[-2, -1]], 0))
    inner = 0.5 * (inner + inner[mirror][:, mirror])
    columns = []
    for sign in (-1, 1):
        value, vector = np.linalg.eigh(0.5 * (inner + sign * inner[mirror]))
        columns.append(vector[:, -1] * np.sqrt(max(value[-1], 0)))
    return np.stack(columns, axis=1)


def majorise_stress(
    distance: NDArray[np.floating],
    start: NDArray[np.floating],
    *,
    max_iterations: int = 300,
    tolerance: float = 1e-6,
) -> NDArray[np.float64]:
    """Move plane positions until their distances fit best in the sense of least squares (SMACOF).

    Each step is the Guttman transform, which never raises the stress; it ends when a step lowers
    the stress by less than ``tolerance`` of it.
    """
    position = np.asarray(start, np.float64)
    last = np.inf
    for _ in range(max_iterations):
        gap = np.linalg.norm(position[:, None] - position, axis=2)
        stress = ((gap - distance) ** 2).sum()
        if last - stress <= tolerance * stress:
            break
        last = stress
        ratio = np.divide(distance, gap, out=np.zeros_like(gap), where=gap > 0)
        pull = -ratio
        np.fill_diagonal(pull, ratio.sum(axis=1) - ratio.diagonal())
        position = pull @ position / len(position)
    return position


def main() -> None:
    """Bake, print what was measured, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ASSET, help="where the atlas goes")
    parser.add_argument("--picture", type=Path, help="PNG of all charts, coloured by distortion")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    template = load_template()
    atlas = make_atlas(template)
    save_atlas(arguments.output, atlas, template)
    folded, distortion = folded_fraction(atlas), distortion_percentile(atlas, 95)
    for part in range(NUM_PARTS):
        print(
            f"{part + 1:2d} {PART_NAMES[part + 1]:22s} folded {100 * folded[part]:.2f}%,"
            f" area factor 95% below {distortion[part]:.2f}"
        )
    if arguments.picture:
        draw_atlas(atlas, arguments.picture)


if __name__ == "__main__":
    main()
