"""All pixels that detections place on the body, with what the model says about its certainty.

Shapes: N instances, P pixels of all of them together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from densepose.errors import InputError
from densepose.structures.body_parts import ANNOTATION_GRID
from densepose.structures.body_pixels import BodyPixels
from densepose.structures.chart_output import ChartOutput

from .inference import box_sizes_px, decode_person, to_box

# Names as in the results of detectron2's DensePose -> field of ChartOutput.
CERTAINTY_FIELDS = {
    "sigma_2": "log_variance",
    "fine_segm_confidence": "part_confidence",
    "coarse_segm_confidence": "coarse_confidence",
}


@torch.no_grad()
def body_pixels(
    output: ChartOutput, boxes_xyxy_px: Tensor, certainty: str | None = None
) -> BodyPixels:
    """Decode the instances of one image.

    Args:
        output: of N instances.
        boxes_xyxy_px: (N, 4) their boxes.
        certainty: a key of ``CERTAINTY_FIELDS`` whose channel is read at each pixel: of the
            pixel's part where every part has one.

    Returns:
        On the CPU.

    Raises:
        InputError: the model does not predict this certainty.
    """
    maps = None if certainty is None else getattr(output, CERTAINTY_FIELDS[certainty])
    if certainty is not None and maps is None:
        raise InputError(
            f"the model predicts no {certainty}; switch the confidence on in"
            " MODEL.ROI_DENSEPOSE_HEAD, or sample uniformly"
        )
    sizes = box_sizes_px(boxes_xyxy_px)
    grid = int(ANNOTATION_GRID)
    # Empty ones first, for images without instances.
    grids = [torch.zeros(0, grid, grid, dtype=torch.uint8)]
    rows, columns, parts = ([torch.zeros(0, dtype=torch.int64)] for _ in range(3))
    uvs, values = [torch.zeros(0, 2)], [torch.zeros(0)]
    for person, size_px in enumerate(sizes):
        one = slice(person, person + 1)
        labels, uv = decode_person(output[one], size_px)
        row, column = labels.nonzero(as_tuple=True)
        part = labels[row, column].long()
        rows.append(row.cpu())
        columns.append(column.cpu())
        parts.append(part.cpu())
        uvs.append(uv[:, row, column].T.cpu())
        grids.append(decode_person(output[one], (grid, grid))[0][None].cpu())
        if maps is not None:
            values_of_box = to_box(maps[one].float(), output.upscale, size_px)
            channel = part if len(values_of_box) > 1 else torch.zeros_like(part)
            values.append(values_of_box[channel, row, column].cpu())
    count = torch.tensor([len(row) for row in rows[1:]], dtype=torch.int64)
    return BodyPixels(
        boxes_xyxy_px=boxes_xyxy_px.float().cpu(),
        sizes_px=torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        part_grid=torch.cat(grids),
        row=torch.cat(rows),
        column=torch.cat(columns),
        part=torch.cat(parts),
        uv=torch.cat(uvs),
        owner=torch.repeat_interleave(torch.arange(len(sizes)), count),
        certainty=None if maps is None else torch.cat(values),
    )
