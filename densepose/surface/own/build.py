"""From a mesh to a surface: check it, find parts and mirror plane, make charts.

One chart for each part, cut open where it is not a disc. They fill the unit square and are seen
from outside, as those of ``densepose.surface.charts``; v grows along the axis that the user calls
up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from densepose.errors import InputError
from densepose.structures.body_parts import NUM_PARTS

from ..charts import ChartAtlas
from ..mesh import SurfaceMesh, face_areas
from .flatten import flatten_without_folds, open_to_disc, to_unit_square, turned
from .mesh_file import Findings, check_own_mesh, consistently_oriented, face_pieces, read_mesh
from .mirror import MirrorPlane, find_mirror_plane, flipped_own_parts, own_chart_symmetry
from .parts import PartLabels, absorb_islands, read_part_labels, segment_mesh
from .quality import distortion_percentile, folded_fraction
from .surface_file import OwnSurface

AXES = "xyz"
# A part of which 95 % is not drawn larger or smaller than the rest by this factor is flat enough.
FAIR_DISTORTION = 3.0
# With fewer vertices that are the mirror image of their image, a warning is due.
FEW_PAIRS = 0.9


@dataclass(frozen=True)
class BuildOptions:
    """What the user may say beside naming the mesh."""

    parts: Path | None = None  # file of labels; else parts are found
    labels_of: str = "auto"  # what its numbers belong to: "triangles", "vertices", "auto"
    num_parts: int = NUM_PARTS  # to find
    scale: float = 1.0  # metres of one unit of the file
    merge: bool = False
    up: str = "y"
    mirror: str = "auto"  # axis across which left and right lie, "auto" or "none"


def build_own_surface(
    path: str | os.PathLike[str],
    options: BuildOptions = BuildOptions(),  # noqa: B008  frozen
    on_part: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[OwnSurface, Findings]:
    """The surface of a mesh, and what people should know about it.

    Args:
        path: the mesh.
        options: see ``BuildOptions``.
        on_part: gets how many charts are done, of how many.

    Raises:
        InputError: a file is missing; a file is not readable, or the mesh has errors (all of them
            in one message).
    """
    if options.up not in AXES or options.mirror not in (*AXES, "auto", "none"):
        raise InputError(f"up must be one of x y z, mirror one of x y z auto none, got {options}")
    mesh = read_mesh(path, scale=options.scale, merge=options.merge)
    mesh, turned = consistently_oriented(mesh)
    found = check_own_mesh(mesh, str(path))
    if found.errors:
        raise InputError("\n".join([*found.errors, *found.warnings]))
    if turned:
        found.warnings.append(f"{path}: {turned} triangles were turned to face outwards")
    axis = AXES.index(options.mirror) if options.mirror in AXES else None
    mirror = None if options.mirror == "none" else find_mirror_plane(mesh, axis)
    labels = _labels(mesh, options, mirror, found)
    up = AXES.index(options.up)
    atlas = make_own_atlas(mesh, labels.face_part, up=up, names=labels.names, on_part=on_part)
    flip = flipped_own_parts(atlas, mirror) if mirror is not None else None
    if options.mirror != "none" and flip is None:
        why = "the mesh is not symmetric" if mirror is None else "left and right have other parts"
        found.warnings.append(
            f"{path}: no left and right: {why}; train without flips (INPUT.RANDOM_FLIP none)"
        )
    if flip is not None and mirror.paired < FEW_PAIRS:
        found.warnings.append(
            f"{path}: left and right are approximate: only {100 * mirror.paired:.0f}% of the"
            " vertices have a mirror image of their own; put vertices at mirrored places, or build"
            " with --mirror none"
        )
    symmetry = own_chart_symmetry(atlas, mirror, flip) if flip is not None else None
    mirror_vertex = mirror.vertex if symmetry is not None else None
    surface = OwnSurface(Path(path).stem, atlas, labels.names, mirror_vertex, symmetry)
    found.warnings += chart_warnings(surface)
    return surface, found


def _labels(
    mesh: SurfaceMesh, options: BuildOptions, mirror: MirrorPlane | None, found: Findings
) -> PartLabels:
    if options.parts is None:
        names = ("",) * (NUM_PARTS + 1)
        return PartLabels(segment_mesh(mesh, options.num_parts, mirror), names)
    labels = read_part_labels(options.parts, mesh, options.labels_of)
    part, moved = absorb_islands(mesh, labels.face_part)
    if moved:
        found.warnings.append(
            f"{options.parts}: {moved} triangles lay apart from their part and were given to the"
            " part around them"
        )
    return PartLabels(part, labels.names)


def chart_warnings(surface: OwnSurface) -> list[str]:
    """Sentences on charts that fold over or are far from keeping areas."""
    sentences = []
    folded, factor = folded_fraction(surface.atlas), distortion_percentile(surface.atlas, 95)
    for part in np.unique(surface.atlas.face_part).tolist():
        name = surface.part_names[part]
        called = f"part {part}" + (f" ({name})" if name else "")
        if folded[part - 1] > 0:
            sentences.append(
                f"{called}: {100 * folded[part - 1]:.1f}% of it are folded over in its chart; some"
                " of its places share their (u, v)"
            )
        elif factor[part - 1] > FAIR_DISTORTION:
            sentences.append(
                f"{called}: 5% of it are drawn {factor[part - 1]:.1f} times too small or too large;"
                " divide it where it bends most"
            )
    return sentences


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
        on_part: gets how many parts are done, of how many.

    Raises:
        InputError: a part is in pieces, or cannot be flattened.
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
        except InputError as error:
            raise InputError(f"part {_called(part, names)}: {error}") from error
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
        raise InputError(
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
        fraction = np.sort(area[owner == part])[::-1] / area[owner == part].sum()
        percent = ", ".join(f"{100 * f:.1f}%" for f in fraction[:5])
        raise InputError(
            f"part {_called(part, names)} is in {count[part]} pieces of {percent} of its area; a"
            " part has to be connected: give pieces numbers of their own, or merge vertices"
        )


def _called(part: int, names: tuple[str, ...]) -> str:
    named = part < len(names) and names[part]
    return f"{part} ({names[part]})" if named else str(part)
