"""A synthetic DensePose-COCO: rendered people, annotated in the format of the real set.

Read in this order: ``writer`` (the set on disk), ``picture`` (one image), ``scene`` and ``poses``
(what is in it),
``appearance`` (clothes, faces, hair), ``render`` (pixels and truth), ``annotate`` (what an
annotator makes of it).
"""

from __future__ import annotations

from .writer import SyntheticDataset, make_synthetic_dataset

__all__ = ["SyntheticDataset", "make_synthetic_dataset"]
