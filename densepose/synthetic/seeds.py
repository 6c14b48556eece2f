"""One independent stream of random numbers for every image.

The stream depends on the seed of the set, the split and the index of the image and on nothing else,
so an image has the
same bytes whichever worker makes it and whenever.
"""

from __future__ import annotations

import numpy as np

SPLITS = ("train", "val")


def image_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Generator for image ``index`` (0-based) of ``split`` in a set made with ``seed`` (>= 0)."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be at least 0, got {seed} and {index}")
    sequence = np.random.SeedSequence([seed, SPLITS.index(split), index])
    return np.random.Generator(np.random.PCG64(sequence))
