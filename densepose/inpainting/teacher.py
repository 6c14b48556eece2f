"""Ask a teacher about places on people: several crop sizes and mirror images, averaged.

Shapes: N people of one image, Q places on them, C = 25 channels of the part maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from densepose.data.person_annotations import move_annotations
from densepose.modeling.dp_fcn import DensePoseFCN
from densepose.modeling.person_crops import half_a_cell_later, square_windows
from densepose.modeling.sampling import positions_in_boxes, sample_all_channels, sample_channel
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import ChartOutput
from densepose.surface.symmetry import ChartSymmetry

from .cells import parts_of_region
from .refine import Scores


@dataclass(frozen=True)
class Averaging:
    """What is averaged."""

    crop_sizes_px: tuple[int, ...]
    mirror: bool


@torch.no_grad()
def ask(
    model: DensePoseFCN,
    image: Tensor,
    people: DensePoseAnnotations,
    person: np.ndarray,
    place_px: np.ndarray,
    region: np.ndarray,
    averaging: Averaging,
    symmetry: ChartSymmetry | None,
) -> Scores:
    """Scores of the candidate parts of each place.

    Probabilities are averaged over all crops; so are U and V of each candidate.

    Args:
        model: set to evaluation.
        image: (3, H, W) as stored, in the model's channel order.
        people: N people with part masks, in px of the image.
        person: (Q,) int64.
        place_px: (Q, 2).
        region: (Q,) int64 1..14, of which the parts are candidates.
        averaging: crop sizes, and whether mirror images are asked too.
        symmetry: left-right map of the charts; needed for mirror images.
    """
    candidates = torch.from_numpy(parts_of_region()[region])
    owner = torch.from_numpy(person)
    place = torch.from_numpy(place_px).float()
    width = image.shape[-1]
    # Annotated points are read apart from the crops; what is known of them is not moved.
    masks_only = replace(_without_points(people), dense=None)
    normal = (image.to(model.device).float() - model.pixel_mean) / model.pixel_std
    probabilities, uvs = [], []
    for size in averaging.crop_sizes_px:
        probability, uv = _ask_once(model, normal, masks_only, owner, place, candidates, size)
        probabilities.append(probability)
        uvs.append(uv)
        if averaging.mirror:
            mirror = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0]])
            moved = move_annotations(masks_only, mirror, tuple(image.shape[-2:]), symmetry)
            there = torch.stack([width - place[:, 0], place[:, 1]], dim=1)
            other = torch.from_numpy(np.asarray(symmetry.part, np.int64))[candidates]
            probability, uv = _ask_once(model, normal.flip(-1), moved, owner, there, other, size)
            probabilities.append(probability)
            uvs.append(_mirrored_uv(uv, other, symmetry))
    probability = torch.stack(probabilities).mean(dim=0).clamp(min=1e-6)
    log_ratio = (probability[:, 1] / probability[:, 0]).log()
    stacked = torch.stack(uvs)
    spread = stacked.std(dim=0, correction=0).square().sum(dim=2).sqrt()
    return Scores(
        log_ratio.double().numpy(), stacked.mean(dim=0).double().numpy(), spread.double().numpy()
    )


def _ask_once(
    model: DensePoseFCN,
    image: Tensor,
    people: DensePoseAnnotations,
    person: Tensor,
    place_px: Tensor,
    candidates: Tensor,
    size_px: int,
) -> tuple[Tensor, Tensor]:
    """(Q, 2) probability and (Q, 2, 2) UV of each candidate, on CPU."""
    people = people.to(model.device)
    windows = square_windows(people.boxes_xyxy_px, model.crops.margin)
    inputs = model.crop_inputs([image], [windows], people, size_px)
    output = model.maps(inputs)
    return read_candidates(output, windows, person, place_px, candidates)


def read_candidates(
    output: ChartOutput, windows: Tensor, person: Tensor, place_px: Tensor, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """Probability and UV of candidate parts at places.

    Args:
        output: of N people, over ``windows``.
        windows: (N, 4) px.
        person: (Q,) int64.
        place_px: (Q, 2), inside the windows.
        candidates: (Q, 2) int64 parts; 0 for none.

    Returns:
        (Q, 2) float32, 0 for no part, and (Q, 2, 2) float32 clamped to [0, 1]; on CPU.
    """
    device = output.part_logits.device
    frames = half_a_cell_later(windows, output.full_size)
    # The outermost half cell has no neighbour outside: it is read as the cell's centre.
    low, high = frames[person.to(device)].split(2, dim=1)
    place = place_px.to(device).clamp(min=low, max=high - 1e-3 * (high - low))
    at, inside = positions_in_boxes(place, person.to(device), frames, output.size, output.upscale)
    assert bool(inside.all())
    candidates = candidates.to(device)
    probability = sample_all_channels(output.part_logits, at).softmax(dim=1)
    probability = probability.gather(1, candidates) * (candidates > 0)
    uv = torch.stack(
        [
            torch.stack(
                [sample_channel(maps, candidates[:, c], at) for maps in (output.u, output.v)], 1
            )
            for c in (0, 1)
        ],
        dim=1,
    )
    return probability.cpu(), uv.clamp(0, 1).cpu()


def _mirrored_uv(uv: Tensor, part: Tensor, symmetry: ChartSymmetry) -> Tensor:
    """(Q, 2, 2) UV in the charts of (Q, 2) parts -> UV in the charts of their mirror images."""
    flipped = symmetry.flip_uv(part.flatten().numpy(), uv.reshape(-1, 2).numpy())
    return torch.from_numpy(np.asarray(flipped, np.float32)).view_as(uv)


def _without_points(people: DensePoseAnnotations) -> DensePoseAnnotations:
    return replace(
        people,
        points_grid=people.points_grid[:0],
        part=people.part[:0],
        uv=people.uv[:0],
        owner=people.owner[:0],
    )


def scaled_sizes(crop_size_px: int, scales: Sequence[float], multiple: int = 32) -> tuple[int, ...]:
    """Crop sizes for scales of the size in training, as multiples of the coarsest stride."""
    return tuple(max(1, round(crop_size_px * s / multiple)) * multiple for s in scales)
