"""Stages that refine the outputs of several branches from what all of them found.

Güler et al., "DensePose", CVPR 2018, Figure 8. A branch k has head features F_k and a first output
O_k. Both go through a 1x1 convolution each; the projected tensors of all branches are added, in
each branch a 1x1 convolution and an output layer of its own follow, and give the refined output:

    Z_k = sum over all branches j of P_j(F_j) + Q_j(O_j)
    F'_k = relu(mix_k(relu(Z_k))),   O'_k = O_k + output_k(F'_k)   or   output_k(F'_k)

A third stage takes F' and O' in the place of F and O.

Shapes: N boxes, R_k = side of the features of branch k, S_k = side of its output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.structures import Boxes

if TYPE_CHECKING:
    from .cascade_tasks import CascadeTask, Output
    from .roi_heads import DensePoseROIHeads

ACTIVATIONS = ("none", "sum", "sum_and_conv")
OUTPUT_CELLS = ("mean", "stacked")
REFINED = ("replace", "add")


@dataclass(frozen=True)
class BranchShape:
    """What one branch brings to the sums."""

    feature_channels: int
    output_channels: int
    cells: int  # S_k / R_k: cells of the output along one cell of the features


class CascadeStage(nn.Module):
    """The sums of one stage and the convolution behind each, up to the branches' output layers."""

    def __init__(
        self,
        branches: Mapping[str, BranchShape],
        output_layers: Mapping[str, nn.Module],
        *,
        channels: int,
        shared_projections: bool = True,
        output_cells: str = "mean",
        activation: str = "sum_and_conv",
        conv_kernel: int = 1,
        conv_dilation: int = 1,
    ) -> None:
        """Build the layers.

        Args:
            branches: by name.
            output_layers: of each branch, features (N, channels, R_k, R_k) -> refined output.
            channels: of the projected tensors and of the refined features.
            shared_projections: a tensor is projected once for all sums; else once for each sum.
            output_cells: "mean" averages the cells of an output that lie in one cell of the
                features, "stacked" takes them as channels of their own.
            activation: where a ReLU stands: "none", "sum" (behind the sum) or "sum_and_conv"
                (behind the convolution too).
            conv_kernel: odd; 1 in the paper.
            conv_dilation: cells between the taps of this convolution.
        """
        super().__init__()
        self.branches = dict(branches)
        self.shared_projections = shared_projections
        self.output_cells = output_cells
        self.activation = activation
        terms = 2 * len(branches)
        self.feature_projections = nn.ModuleDict()
        self.output_projections = nn.ModuleDict()
        for source, shape in branches.items():
            stacked = shape.cells**2 if output_cells == "stacked" else 1
            for target in branches:
                name = self._projection(source, target)
                if name in self.feature_projections:
                    continue
                self.feature_projections[name] = _conv(shape.feature_channels, channels, terms)
                self.output_projections[name] = _conv(
                    stacked * shape.output_channels, channels, terms
                )
        self.mixing = nn.ModuleDict(
            {name: _conv(channels, channels, 1, conv_kernel, conv_dilation) for name in branches}
        )
        self.output_layers = nn.ModuleDict(output_layers)

    def forward(
        self, features: Mapping[str, Tensor], maps: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Refined features of all branches.

        Args:
            features: (N, feature channels, R_k, R_k) by branch.
            maps: (N, output channels, S_k, S_k) by branch.

        Returns:
            (N, channels, R_k, R_k) by branch, ready for ``output_layers``.
        """
        cells = {name: self._cells(each, features[name].shape[-1]) for name, each in maps.items()}
        sums: dict[tuple[str, int], Tensor] = {}
        refined = {}
        for target in self.branches:
            side = features[target].shape[-1]
            # Shared projections give the same sum for all branches of the same side.
            key = ("" if self.shared_projections else target, side)
            if key not in sums:
                sums[key] = self._sum(features, cells, target, side)
            mixed = self.mixing[target](sums[key])
            refined[target] = F.relu(mixed) if self.activation == "sum_and_conv" else mixed
        return refined

    def _sum(
        self,
        features: Mapping[str, Tensor],
        cells: Mapping[str, Tensor],
        target: str,
        side: int,
    ) -> Tensor:
        total = None
        for source in self.branches:
            name = self._projection(source, target)
            term = self.feature_projections[name](features[source])
            term = term + self.output_projections[name](cells[source])
            if term.shape[-1] != side:
                term = F.interpolate(term, (side, side), mode="bilinear", align_corners=False)
            total = term if total is None else total + term
        return total if self.activation == "none" else F.relu(total)

    def _projection(self, source: str, target: str) -> str:
        return source if self.shared_projections else f"{source}_to_{target}"

    def _cells(self, maps: Tensor, side: int) -> Tensor:
        """(N, C, S, S) -> (N, C or C * (S / side)^2, side, side)."""
        factor = maps.shape[-1] // side
        if factor == 1:
            return maps
        if self.output_cells == "mean":
            return F.avg_pool2d(maps, factor)  # many times faster than a mean over cells on CPU
        count, channels = maps.shape[:2]
        cells = maps.reshape(count, channels, side, factor, side, factor)
        # As F.pixel_unshuffle, which gets the shape wrong where there are no boxes.
        stacked = cells.permute(0, 1, 3, 5, 2, 4)
        return stacked.reshape(count, channels * factor**2, side, side)


class Cascade(nn.Module):
    """All stages: the first one is the branches of the ROI heads, the others stand here.

    The later stages are called ``stage2`` and ``stage3``.
    """

    def __init__(
        self,
        tasks: Sequence[CascadeTask],
        later_stages: Sequence[CascadeStage],
        *,
        refined: str = "add",
        gradient_through_outputs: bool = True,
        stage_weights: Sequence[float] = (1.0, 1.0, 1.0),
        test_stage: int = 0,
    ) -> None:
        """Keep the stages.

        Args:
            tasks: the branches that take part.
            later_stages: stage 2 and maybe 3; each with the branches of ``tasks``.
            refined: "add": an output layer gives what is added to the output of the stage before,
                and is 0 in the beginning; "replace": it gives the refined output.
            gradient_through_outputs: losses of a stage also train the outputs of the stages
                before it; otherwise these are input only.
            stage_weights: of the losses of each stage.
            test_stage: the stage whose outputs are the detections'; 0: the last.
        """
        super().__init__()
        self.tasks = tuple(tasks)
        self.later_stages = [f"stage{number}" for number in range(2, 2 + len(later_stages))]
        for name, stage in zip(self.later_stages, later_stages, strict=True):
            self.add_module(name, stage)
            if refined == "add":
                for task in tasks:
                    _set_to_zero(task.last_layers(stage.output_layers[task.name]))
        self.refined = refined
        self.gradient_through_outputs = gradient_through_outputs
        self.stage_weights = tuple(stage_weights)
        self.test_stage = test_stage

    @property
    def num_stages(self) -> int:
        """1 and the later ones."""
        return 1 + len(self.later_stages)

    def forward(
        self,
        heads: DensePoseROIHeads,
        levels: Mapping[str, Tensor],
        boxes: list[Boxes],
        num_stages: int = 0,
    ) -> list[dict[str, Output]]:
        """Outputs of the stages 1, 2, ... for the boxes of all images, by branch.

        Args:
            heads: whose branches are the first stage.
            levels: pyramid levels by name.
            boxes: of each image; N together.
            num_stages: leave out the stages behind this one; 0: all.
        """
        tasks = self.tasks
        features = {task.name: task.features(heads, levels, boxes) for task in tasks}
        outputs = [
            {
                task.name: task.output(task.first_layers(heads), features[task.name])
                for task in tasks
            }
        ]
        for name in self.later_stages[: (num_stages or self.num_stages) - 1]:
            stage: CascadeStage = getattr(self, name)
            before = outputs[-1]
            if not self.gradient_through_outputs:
                before = {name: output.detach() for name, output in before.items()}
            maps = {task.name: task.maps(heads, before[task.name]) for task in tasks}
            features = stage(features, maps)
            after = {
                task.name: task.output(stage.output_layers[task.name], features[task.name])
                for task in tasks
            }
            if self.refined == "add":
                after = {name: before[name] + output for name, output in after.items()}
            outputs.append(after)
        return outputs


def _conv(
    in_channels: int, out_channels: int, terms: int, kernel: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A convolution whose output is one of ``terms`` addends of a sum of variance 1."""
    padding = kernel // 2 * dilation
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    with torch.no_grad():
        conv.weight /= math.sqrt(terms)
    nn.init.zeros_(conv.bias)
    return conv


def _set_to_zero(layers: nn.Module) -> None:
    for parameter in layers.parameters():
        nn.init.zeros_(parameter)
