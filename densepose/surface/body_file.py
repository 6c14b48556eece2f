"""The file of the template body: what is in it, reading with checks, writing.

V vertices, F triangles, J joints, S shape directions, K vertices to a keypoint. Frame as in
``template``; origin, licence and how to bake the file are in ``assets/README.md``.

=================  ==================  ===========================================================
key                shape, dtype        meaning
=================  ==================  ===========================================================
schema             () int64            number of this layout
vertices_m         (V, 3) float32      rest pose of the mean shape
faces              (F, 3) int32        counter-clockwise seen from outside
face_part          (F,) uint8          DensePose part of each triangle, 1 to 24
mirror_vertex      (V,) int32          vertex at the mirrored place, its own inverse
joint_names        (J,) str            pelvis first, parents before children
joint_parents      (J,) int32          -1 for the pelvis
joints_m           (J, 3) float32      rest pose of the mean shape
mirror_joint       (J,) int32          joint on the other side, its own inverse
skin_joint         (V, 4) uint8        joints that move a vertex
skin_weight        (V, 4) float32      their weights, sum 1
shape_names        (S,) str            what a direction changes
shape_low          (S,) float32        smallest coefficient that still looks human
shape_high         (S,) float32        largest one
shape_vertices_m   (S, V, 3) float16   displacement for a coefficient of 1
shape_joints_m     (S, J, 3) float32   displacement of the joints
keypoint_vertex    (17, K) int32       vertices whose weighted mean is a keypoint
keypoint_weight    (17, K) float32     their weights, sum 1
=================  ==================  ===========================================================
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SCHEMA = 1

# V and the other letters stand for lengths that must agree between the arrays.
_SHAPES: dict[str, tuple[str, ...]] = {
    "vertices_m": ("V", "3"),
    "faces": ("F", "3"),
    "face_part": ("F",),
    "mirror_vertex": ("V",),
    "joint_names": ("J",),
    "joint_parents": ("J",),
    "joints_m": ("J", "3"),
    "mirror_joint": ("J",),
    "skin_joint": ("V", "4"),
    "skin_weight": ("V", "4"),
    "shape_names": ("S",),
    "shape_low": ("S",),
    "shape_high": ("S",),
    "shape_vertices_m": ("S", "V", "3"),
    "shape_joints_m": ("S", "J", "3"),
    "keypoint_vertex": ("17", "K"),
    "keypoint_weight": ("17", "K"),
}


def read_body(path: Path) -> dict[str, NDArray]:
    """All arrays of a baked body, checked.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when its schema, a key, a shape or an index is not as above.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no baked body here; reinstall the package or run tools/bake_template.py"
        )
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    _check_shapes(arrays, path)
    _check_values(arrays, path)
    return arrays


def _check_shapes(arrays: dict[str, NDArray], path: Path) -> None:
    if "schema" not in arrays:
        raise ValueError(f"{path}: not a baked body: the key 'schema' is missing")
    if int(arrays["schema"]) != SCHEMA:
        raise ValueError(
            f"{path}: schema {int(arrays['schema'])}, this version reads schema {SCHEMA}; "
            "bake it again with tools/bake_template.py"
        )
    missing = [key for key in _SHAPES if key not in arrays]
    if missing:
        raise ValueError(f"{path}: missing {', '.join(missing)}")
    size: dict[str, int] = {}
    for key, letters in _SHAPES.items():
        shape = arrays[key].shape
        expected = tuple(
            int(letter) if letter.isdigit() else size.setdefault(letter, length)
            for letter, length in zip(letters, shape, strict=False)
        )
        if len(shape) != len(letters) or shape != expected:
            raise ValueError(
                f"{path}: {key} must have shape ({', '.join(letters)}) with {size}, got {shape}"
            )


def _check_values(arrays: dict[str, NDArray], path: Path) -> None:
    num_vertices, num_joints = len(arrays["vertices_m"]), len(arrays["joint_names"])
    ranges = {
        "face_part": (1, 24),
        "mirror_vertex": (0, num_vertices - 1),
        "mirror_joint": (0, num_joints - 1),
        "skin_joint": (0, num_joints - 1),
        "keypoint_vertex": (0, num_vertices - 1),
    }
    for key, (low, high) in ranges.items():
        values = arrays[key]
        if values.min() < low or values.max() > high:
            raise ValueError(
                f"{path}: {key} must lie from {low} to {high}, got {values.min()} to {values.max()}"
            )
    late = arrays["joint_parents"] >= np.arange(num_joints)
    if late.any():
        name = str(arrays["joint_names"][late.argmax()])
        raise ValueError(f"{path}: joint {name!r} comes before its parent")


def write_body(arrays: dict[str, NDArray], path: Path) -> None:
    """Write the asset under a temporary name, then put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
