"""A short name for the exact content of some arrays, by which files derived from them are known."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def mesh_fingerprint(
    vertices_m: NDArray[np.floating], faces: NDArray[np.integer], *labels: NDArray[np.integer]
) -> str:
    """Sixteen hexadecimal digits that change with any vertex (to float32), face or label."""
    digest = hashlib.sha256()
    for array, dtype in (
        (vertices_m, "<f4"),
        (faces, "<i4"),
        *((label, "<i4") for label in labels),
    ):
        digest.update(str(np.shape(array)).encode())
        digest.update(np.ascontiguousarray(array, dtype).tobytes())
    return digest.hexdigest()[:16]
