"""Where annotated points went: each of them falls into exactly one kind.

Shapes: P points, K = len(KINDS).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from densepose.structures.body_parts import COARSE_OF_PART, flipped_coarse, flipped_parts

# In the order in which they are counted; the first is no mistake.
KINDS = {
    "points_right_part": "right part",
    "points_other_face": "right limb or torso, front taken for back or back for front",
    "points_other_side": "left taken for right or right for left",
    "points_other_side_and_face": "both: the other side's other face",
    "points_other_limb": "another part of the body",
    "points_as_background": "person found, background predicted or outside of the box",
    "points_not_found": "person not found",
}
_NAMES = tuple(KINDS)


def kinds_of(part: np.ndarray, predicted_part: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(P,) index into KINDS.

    Args:
        part: (P,) annotated part, 1 to 24.
        predicted_part: (P,) 0 where background or nothing was predicted.
        found: (P,) bool: the point's person has a detection.
    """
    kind = _table()[part, predicted_part]
    return np.where(found, kind, _NAMES.index("points_not_found"))


@cache
def _table() -> np.ndarray:
    """(25, 25) kind by annotated and predicted part."""
    region, other_side = COARSE_OF_PART, flipped_parts()
    here, there = region[:, None], region[None, :]
    # Later ones overrule earlier ones.
    rules = (
        ("points_other_side_and_face", flipped_coarse()[here] == there),
        # Of the head's two parts, the other one is the other side.
        ("points_other_face", here == there),
        ("points_other_side", other_side[:, None] == np.arange(len(region))[None, :]),
        ("points_right_part", np.eye(len(region), dtype=bool)),
        ("points_as_background", (np.arange(len(region)) == 0)[None, :]),
    )
    table = np.full((len(region),) * 2, _NAMES.index("points_other_limb"))
    for name, where in rules:
        table[np.broadcast_to(where, table.shape)] = _NAMES.index(name)
    return table
