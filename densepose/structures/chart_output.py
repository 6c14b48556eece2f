"""What a chart predictor returns for N people, before it is brought to the image.

Shapes: N people, D coarse channels (2: background, person; 15: background, 14 regions),
C = 1 + number of charts (0 is background), S = side of the predictor's maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

MAP_FIELDS = (
    "coarse_logits",
    "part_logits",
    "u",
    "v",
    "log_variance",
    "residual_u",
    "residual_v",
    "part_confidence",
    "coarse_confidence",
)


@dataclass(frozen=True)
class ChartOutput:
    """Maps at the predictor's own resolution S, defined by their up-sampling by ``upscale``.

    Losses and decoding read the few values they need from the small maps with the up-sampling
    composed into the weights; ``upsampled()`` gives the full maps for whoever wants to see
    them.
    """

    coarse_logits: Tensor  # (N, D, S, S)
    part_logits: Tensor  # (N, C, S, S)
    u: Tensor  # (N, C, S, S), unclamped
    v: Tensor  # (N, C, S, S), unclamped
    # (N, C, S, S) raw sigma_1 / sigma_2 channel; None without UV confidence
    log_variance: Tensor | None = None
    residual_u: Tensor | None = None  # (N, C, S, S) raw kappa_u; only for anisotropic UV confidence
    residual_v: Tensor | None = None  # (N, C, S, S) raw kappa_v
    part_confidence: Tensor | None = None  # (N, 1, S, S)
    coarse_confidence: Tensor | None = None  # (N, 1, S, S)
    # factor of the bilinear up-sampling (align_corners=False) that defines the full maps
    upscale: int = 1

    def _map(self, fn: Callable[[Tensor], Tensor]) -> ChartOutput:
        present = {name: getattr(self, name) for name in MAP_FIELDS}
        return replace(
            self, **{name: fn(value) for name, value in present.items() if value is not None}
        )

    def __len__(self) -> int:
        return len(self.coarse_logits)

    def __getitem__(self, index: slice | Tensor) -> ChartOutput:
        """Select people by a slice, a mask or indices (no int: the first dimension stays)."""
        return self._map(lambda maps: maps[index])

    def to(self, device: torch.device | str) -> ChartOutput:
        """The same maps on ``device``."""
        return self._map(lambda maps: maps.to(device))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the maps."""
        rows, columns = self.part_logits.shape[2:]
        return rows, columns

    @property
    def full_size(self) -> tuple[int, int]:
        """Rows and columns of the up-sampled maps."""
        rows, columns = self.size
        return rows * self.upscale, columns * self.upscale

    def at_least_float32(self) -> ChartOutput:
        """The same maps, float16 and bfloat16 as float32."""
        return self._map(lambda maps: maps.to(torch.promote_types(maps.dtype, torch.float32)))

    def detach(self) -> ChartOutput:
        """The same maps without their history."""
        return self._map(Tensor.detach)

    def __add__(self, other: ChartOutput) -> ChartOutput:
        """The sums of the maps of two outputs for the same people."""
        names = [name for name in MAP_FIELDS if getattr(self, name) is not None]
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})

    def upsampled(self) -> ChartOutput:
        """The full maps (N, *, S * upscale, S * upscale) with ``upscale`` 1."""
        if self.upscale == 1:
            return self

        def enlarge(maps: Tensor) -> Tensor:
            return F.interpolate(
                maps, scale_factor=self.upscale, mode="bilinear", align_corners=False
            )

        return replace(self._map(enlarge), upscale=1)

    @staticmethod
    def cat(parts: Sequence[ChartOutput]) -> ChartOutput:
        """People of several outputs of the same predictor, one after another. At least one part."""
        first = parts[0]
        names = [
            f.name
            for f in fields(first)
            if f.name in MAP_FIELDS and getattr(first, f.name) is not None
        ]
        return replace(
            first, **{name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        )
