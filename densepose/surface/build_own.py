"""From a mesh of the user's own to a surface: check it, find parts and mirror, make charts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .chart_quality import distortion_percentile, folded_share
from .charts import NUM_PARTS
from .mesh import SurfaceMesh
from .mesh_checks import Findings, check_own_mesh, consistently_oriented
from .mesh_file import read_mesh
from .mesh_symmetry import find_mirror_plane, flipped_own_parts, own_chart_symmetry
from .own_atlas import make_own_atlas
from .own_surface import OwnSurface
from .part_labels import PartLabels, read_part_labels
from .segmentation import absorb_islands, segment_mesh

AXES = "xyz"
# A part of which 95 % is not drawn larger or smaller than the rest by this factor is flat enough.
FAIR_DISTORTION = 3.0


@dataclass(frozen=True)
class BuildOptions:
    """What the user may say beside naming the mesh."""

    parts: Path | None = None  # file of labels; else parts are found
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
        on_part: is told how many charts are done, of how many.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable, or the mesh has errors (all of them in one message).
    """
    if options.up not in AXES or options.mirror not in (*AXES, "auto", "none"):
        raise ValueError(f"up must be one of x y z, mirror one of x y z auto none, got {options}")
    mesh = read_mesh(path, scale=options.scale, merge=options.merge)
    mesh, turned = consistently_oriented(mesh)
    found = check_own_mesh(mesh, str(path))
    if found.errors:
        raise ValueError("\n".join([*found.errors, *found.warnings]))
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
    symmetry = own_chart_symmetry(atlas, mirror, flip) if flip is not None else None
    mirror_vertex = mirror.vertex if symmetry is not None else None
    surface = OwnSurface(Path(path).stem, atlas, labels.names, mirror_vertex, symmetry)
    found.warnings += chart_warnings(surface)
    return surface, found


def _labels(mesh: SurfaceMesh, options: BuildOptions, mirror, found: Findings) -> PartLabels:
    if options.parts is None:
        names = ("",) * (NUM_PARTS + 1)
        return PartLabels(segment_mesh(mesh, options.num_parts, mirror), names)
    labels = read_part_labels(options.parts, mesh)
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
    folded, factor = folded_share(surface.atlas), distortion_percentile(surface.atlas, 95)
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
