"""A DP-FCN without weights that reads parts, U and V off the colours of an image."""

from __future__ import annotations

import torch
from torch import nn

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from densepose.modeling.dp_fcn import DensePoseFCN
from densepose.modeling.losses import DensePoseChartLoss
from densepose.modeling.person_crops import CropSettings
from densepose.structures.chart_output import ChartOutput


class Pixels(Backbone):
    """The image itself, shrunk by 4, as the only feature level."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 4, stride=4, bias=False)
        nn.init.zeros_(self.stem.weight)
        with torch.no_grad():
            self.stem.weight[range(3), range(3)] = 1 / 16

    @property
    def size_divisibility(self) -> int:
        return 32

    def forward(self, images):
        return {"res2": self.stem(images)}

    def output_shape(self):
        return {"res2": ShapeSpec(channels=3, stride=4)}


class ColoursAreLabels(nn.Module):
    """Red is the logit of part 2 against background, green is U, blue is V."""

    def forward(self, maps):
        red, green, blue = (maps[:, i : i + 1] for i in range(3))
        part = torch.zeros(len(maps), 25, *maps.shape[2:])
        part[:, 2:3], part[:, 0] = red, 0.1
        coarse = torch.cat([torch.full_like(red, 0.1), red], dim=1)
        return ChartOutput(coarse, part, green.expand_as(part), blue.expand_as(part))


def painted_model(crops: CropSettings | None, stride: int = 1) -> DensePoseFCN:
    """A network without weights that reads the colours of the image."""
    return DensePoseFCN(
        backbone=Pixels(),
        in_features=["res2"],
        head=nn.Identity(),
        predictor=ColoursAreLabels(),
        losses=DensePoseChartLoss(),
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
        stride=stride,
        crops=crops,
        box_map_size=64,
    ).eval()
