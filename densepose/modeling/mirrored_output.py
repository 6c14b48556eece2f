"""A chart output as if the image had not been mirrored.

Shapes: N instances, C = 25 channels of parts, D coarse channels, Z = side of the maps.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from densepose.structures.body_parts import UV_STEPS
from densepose.structures.chart_output import MAP_FIELDS, ChartOutput
from densepose.surface.symmetry import ChartSymmetry


def mirrored(output: ChartOutput, symmetry: ChartSymmetry) -> ChartOutput:
    """Exchange left and right: places, parts, coarse regions, and what U and V mean.

    Confidences change place alone: theirs belong to the parts they were predicted for.

    Args:
        output: of a mirrored image. Full maps if the symmetry reads U and V from a table, since
            reading and up-sampling cannot change places.
        symmetry: of the surface that the charts lie on.

    Raises:
        ValueError: the maps have other parts or regions than the symmetry knows, or small maps for
            a table.
    """
    parts, regions = output.part_logits.shape[1], output.coarse_logits.shape[1]
    if parts != len(symmetry.part) or regions not in (2, len(symmetry.coarse)):
        raise ValueError(
            f"the left-right map knows {len(symmetry.part) - 1} parts and"
            f" {len(symmetry.coarse) - 1} coarse regions, the predictor gives {parts - 1} and"
            f" {regions - 1}; set TEST.AUG.FLIP False"
        )
    if symmetry.uv_table is not None and output.upscale != 1:
        raise ValueError("a left-right map in form of a table needs the full maps")
    maps = {name: getattr(output, name) for name in MAP_FIELDS}
    maps = {name: value.flip(3) for name, value in maps.items() if value is not None}
    maps["u"], maps["v"] = _moved(maps["u"], maps["v"], symmetry)
    for name in ("part_logits", "u", "v"):
        maps[name] = maps[name][:, torch.from_numpy(symmetry.part)]
    if regions > 2:
        maps["coarse_logits"] = maps["coarse_logits"][:, torch.from_numpy(symmetry.coarse)]
    return replace(output, **maps)


def _moved(u: Tensor, v: Tensor, symmetry: ChartSymmetry) -> tuple[Tensor, Tensor]:
    """U and V of every channel (N, C, Z, Z) in the charts of the other side."""
    if symmetry.uv_table is None:
        signs = (
            torch.from_numpy(symmetry.uv_sign).to(u.device)[:, :, None, None] < 0
        )  # (C, 2, 1, 1)
        return torch.where(signs[:, 0], 1 - u, u), torch.where(signs[:, 1], 1 - v, v)
    table = torch.from_numpy(symmetry.uv_table).to(u.device)
    # Cut off, not rounded: the way the table is read where it comes from.
    column, row = ((maps.clamp(0, 1) * UV_STEPS).long() for maps in (u, v))
    part = torch.arange(u.shape[1], device=u.device)[:, None, None]
    found = table[part, row, column].to(u.dtype)
    on_body = part > 0
    return torch.where(on_body, found[..., 0], u), torch.where(on_body, found[..., 1], v)
