"""Few points out of dense predictions: at most so many of each part of each person.

Sanakoyeu et al., CVPR 2020, section 3.4: uniformly, or among the pixels the model is surest of.

Shapes: P pixels of all people of an image, K <= P chosen ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from densepose.structures.body_pixels import BodyPixels


def sample_points(
    pixels: BodyPixels,
    per_part: int,
    *,
    best_fraction: float | None = None,
    largest: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw pixels without replacement, each as likely as the others that may be drawn.

    Args:
        pixels: of N people.
        per_part: points of each part of each person at most.
        best_fraction: draw only among this fraction of a part's pixels, those with the smallest
            ``certainty`` (at least ``per_part`` of them if the part has as many); None: among all.
        largest: those with the largest ``certainty`` instead.
        generator: of the random numbers.

    Returns:
        (K,) int64 indices of pixels, ascending.

    Raises:
        ValueError: a fraction is given and the pixels have no ``certainty``.
    """
    group = pixels.owner * 256 + pixels.part
    candidate = torch.arange(len(group))
    if best_fraction is not None:
        if pixels.certainty is None:
            raise ValueError("best_fraction needs pixels with a certainty")
        count = torch.bincount(group)
        wanted = torch.maximum((count * best_fraction).long(), count.clamp(max=per_part))
        value = -pixels.certainty if largest else pixels.certainty
        candidate = candidate[rank_in_group(group, value) < wanted[group]]
    draw = torch.rand(len(candidate), generator=generator)
    return candidate[rank_in_group(group[candidate], draw) < per_part]


def rank_in_group(group: Tensor, value: Tensor) -> Tensor:
    """(P,) group numbers and (P,) values -> (P,) int64: how many of its group come before each.

    Equal values keep their order.
    """
    order = value.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    ordered = group[order]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    return rank
