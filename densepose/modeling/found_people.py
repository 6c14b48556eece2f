"""People as connected foreground of a fully convolutional map, where no boxes are given."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def connected_foreground(
    foreground: Tensor, cell_px: tuple[float, float], min_area_px: float
) -> tuple[Tensor, Tensor]:
    """Boxes around the connected pieces of foreground, diagonal neighbours counting as connected.

    Args:
        foreground: (h, w) probability that a cell shows a person.
        cell_px: height and width of a cell.
        min_area_px: smaller pieces are left out.

    Returns:
        (N, 4) boxes x0, y0, x1, y1 in px and (N,) scores, the mean probability in a piece; best
        first.
    """
    probability = foreground.detach().float().cpu().numpy()
    piece, count = ndimage.label(probability > 0.5, structure=np.ones((3, 3)))
    number = np.arange(1, count + 1)
    height_px, width_px = cell_px
    area = np.bincount(piece.ravel(), minlength=count + 1)[1:] * height_px * width_px
    boxes = np.array(
        [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(piece)], np.float32
    ).reshape(-1, 4) * np.array([width_px, height_px] * 2, np.float32)
    scores = np.asarray(ndimage.mean(probability, piece, number), np.float32).reshape(-1)
    order = np.argsort(-scores, kind="stable")
    order = order[area[order] >= min_area_px]
    device = foreground.device
    return torch.from_numpy(boxes[order]).to(device), torch.from_numpy(scores[order]).to(device)
