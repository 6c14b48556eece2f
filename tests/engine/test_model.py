from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from detectron2.config import CfgNode

from densepose.config import check_config, find_config, get_densepose_cfg, load_config
from densepose.engine.checkpoint import SafeCheckpointer
from densepose.engine.load_report import LoadReport
from densepose.engine.model import freeze


class Net(nn.Module):
    def __init__(self, blocks: int = 2, channels: int = 2) -> None:
        super().__init__()
        stages = {
            f"res{n + 2}": nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
            for n in range(blocks)
        }
        self.backbone = nn.ModuleDict(
            {"bottom_up": nn.ModuleDict(stages), "fpn": nn.Conv2d(3, 3, 1)}
        )
        self.roi_heads = nn.ModuleDict(
            {"head": nn.Conv2d(3, 3, 1), "densepose_predictor": nn.Conv2d(3, channels, 1)}
        )


def filled(net: nn.Module, value: float) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    return net


def value_of(net: nn.Module, name: str) -> float:
    values = net.state_dict()[name].unique()
    assert len(values) == 1
    return values.item()


def load_starting_weights(cfg: CfgNode, net: nn.Module) -> LoadReport:
    checkpointer = SafeCheckpointer.from_config(cfg, net)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=False)
    assert checkpointer.report is not None
    return checkpointer.report


@pytest.fixture
def cfg(tmp_path: Path) -> CfgNode:
    """MODEL.WEIGHTS: all 1; another backbone, of three stages, all 2."""
    torch.save(filled(Net(), 1.0).state_dict(), tmp_path / "model.pth")
    torch.save(filled(Net(blocks=3), 2.0).state_dict(), tmp_path / "deeper.pth")
    cfg = get_densepose_cfg()
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    return cfg


def test_another_number_of_channels_starts_anew_and_the_rest_is_kept(cfg: CfgNode):
    net = filled(Net(channels=15), 0.0)
    report = load_starting_weights(cfg, net)
    assert report.wrong_shape == {
        "roi_heads.densepose_predictor.weight": ((2, 3, 1, 1), (15, 3, 1, 1)),
        "roi_heads.densepose_predictor.bias": ((2,), (15,)),
    }
    assert value_of(net, "roi_heads.densepose_predictor.weight") == 0.0
    assert value_of(net, "roi_heads.head.weight") == 1.0


def test_what_is_excluded_starts_anew(cfg: CfgNode):
    cfg.MODEL.FINE_TUNE.EXCLUDE = ["roi_heads.head"]
    net = filled(Net(), 0.0)
    report = load_starting_weights(cfg, net)
    assert report.excluded == ("roi_heads.head.bias", "roi_heads.head.weight")
    assert value_of(net, "roi_heads.head.weight") == 0.0
    assert value_of(net, "roi_heads.densepose_predictor.weight") == 1.0
    assert "excluded (" in (Path(cfg.OUTPUT_DIR) / "load_report.txt").read_text()


def test_a_backbone_of_another_depth_comes_from_its_own_file(cfg: CfgNode, tmp_path: Path):
    cfg.MODEL.FINE_TUNE.BACKBONE_WEIGHTS = str(tmp_path / "deeper.pth")
    net = filled(Net(blocks=3), 0.0)
    report = load_starting_weights(cfg, net)
    assert report.untouched == ()
    assert value_of(net, "backbone.bottom_up.res2.0.weight") == 2.0
    assert value_of(net, "backbone.bottom_up.res4.0.weight") == 2.0
    assert (
        value_of(net, "backbone.fpn.weight") == 1.0
    )  # of the detector, not of the backbone's file
    assert value_of(net, "roi_heads.head.weight") == 1.0
    assert report.source.endswith(f"model.pth, backbone.bottom_up of {tmp_path / 'deeper.pth'}")


def test_a_file_without_a_backbone_is_no_backbone(cfg: CfgNode, tmp_path: Path):
    torch.save({"roi_heads.head.weight": torch.ones(3, 3, 1, 1)}, tmp_path / "head.pth")
    cfg.MODEL.FINE_TUNE.BACKBONE_WEIGHTS = str(tmp_path / "head.pth")
    with pytest.raises(ValueError, match=r"head.pth: no weight of the file fits the model"):
        load_starting_weights(cfg, Net())


def test_a_prefix_that_names_nothing_is_answered_with_the_nearest(cfg: CfgNode):
    cfg.MODEL.FINE_TUNE.EXCLUDE = ["roi_heads.heads"]
    with pytest.raises(
        ValueError, match=r"EXCLUDE: .* 'roi_heads.heads', did you mean 'roi_heads.head"
    ):
        load_starting_weights(cfg, Net())
    with pytest.raises(
        ValueError, match=r"FINE_TUNE.FREEZE: .*'backbone.bottom', did you mean 'back"
    ):
        freeze(Net(), ["backbone.bottom"])


def test_what_is_frozen_does_not_learn_and_keeps_its_statistics():
    net = Net()
    freeze(net, ["backbone.bottom_up.res2", "roi_heads.head.bias"])
    learning = {name for name, p in net.named_parameters() if p.requires_grad}
    assert not any("res2" in name for name in learning)
    assert "roi_heads.head.weight" in learning and "roi_heads.head.bias" not in learning
    net.train()
    for stage, moves in (("res2", False), ("res3", True)):
        module = net.backbone["bottom_up"][stage]
        before = module[1].running_mean.clone()
        module(torch.rand(2, 3, 4, 4) + 1)
        assert torch.equal(module[1].running_mean, before) is not moves
    # The names stay, so that checkpoints with and without freezing are the same.
    names = {name for name in Net().state_dict() if "num_batches_tracked" not in name}
    assert names <= set(net.state_dict())


def test_a_norm_with_an_activation_keeps_it():
    net = nn.Sequential(BatchNormAct2d(2), nn.Conv2d(2, 2, 1))
    freeze(net, ["0"])
    assert net[0](torch.full((1, 2, 1, 1), -1.0)).eq(0).all()


def test_something_must_be_left_to_learn():
    with pytest.raises(ValueError, match="leaves nothing that learns"):
        freeze(Net(), ["backbone", "roi_heads"])
    freeze(Net(), [])


def test_contradictions_between_keys_are_refused_at_once():
    cfg = load_config(find_config("cpu/densepose_rcnn"))
    cfg.MODEL.FINE_TUNE.BACKBONE_WEIGHTS = "R-101.pkl"
    with pytest.raises(ValueError, match=r"replaces the backbone of MODEL.WEIGHTS, which is empty"):
        check_config(cfg)
    cfg.MODEL.WEIGHTS = "model.pth"
    check_config(cfg)
    cfg.MODEL.FINE_TUNE.FREEZE = "backbone"
    with pytest.raises(ValueError, match=r"FREEZE='backbone'; allowed: a list of beginnings"):
        check_config(cfg)
