from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.resnet import build_resnet_backbone

from densepose.config import get_densepose_cfg
from densepose.engine.model import freeze
from densepose.engine.solver import BOTTOM_UP, build_optimizer, rate_factor, stage_heights


def config(**solver: object) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.SOLVER.BASE_LR = 2.0
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return cfg


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stages = {name: nn.Linear(2, 2) for name in ("stem", "res2", "res3", "res4", "res5")}
        self.backbone = nn.ModuleDict({"bottom_up": nn.ModuleDict(stages), "fpn": nn.Linear(2, 2)})
        self.roi_heads = nn.ModuleDict({"head": nn.Linear(2, 2), "predictor": nn.Linear(2, 2)})


def rates(cfg: CfgNode, net: nn.Module) -> dict[str, float]:
    """Learning rate of each parameter in the optimizer's groups."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    groups = build_optimizer(cfg, net).param_groups
    return {names[p]: group["lr"] for group in groups for p in group["params"]}


def test_each_stage_further_down_learns_more_slowly():
    found = rates(config(LAYER_LR_DECAY=0.5), Net())
    for stage, factor in (("res5", 2), ("res4", 4), ("res3", 8), ("res2", 16), ("stem", 32)):
        assert found[f"backbone.bottom_up.{stage}.weight"] == pytest.approx(2.0 / factor)
    assert found["backbone.fpn.weight"] == found["roi_heads.head.weight"] == 2.0


def test_the_longest_prefix_counts_and_factors_multiply_in_the_backbone():
    cfg = config(
        LR_FACTORS=[["roi_heads", 3.0], ["roi_heads.predictor", 10], ["backbone", 0.5]],
        BACKBONE_LR_FACTOR=0.1,
        LAYER_LR_DECAY=0.5,
        BIAS_LR_FACTOR=2.0,
    )
    found = rates(cfg, Net())
    assert found["roi_heads.head.weight"] == pytest.approx(6.0)
    assert found["roi_heads.predictor.weight"] == pytest.approx(20.0)
    assert found["roi_heads.predictor.bias"] == pytest.approx(40.0)
    assert found["backbone.fpn.weight"] == pytest.approx(1.0)
    assert found["backbone.bottom_up.res4.weight"] == pytest.approx(2.0 * 0.5 * 0.1 * 0.25)


def test_without_any_key_all_rates_are_the_base_rate():
    assert set(rates(config(), Net()).values()) == {2.0}


def test_frozen_stages_are_not_in_the_optimizer_and_do_not_shift_the_others():
    net = Net()
    freeze(net, ["backbone.bottom_up.stem", "backbone.bottom_up.res2"])
    found = rates(config(LAYER_LR_DECAY=0.5), net)
    assert "backbone.bottom_up.res2.weight" not in found
    assert found["backbone.bottom_up.res3.weight"] == pytest.approx(2.0 / 8)


def in_backbone(model: nn.Module, prefix: str = "") -> list[str]:
    return [f"{BOTTOM_UP}{prefix}{name}" for name, _ in model.named_parameters()]


def test_stages_of_a_resnet_and_of_timms_models():
    resnet = build_resnet_backbone(get_densepose_cfg(), ShapeSpec(channels=3))
    names = in_backbone(resnet)
    heights = stage_heights([*names, "roi_heads.res9.weight"])
    assert set(heights) == set(names)
    assert heights[f"{BOTTOM_UP}res4.0.conv1.weight"] == 1  # the last stage of this config
    assert heights[f"{BOTTOM_UP}stem.conv1.weight"] == 4
    with torch.device("meta"):
        lite = timm.create_model("tf_efficientnet_lite0", features_only=True)
        convnext = timm.create_model("convnext_atto", features_only=True)
    heights = stage_heights(in_backbone(lite, "model."))
    assert sorted(set(heights.values())) == list(range(1, 9))  # 7 blocks and the stem
    assert heights[f"{BOTTOM_UP}model.conv_stem.weight"] == 8
    heights = stage_heights(in_backbone(convnext, "model."))
    assert heights[f"{BOTTOM_UP}model.stages_3.blocks.0.conv_dw.weight"] == 1
    assert heights[f"{BOTTOM_UP}model.stages_0.blocks.1.conv_dw.weight"] == 4
    assert heights[f"{BOTTOM_UP}model.stem_0.weight"] == 5


def test_stages_of_an_hrnet():
    names = ["conv1.weight", "layer1.0.conv1.weight", "transition1.0.0.weight"]
    names += [f"stage{number}.0.branches.1.0.conv1.weight" for number in (2, 3, 4)]
    heights = stage_heights(f"{BOTTOM_UP}{name}" for name in names)
    assert list(heights.values()) == [5, 4, 4, 3, 2, 1]


def test_a_prefix_that_names_nothing_is_refused():
    names = [name for name, _ in Net().named_parameters()]
    with pytest.raises(ValueError, match="LR_FACTORS: .*'roi_head', did you mean 'roi_heads"):
        rate_factor(config(LR_FACTORS=[["roi_head", 3.0]]), names)
