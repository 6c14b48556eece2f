"""Random inputs that are the same in every process: images, people, annotations, proposals.

Lengths are image px; a person is (x0, y0, x1, y1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

POINTS_PER_PERSON = 110
GRID = 256


@dataclass(frozen=True)
class Picture:
    """One image with its people; of training pictures also annotations and proposals."""

    image: Tensor  # (3, H, W) float in [0, 255]
    boxes: Tensor  # (N, 4)
    coarse: Tensor  # (N, 256, 256) int64, regions 0..14
    points: Tensor  # (N, P, 2) on the annotation grid
    part: Tensor  # (N, P) int64, 1..24
    uv: Tensor  # (N, P, 2)
    proposals: Tensor  # (M, 4): near people first, then anywhere


def make_picture(
    seed: int, size: tuple[int, int], people: int, *, near: int = 0, anywhere: int = 0
) -> Picture:
    """A random picture.

    Args:
        seed: equal seeds give equal pictures.
        size: height and width in px.
        people: N.
        near: proposals that overlap a person enough to train the DensePose branch on it.
        anywhere: proposals at random.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    height, width = size
    extent = torch.tensor([width, height], dtype=torch.float32)
    sides = (0.15 + 0.25 * uniform(people, 1)) * height * torch.tensor([0.45, 1.0])
    corner = uniform(people, 2) * (extent - sides)
    boxes = torch.cat([corner, corner + sides], dim=1)
    owner = torch.arange(near) % max(people, 1)
    close = boxes[owner] + (uniform(near, 4) - 0.5) * 0.08 * sides[owner].repeat(1, 2)
    first = uniform(anywhere, 2) * extent * 0.8
    random = torch.cat([first, first + 8 + uniform(anywhere, 2) * (extent - first - 8)], dim=1)
    rows = torch.arange(GRID)[:, None] // 64 * 4 + torch.arange(GRID)[None] // 64
    shape = (people, POINTS_PER_PERSON)
    return Picture(
        image=uniform(3, height, width) * 255,
        boxes=boxes,
        coarse=(rows % 15).expand(people, GRID, GRID).contiguous(),
        points=uniform(*shape, 2) * (GRID - 1),
        part=torch.randint(1, 25, shape, generator=generator),
        uv=uniform(*shape, 2),
        proposals=torch.cat([close, random]).clamp(min=0).minimum(extent.repeat(2)),
    )


def make_charts(seed: int, people: int, side: int) -> dict[str, Tensor]:
    """Smooth maps as a trained predictor gives before its up-sampling by 2.

    Returns:
        coarse (N, 2, S, S), part (N, 25, S, S), u and v (N, 25, S, S).
    """
    generator = torch.Generator().manual_seed(seed)
    charts = {}
    for name, channels in (("coarse", 2), ("part", 25), ("u", 25), ("v", 25)):
        rough = torch.randn(people, channels, 6, 6, generator=generator)
        charts[name] = F.interpolate(rough, (side, side), mode="bicubic", align_corners=False)
    return charts
