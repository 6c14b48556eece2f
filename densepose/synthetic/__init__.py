"""A synthetic DensePose-COCO: rendered people, annotated in the format of the real set.

Read in this order: ``dataset`` (the set on disk), ``picture`` (one image), ``scene``, ``person``,
``poses`` (what is in it), ``appearance`` (clothes, faces, hair), ``render`` and ``truth`` (pixels
and what they show), ``annotate`` (what an annotator makes of it).
"""

from __future__ import annotations

from .dataset import SyntheticDataset, make_synthetic_dataset

__all__ = ["SyntheticDataset", "make_synthetic_dataset"]
