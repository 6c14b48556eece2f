"""Lists of different lengths, packed end to end in one array: where each starts, how to pick some.

Shapes: K lists.
"""

from __future__ import annotations

import numpy as np


def starts(lengths: np.ndarray) -> np.ndarray:
    """(K,) lengths -> (K + 1,) where each list starts, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(K,) starts and lengths -> the numbers first, first + 1, ... of each, one after another."""
    place = starts(lengths)
    return np.arange(place[-1]) + np.repeat(first - place[:-1], lengths)
