"""Charts for a mesh of the user's own: one for each part, cut open where it is no disc.

Shapes: F triangles. See ``charts`` for what charts are; these, too, fill the unit square, are seen
from outside, and v grows along the axis that the user calls up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .chart_opening import open_to_disc
from .charts import ChartAtlas
from .mesh import SurfaceMesh, face_areas
from .mesh_checks import face_pieces
from .parametrize import flatten_without_folds, to_unit_square, turned


def make_own_atlas(
    mesh: SurfaceMesh,
    face_part: NDArray[np.integer],
    *,
    up: int = 1,
    names: tuple[str, ...] = (),
    on_part: Callable[[int, int], None] = lambda done, total: None,
) -> ChartAtlas:
    """Flatten every part.

    Args:
        mesh: a manifold whose triangles agree on what is outside.
        face_part: (F,) 1 to 24; the triangles of a part are joined by edges.
        up: axis along which v grows, 0 to 2.
        names: of parts 0 to 24, for errors.
        on_part: is told how many parts are done, of how many.

    Raises:
        ValueError: a part is in pieces, or cannot be flattened.
        ModuleNotFoundError: libigl is missing.
    """
    face_part = np.asarray(face_part, np.int64)
    _require_whole_parts(mesh, face_part, names)
    parts = np.unique(face_part)
    uv, uv_part, vertex = [], [], []
    uv_faces, first = np.zeros((mesh.num_faces, 3), np.int64), 0
    for done, part in enumerate(parts.tolist()):
        on_part(done, len(parts))
        members = np.flatnonzero(face_part == part)
        used, local = np.unique(mesh.faces[members], return_inverse=True)
        points = mesh.vertices_m[used].astype(np.float64)
        try:
            chart_faces, source = open_to_disc(points, local.reshape(-1, 3))
            position = _flattened(points[source], chart_faces, up)
        except ValueError as error:
            raise ValueError(f"part {_called(part, names)}: {error}") from error
        uv.append(position)
        uv_part.append(np.full(len(source), part))
        vertex.append(used[source])
        uv_faces[members] = chart_faces + first
        first += len(source)
    on_part(len(parts), len(parts))
    return ChartAtlas(
        mesh=mesh,
        face_part=face_part,
        uv=np.concatenate(uv).astype(np.float32),
        uv_part=np.concatenate(uv_part),
        uv_vertex_mesh=np.concatenate(vertex).astype(np.int64),
        uv_faces=uv_faces,
    )


def _flattened(
    points: NDArray[np.float64], faces: NDArray[np.int64], up: int
) -> NDArray[np.float64]:
    position = flatten_without_folds(points, faces)
    if not np.isfinite(position).all():
        raise ValueError(
            f"its {len(faces)} triangles could not be flattened; look for triangles that are nearly"
            " lines, or give the part a simpler border"
        )
    return to_unit_square(turned(position, points[:, up]))


def _require_whole_parts(
    mesh: SurfaceMesh, face_part: NDArray[np.int64], names: tuple[str, ...]
) -> None:
    piece = face_pieces(mesh.faces, face_part)
    area = np.bincount(piece, weights=face_areas(mesh.vertices_m.astype(np.float64), mesh.faces))
    owner = np.zeros(len(area), np.int64)
    owner[piece] = face_part
    count = np.bincount(owner)
    if count.max() > 1:
        part = int(count.argmax())
        share = np.sort(area[owner == part])[::-1] / area[owner == part].sum()
        shares = ", ".join(f"{100 * s:.1f}%" for s in share[:5])
        raise ValueError(
            f"part {_called(part, names)} is in {count[part]} pieces of {shares} of its area; a"
            " part has to be connected: give pieces numbers of their own, or merge vertices"
        )


def _called(part: int, names: tuple[str, ...]) -> str:
    named = part < len(names) and names[part]
    return f"{part} ({names[part]})" if named else str(part)
