"""HRNet and the pyramid over it: names, sizes, odd images and clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.models.hrnet import HighResolutionNet

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from densepose.config import get_densepose_cfg
from densepose.modeling.hrfpn import HRFPN, build_hrfpn_backbone
from densepose.modeling.hrnet import hrnet_from_config

CONFIGS = Path(__file__).parents[2] / "configs" / "HRNet"
IMAGE = ShapeSpec(channels=3)


def small_config(width: int = 4) -> CfgNode:
    cfg = get_densepose_cfg()
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p1", "p2", "p3", "p4", "p5"]
    cfg.MODEL.HRNET.HRFPN.OUT_CHANNELS = 8
    for number in (2, 3, 4):
        stage = cfg.MODEL.HRNET[f"STAGE{number}"]
        stage.NUM_MODULES = 1
        stage.NUM_BLOCKS = [1] * number
        stage.NUM_CHANNELS = [width * 2**branch for branch in range(number)]
    return cfg


def test_branches_equal_timms_network_where_the_sides_are_multiples_of_32():
    torch.manual_seed(0)
    ours = hrnet_from_config(small_config(), IMAGE).eval()
    stages = {
        f"stage{number}": {
            "num_modules": 1,
            "num_branches": number,
            "block_type": "BASIC",
            "num_blocks": (1,) * number,
            "num_channels": tuple(4 * 2**branch for branch in range(number)),
            "fuse_method": "SUM",
        }
        for number in (2, 3, 4)
    }
    first = {**stages["stage2"], "num_branches": 1, "block_type": "BOTTLENECK"}
    first |= {"num_blocks": (4,), "num_channels": (64,)}
    timms = HighResolutionNet({"stem_width": 64, "stage1": first, **stages}, head="").eval()
    timms.load_state_dict(ours.state_dict(), strict=True)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        got, wanted = ours(image), timms.forward_features(image)
    assert list(got) == ["p1", "p2", "p3", "p4"]
    for name, maps in zip(got, wanted, strict=True):
        assert torch.equal(got[name], maps)
        assert got[name].shape[1] == ours.output_shape()[name].channels
        assert got[name].shape[2] == 64 // ours.output_shape()[name].stride


@pytest.mark.parametrize("size", [(65, 96), (75, 111), (129, 70)])
def test_levels_of_images_of_any_size_halve_exactly(size: tuple[int, int]):
    model = build_hrfpn_backbone(small_config(), IMAGE).eval()
    with torch.no_grad():
        levels = model(torch.randn(2, 3, *size))
    shapes = model.output_shape()
    assert [shape.stride for shape in shapes.values()] == [4, 8, 16, 32, 64]
    assert list(levels) == list(shapes) == ["p1", "p2", "p3", "p4", "p5"]
    rows, columns = levels["p5"].shape[2:]
    for number, maps in enumerate(levels.values()):
        assert maps.shape == (2, 8, rows * 2 ** (4 - number), columns * 2 ** (4 - number))
    uncovered = [side - 4 * cells for side, cells in zip(size, levels["p1"].shape[2:], strict=True)]
    assert all(lost < 2 * 64 for lost in uncovered)


def test_every_parameter_learns():
    model = build_hrfpn_backbone(small_config(), IMAGE)
    levels = model(torch.randn(2, 3, 96, 96))
    sum(maps.square().mean() for maps in levels.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"STEM_INPLANES": 32}, "MODEL.HRNET.STEM_INPLANES=32 must be 64"),
        ({"STAGE3": {"BLOCK": "PLAIN"}}, "STAGE3: BLOCK='PLAIN' must be 'BASIC' or 'BOTTLENECK'"),
        ({"STAGE2": {"FUSE_METHOD": "CAT"}}, "FUSE_METHOD='CAT' must be 'SUM'"),
        ({"STAGE4": {"NUM_CHANNELS": [8, 16]}}, r"NUM_CHANNELS=\[8, 16\] must have 4 entries"),
        ({"STAGE4": {"NUM_BRANCHES": 3}}, "NUM_BRANCHES=3 must be 4"),
    ],
)
def test_contradictions_are_refused(change: dict, message: str):
    cfg = small_config()
    for key, value in change.items():
        if isinstance(value, dict):
            cfg.MODEL.HRNET[key].update(value)
        else:
            cfg.MODEL.HRNET[key] = value
    with pytest.raises(ValueError, match=message):
        hrnet_from_config(cfg, IMAGE)


def test_images_without_a_cell_of_the_last_level_are_refused():
    model = HRFPN(hrnet_from_config(small_config(), IMAGE), out_channels=8, num_levels=5).eval()
    with pytest.raises(ValueError, match="32 x 80 px are too small .* stride 64 px"):
        model(torch.zeros(1, 3, 32, 80))
