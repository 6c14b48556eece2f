"""The parts of a mesh of the user's own, from a file of labels.

Forms of the file: one number a line (.txt) or an array (.npy), one for each triangle or for each
vertex; or JSON with a list of numbers, or {name of part: [vertices]}, vertices 0-based. Numbers are
1 to 24; named parts are numbered in the order of the file. F triangles, V vertices.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .charts import NUM_PARTS
from .mesh import SurfaceMesh


@dataclass(frozen=True)
class PartLabels:
    """Part of each triangle and names of the parts."""

    face_part: NDArray[np.int64]  # (F,) 1 to 24
    names: tuple[str, ...]  # of parts 0 to 24; "" for those that have no name


def read_part_labels(path: str | os.PathLike[str], mesh: SurfaceMesh) -> PartLabels:
    """Read labels of a mesh.

    Labels of vertices become labels of triangles by majority, the smallest of equally frequent.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another form, not as many labels as triangles or vertices, or out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of labels")
    names = [""] * (NUM_PARTS + 1)
    labels = _read_values(path)
    if isinstance(labels, dict):
        labels, used = _vertex_labels(path, labels, mesh.num_vertices)
        names[1 : 1 + len(used)] = used
    if labels.shape not in ((mesh.num_faces,), (mesh.num_vertices,)):
        raise ValueError(
            f"{path}: {labels.size} labels in shape {labels.shape}; the mesh has {mesh.num_faces}"
            f" triangles and {mesh.num_vertices} vertices"
        )
    wrong = ~((labels >= 1) & (labels <= NUM_PARTS) & (labels == np.floor(labels)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{path}: label {labels[row]:g} in place {row}; parts are whole numbers from 1 to"
            f" {NUM_PARTS}"
        )
    labels = labels.astype(np.int64)
    if len(labels) == mesh.num_vertices != mesh.num_faces:
        labels = labels_of_faces(labels, mesh.faces)
    return PartLabels(labels, tuple(names))


def labels_of_faces(
    vertex_label: NDArray[np.integer], faces: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(V,) labels and (F, 3) triangles -> (F,) the label of most corners, else the smallest."""
    corner = np.sort(np.asarray(vertex_label, np.int64)[faces], axis=1)
    return np.where(corner[:, 1] == corner[:, 2], corner[:, 1], corner[:, 0])


def _read_values(path: Path) -> NDArray[np.float64] | dict[str, list[int]]:
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix.lower() == ".json":
            values = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(values, dict):
                return values
        else:
            values = path.read_text(encoding="utf-8").split()
        return np.asarray(values, np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(
            f"{path}: not a list of labels ({error}); expected numbers (.txt, .npy, .json) or"
            " {name of part: [vertices]} (.json)"
        ) from error


def _vertex_labels(
    path: Path, members: dict[str, list[int]], num_vertices: int
) -> tuple[NDArray[np.float64], list[str]]:
    if not 1 <= len(members) <= NUM_PARTS:
        raise ValueError(f"{path}: names {len(members)} parts; 1 to {NUM_PARTS} are possible")
    label = np.zeros(num_vertices)
    for number, (name, vertices) in enumerate(members.items(), start=1):
        try:
            index = np.asarray(vertices, np.int64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: part {name!r} is no list of vertices") from error
        if index.ndim != 1 or (index.size and not (0 <= index.min() <= index.max() < num_vertices)):
            raise ValueError(
                f"{path}: part {name!r} must be a list of vertices from 0 to {num_vertices - 1}"
            )
        label[index] = number
    if (label == 0).any():
        lost = int(np.flatnonzero(label == 0)[0])
        raise ValueError(
            f"{path}: {int((label == 0).sum())} vertices are in no part, the first is {lost}"
        )
    return label, list(members)
