"""Annotated part masks as a teacher of the part maps: dense where the points are sparse.

A mask names a region (an upper arm, say), the maps distinguish its parts (front and back of that
arm). What the mask says about a pixel is therefore that its part is one of the region's, and the
loss is the negative log of the probability of that: of the sum over the region's parts.

Shapes: K pixels, C = 25 channels of the part maps, 15 regions with 0 for background.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from densepose.errors import InputError
from densepose.structures.body_parts import COARSE_OF_PART


def region_nll(part_logits: Tensor, region: Tensor) -> Tensor:
    """-log of the probability that the part belongs to the region.

    Args:
        part_logits: (K, C).
        region: (K,) int64 in [0, 14].

    Returns:
        (K,), 0 or more.

    Raises:
        InputError: the maps do not have the 24 parts whose regions are known.
    """
    table = _parts_of_regions(part_logits.device)
    if part_logits.shape[1] != table.shape[1]:
        raise InputError(
            f"regions are known for {table.shape[1] - 1} parts, the part maps have"
            f" {part_logits.shape[1] - 1}; set MODEL.ROI_DENSEPOSE_HEAD.REGION_WEIGHT to 0"
        )
    own = table[region]
    outside = part_logits.masked_fill(~own, -torch.inf)
    return part_logits.logsumexp(1) - outside.logsumexp(1)


@cache
def _parts_of_regions(device: torch.device) -> Tensor:
    """(15, 25) bool: which parts belong to which region; copied to a device once."""
    region = torch.from_numpy(COARSE_OF_PART).long()
    table = torch.arange(int(region.max()) + 1)[:, None] == region[None, :]
    return table.to(device)
