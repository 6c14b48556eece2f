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
from .methods import Scores


@dataclass(frozen=True)
class Teacher:
    """A trained network and what is averaged of it."""

    model: DensePoseFCN  # set to evaluation
    crop_sizes_px: tuple[int, ...]
    symmetry: ChartSymmetry | None  # left-right map of the charts; None: no mirror images

    @torch.no_grad()
    def ask(
        self,
        image: Tensor,
        people: DensePoseAnnotations,
        person: np.ndarray,
        place_px: np.ndarray,
        region: np.ndarray,
    ) -> Scores:
        """Scores of the candidate parts of each place.

        Probabilities are averaged over all crops; so are U and V of each candidate.

        Args:
            image: (3, H, W) as stored, in the model's channel order.
            people: N people with part masks, in px of the image.
            person: (Q,) int64.
            place_px: (Q, 2).
            region: (Q,) int64 1..14, of which the parts are candidates.
        """
        candidates = torch.from_numpy(parts_of_region()[region])
        owner, place = torch.from_numpy(person), torch.from_numpy(place_px).float()
        width = image.shape[-1]
        # Annotated points are read apart from the crops; what is known of them is not moved.
        masks_only = _without_points(people)
        normal = image.to(self.model.device).float()
        normal = (normal - self.model.pixel_mean) / self.model.pixel_std
        answers = []
        for size in self.crop_sizes_px:
            answers.append(self._ask_once(normal, masks_only, owner, place, candidates, size))
            if self.symmetry is None:
                continue
            mirror = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0]])
            moved = move_annotations(masks_only, mirror, tuple(image.shape[-2:]), self.symmetry)
            mirrored = torch.stack([width - place[:, 0], place[:, 1]], dim=1)
            other = torch.from_numpy(np.asarray(self.symmetry.part, np.int64))[candidates]
            answer = self._ask_once(normal.flip(-1), moved, owner, mirrored, other, size)
            answers.append((answer[0], self._mirrored_uv(answer[1], other)))
        probability, uv = (torch.stack(kind) for kind in zip(*answers, strict=True))
        probability = probability.mean(dim=0).clamp(min=1e-6).double()
        spread = uv.std(dim=0, correction=0).square().sum(dim=2).sqrt()
        log_ratio = (probability[:, 1] / probability[:, 0]).log()
        return Scores(log_ratio.numpy(), uv.mean(dim=0).double().numpy(), spread.double().numpy())

    def _ask_once(
        self,
        image: Tensor,
        people: DensePoseAnnotations,
        person: Tensor,
        place_px: Tensor,
        candidates: Tensor,
        size_px: int,
    ) -> tuple[Tensor, Tensor]:
        """(Q, 2) probability and (Q, 2, 2) UV of each candidate, on CPU."""
        people = people.to(self.model.device)
        windows = square_windows(people.boxes_xyxy_px, self.model.crops.margin)
        output = self.model.maps(self.model.crop_inputs([image], [windows], people, size_px))
        return read_candidates(output, windows, person, place_px, candidates)

    def _mirrored_uv(self, uv: Tensor, part: Tensor) -> Tensor:
        """(Q, 2, 2) UV in the charts of (Q, 2) parts -> in the charts of their mirror images."""
        flipped = self.symmetry.flip_uv(part.flatten().numpy(), uv.reshape(-1, 2).numpy())
        return torch.from_numpy(np.asarray(flipped, np.float32)).view_as(uv)


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
    uv = [
        torch.stack([sample_channel(maps, candidate, at) for maps in (output.u, output.v)], 1)
        for candidate in candidates.unbind(1)
    ]
    return probability.cpu(), torch.stack(uv, dim=1).clamp(0, 1).cpu()


def _without_points(people: DensePoseAnnotations) -> DensePoseAnnotations:
    none = {name: getattr(people, name)[:0] for name in ("points_grid", "part", "uv", "owner")}
    return replace(people, dense=None, **none)


def scaled_sizes(crop_size_px: int, scales: Sequence[float], multiple: int = 32) -> tuple[int, ...]:
    """Crop sizes for scales of the size in training, as multiples of the coarsest stride."""
    return tuple(max(1, round(crop_size_px * s / multiple)) * multiple for s in scales)
