"""Seeded inputs and weights that are the same in every process and on every machine.

Imports nothing of either package that is called ``densepose``. Lengths are image px; a box is
(x0, y0, x1, y1).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.structures import BitMasks, Boxes, Instances

POINTS_PER_PERSON = 110
GRID = 256
_BOX_STEP_PX = 1 / 16


@dataclass(frozen=True)
class Case:
    """One piece of work for both sides; what travels to a process are its fields as JSON."""

    config: str  # a name below configs/ without .yaml, or the path of a file
    opts: tuple[str, ...] = ()  # KEY VALUE pairs
    seed: int = 0  # of weights and inputs
    device: str = "cpu"
    # Of work whose time is measured:
    half: bool = False  # train under autocast
    images: int = 1  # of a batch or a data set
    picture: dict[str, Any] = field(default_factory=dict)  # arguments of what makes the input
    folder: str = ""  # of files


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
    seed: int,
    size: tuple[int, int],
    people: int,
    *,
    near: int = 0,
    anywhere: int = 0,
    heights: tuple[float, float] = (0.15, 0.4),
) -> Picture:
    """A random picture.

    Args:
        seed: equal seeds give equal pictures.
        size: height and width in px.
        people: N.
        near: proposals that overlap a person enough to train the DensePose branch on it.
        anywhere: proposals at random.
        heights: of people, smallest and largest fraction of the image's.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    height, width = size
    low, high = heights
    extent = torch.tensor([width, height], dtype=torch.float32)
    sides = (low + (high - low) * uniform(people, 1)) * height * torch.tensor([0.45, 1.0])
    corner = uniform(people, 2) * (extent - sides)
    boxes = torch.cat([corner, corner + sides], dim=1)
    owner = torch.arange(near) % max(people, 1)
    close = boxes[owner] + (uniform(near, 4) - 0.5) * 0.08 * sides[owner].repeat(1, 2)
    first = uniform(anywhere, 2) * extent * 0.8
    random = torch.cat([first, first + 8 + uniform(anywhere, 2) * (extent - first - 8)], dim=1)
    rows = torch.arange(GRID)[:, None] // 64 * 4 + torch.arange(GRID)[None] // 64
    shape = (people, POINTS_PER_PERSON)
    # Mostly smooth: nothing that happens far inside a network would depend on the place else.
    rough = uniform(1, 3, -(-height // 16), -(-width // 16))
    smooth = F.interpolate(rough, size, mode="bilinear", align_corners=False)[0]
    return Picture(
        image=(0.8 * smooth + 0.2 * uniform(3, height, width)) * 255,
        boxes=boxes,
        coarse=(rows % 15).expand(people, GRID, GRID).contiguous(),
        points=uniform(*shape, 2) * (GRID - 1),
        part=torch.randint(1, 25, shape, generator=generator),
        uv=uniform(*shape, 2),
        proposals=torch.cat([close, random]).clamp(min=0).minimum(extent.repeat(2)),
    )


def on_grid(picture: Picture) -> Picture:
    """The picture with boxes on a grid of 1/16 px, whose sizes float32 holds exactly.

    Boxes stay in float32 where a model computes in float64.
    """

    def rounded(boxes: Tensor) -> Tensor:
        return (boxes / _BOX_STEP_PX).round() * _BOX_STEP_PX

    return replace(picture, boxes=rounded(picture.boxes), proposals=rounded(picture.proposals))


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


def detections_of(picture: Picture) -> Instances:
    """The people of a picture as detections."""
    found = Instances(tuple(picture.image.shape[1:]))
    found.pred_boxes = Boxes(picture.boxes)
    found.pred_classes = torch.zeros(len(picture.boxes), dtype=torch.int64)
    found.scores = torch.linspace(1, 0.5, len(picture.boxes))
    return found


def proposals_of(picture: Picture) -> Instances:
    """The proposals of a picture."""
    found = Instances(tuple(picture.image.shape[1:]))
    found.proposal_boxes = Boxes(picture.proposals)
    found.objectness_logits = torch.zeros(len(picture.proposals))
    return found


def target_of(picture: Picture, annotations: Any) -> Instances:
    """Ground truth of a picture: boxes, ellipses as masks, and one side's DensePose annotations."""
    height, width = picture.image.shape[1:]
    target = Instances((height, width))
    target.gt_boxes = Boxes(picture.boxes)
    target.gt_classes = torch.zeros(len(picture.boxes), dtype=torch.int64)
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    x0, y0, x1, y1 = picture.boxes[..., None, None].unbind(1)
    across = (columns - (x0 + x1) / 2) / (x1 - x0)
    along = (rows - (y0 + y1) / 2) / (y1 - y0)
    target.gt_masks = BitMasks(across.square() + along.square() < 0.25)
    target.gt_densepose = annotations
    return target


def seeded_tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Weights of a parameter or a norm's statistic, from its name, shape and a seed alone.

    With r uniform in [-1, 1), from torch's CPU generator seeded with the first 63 bits of
    sha256("SEED NAME"), and f = (larger of the first two sizes) x (product of the others):

    - two dimensions or more (convolutions, linear layers): r sqrt(6 / f), a fifth of it in the
      DensePose predictor, whose outputs would be several times as large as trained ones;
    - other parameters of that predictor: 1/2 + r / 10, so that U and V are mostly in [0, 1];
    - ``running_var``: 1 + r / 2;
    - other ``weight`` of one dimension (norms): 1/2 + r / 10, or activations would grow from
      block to block;
    - all others (biases, running means): r / 10.
    """
    digest = sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    r = torch.rand(shape, generator=generator, dtype=torch.float32) * 2 - 1
    in_predictor, last = ".densepose_predictor." in name, name.rpartition(".")[2]
    if len(shape) > 1:
        fan = max(shape[:2]) * torch.Size(shape[2:]).numel()
        gain = 1 / 5 if in_predictor else 1.0
        return r * (gain * (6 / fan) ** 0.5)
    if last == "running_var":
        return 1 + r / 2
    return 0.5 + r / 10 if in_predictor or last == "weight" else r / 10


def fill_with_seeded(model: nn.Module, seed: int) -> None:
    """Overwrite everything in the state of a model that is not a count."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(seeded_tensor(name, tuple(tensor.shape), seed))
