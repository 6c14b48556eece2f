"""HRNet: four branches of different resolution side by side (Sun et al., 2019), from timm.

The layers are timm's; parameter names are those of the authors' checkpoints and of detectron2's
DensePose (below ``backbone.bottom_up``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models.hrnet import HighResolutionModule, HighResolutionNet
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from densepose.errors import InputError

STEM_WIDTH = 64
LAYERS = (
    *("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1"),
    *("transition1", "stage2", "transition2", "stage3", "transition3", "stage4"),
)
KEY = "MODEL.HRNET"


class HRNet(Backbone):
    """Gives the four branches as ``p1`` to ``p4``, of stride 4, 8, 16 and 32 px."""

    def __init__(self, stages: Sequence[dict[str, Any]], in_channels: int = 3) -> None:
        """Build the layers.

        Args:
            stages: the second, third and fourth stage as timm describes them: ``num_modules``,
                ``num_branches``, ``block_type``, ``num_blocks``, ``num_channels``,
                ``fuse_method``.
            in_channels: of the image.
        """
        super().__init__()
        bottleneck = {
            "num_modules": 1,
            "num_branches": 1,
            "block_type": "BOTTLENECK",
            "num_blocks": (4,),
            "num_channels": (64,),
            "fuse_method": "SUM",
        }
        described = {f"stage{number}": stage for number, stage in enumerate(stages, start=2)}
        description = {"stem_width": STEM_WIDTH, "stage1": bottleneck, **described}
        network = HighResolutionNet(description, in_chans=in_channels, head="")
        for module in network.modules():
            if isinstance(module, HighResolutionModule):
                module.__class__ = _FusionOfAnySize
        # The layers, not the network, are the children: the names in checkpoints have no prefix.
        for name in LAYERS:
            self.add_module(name, getattr(network, name))
        expansion = 4 if stages[-1]["block_type"] == "BOTTLENECK" else 1
        self._shapes = {
            f"p{number}": ShapeSpec(channels=channels * expansion, stride=2 ** (number + 1))
            for number, channels in enumerate(stages[-1]["num_channels"], start=1)
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised images -> maps (B, C_k, H / 2**(k + 1), W / 2**(k + 1))."""
        maps = self.act1(self.bn1(self.conv1(images)))
        maps = self.act2(self.bn2(self.conv2(maps)))
        branches = [self.layer1(maps)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            branches = stage(_with_a_new_branch(branches, transition))
        return dict(zip(self._shapes, branches, strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each branch."""
        return self._shapes


class _FusionOfAnySize(HighResolutionModule):
    """Exchanges between branches also when an image's sides are no multiples of 32.

    A small map rounds up what it halves; enlarged again it may overhang, which is cut off.
    """

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        own = [layers(maps) for layers, maps in zip(self.branches, branches, strict=True)]
        fused = []
        for number, exchange in enumerate(self.fuse_layers):
            height, width = own[number].shape[-2:]
            parts = [f(maps)[..., :height, :width] for f, maps in zip(exchange, own, strict=True)]
            fused.append(self.fuse_act(sum(parts[1:], parts[0])))
        return fused


def _with_a_new_branch(branches: list[Tensor], transition: Sequence[Any]) -> list[Tensor]:
    """Inputs of a stage: each old branch through its own transition, new ones from the smallest."""
    sources = branches + branches[-1:] * (len(transition) - len(branches))
    return [step(maps) for step, maps in zip(transition, sources, strict=True)]


def hrnet_from_config(cfg: CfgNode, input_shape: ShapeSpec) -> HRNet:
    """The HRNet of MODEL.HRNET.

    Raises:
        InputError: keys that contradict each other, or a width of the stem that no weights have.
    """
    hrnet = cfg.MODEL.HRNET
    if hrnet.STEM_INPLANES != STEM_WIDTH:
        raise InputError(f"{KEY}.STEM_INPLANES={hrnet.STEM_INPLANES} must be {STEM_WIDTH}")
    return HRNet([_stage(hrnet, number) for number in (2, 3, 4)], input_shape.channels)


def _stage(hrnet: CfgNode, number: int) -> dict[str, Any]:
    stage, key = hrnet[f"STAGE{number}"], f"{KEY}.STAGE{number}"
    if stage.BLOCK not in ("BASIC", "BOTTLENECK") or stage.FUSE_METHOD != "SUM":
        raise InputError(
            f"{key}: BLOCK={stage.BLOCK!r} must be 'BASIC' or 'BOTTLENECK', FUSE_METHOD="
            f"{stage.FUSE_METHOD!r} must be 'SUM'"
        )
    lengths = {"NUM_BLOCKS": len(stage.NUM_BLOCKS), "NUM_CHANNELS": len(stage.NUM_CHANNELS)}
    if stage.NUM_BRANCHES != number or set(lengths.values()) != {number}:
        raise InputError(
            f"{key} has {number} branches: NUM_BRANCHES={stage.NUM_BRANCHES} must be {number},"
            f" NUM_BLOCKS={stage.NUM_BLOCKS} and NUM_CHANNELS={stage.NUM_CHANNELS} must have"
            f" {number} entries"
        )
    return {
        "num_modules": stage.NUM_MODULES,
        "num_branches": stage.NUM_BRANCHES,
        "block_type": stage.BLOCK,
        "num_blocks": tuple(stage.NUM_BLOCKS),
        "num_channels": tuple(stage.NUM_CHANNELS),
        "fuse_method": stage.FUSE_METHOD,
    }
