"""Check points that are given as vertices of a mesh: all points of all people at once.

Shapes: K people with vertices, P points of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from densepose.structures.body_parts import ANNOTATION_GRID

from .annotation_forms import mesh_size
from .annotation_report import AnnotationReport, name_of
from .point_check import flat_numbers

VERTEX_POINT_KEYS = ("dp_x", "dp_y", "dp_vertex")


def check_vertices(report: AnnotationReport, annotations: Sequence[Any]) -> None:
    """Rules of dp_vertex and ref_model; writes to ``report``."""
    records = [record if isinstance(record, dict) else {} for record in annotations]
    named = np.array(["dp_vertex" in r or "ref_model" in r for r in records], bool)
    # A ref_model alone says which mesh a person without points would have.
    named &= np.array(["dp_vertex" in r or "dp_x" in r for r in records], bool)

    def leave_out(rule: str, broken: np.ndarray, describe: Callable[[int], str]) -> None:
        report.drop_vertices[broken] = True
        report.add(rule, broken, lambda i: f"{name_of(annotations[i])}: {describe(i)}")

    listed = np.array(
        [[isinstance(r.get(key), list) for key in VERTEX_POINT_KEYS] for r in records], bool
    ).reshape(-1, len(VERTEX_POINT_KEYS))
    size = np.array([mesh_size(r.get("ref_model")) or 0 for r in records], np.int64)
    leave_out(
        "vertices-complete",
        np.flatnonzero(named & ~listed.all(axis=1)),
        lambda i: "no list " + ", ".join(np.array(VERTEX_POINT_KEYS)[~listed[i]]),
    )
    named &= listed.all(axis=1)
    leave_out(
        "vertices-mesh",
        np.flatnonzero(named & (size == 0)),
        lambda i: f"got ref_model {annotations[i].get('ref_model')!r}",
    )
    index = np.flatnonzero(named & (size > 0))
    length = np.array([[len(records[i][k]) for k in VERTEX_POINT_KEYS] for i in index], np.int64)
    length = length.reshape(-1, len(VERTEX_POINT_KEYS))
    equal = (length == length[:, :1]).all(axis=1)
    lengths = dict(zip(index.tolist(), length.tolist(), strict=True))
    leave_out(
        "vertices-lengths", index[~equal], lambda i: f"lengths {lengths[i]} of {VERTEX_POINT_KEYS}"
    )
    index, count = index[equal], length[equal, 0]
    x, y, vertex = (
        flat_numbers([records[i][key] for i in index], count) for key in VERTEX_POINT_KEYS
    )
    owner = np.repeat(index, count)
    known = (vertex == np.floor(vertex)) & (vertex >= 0) & (vertex < size[owner])
    leave_out(
        "vertices-range",
        np.unique(owner[~known]),
        lambda i: f"got {vertex[(owner == i) & ~known][0]:g} on {annotations[i]['ref_model']}",
    )
    on_grid = (x >= 0) & (x <= ANNOTATION_GRID) & (y >= 0) & (y <= ANNOTATION_GRID)
    # Of a person with charts, the rules of charts tell it.
    alone = np.array(["dp_I" not in r for r in records], bool)
    outside = np.unique(owner[~on_grid])
    report.drop_vertices[outside] = True
    leave_out(
        "points-grid",
        outside[alone[outside]],
        lambda i: (
            f"dp_x, dp_y = {x[(owner == i) & ~on_grid][0]:g}, {y[(owner == i) & ~on_grid][0]:g}"
        ),
    )
    used = ~report.drop_vertices[index] & ~report.drop_annotation[index] & (count > 0)
    report.num_with_vertices = int(used.sum())
