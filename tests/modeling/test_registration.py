from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY, build_roi_heads
from detectron2.utils.registry import Registry

from densepose.config import load_config
from densepose.modeling import registration
from densepose.modeling.registration import register_all

ROOT = Path(__file__).parents[2]


def test_registering_twice_changes_nothing():
    register_all()
    first = ROI_HEADS_REGISTRY.get("DensePoseROIHeads")
    register_all()
    assert ROI_HEADS_REGISTRY.get("DensePoseROIHeads") is first


def test_no_file_registers_by_being_imported():
    sources = {
        path.name: path.read_text() for path in (ROOT / "densepose" / "modeling").rglob("*.py")
    }
    registering = {name for name, text in sources.items() if ".register(" in text}
    assert registering == {"registration.py"}


def test_another_class_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch):
    registry = Registry("TEST")
    stranger = type("DensePoseV1ConvXHead", (), {"__module__": "somebody.else"})
    registry.register(stranger)
    table = ((registry, registration.DensePoseV1ConvXHead),)
    monkeypatch.setattr(registration, "_TABLE", table)
    with pytest.raises(
        ValueError, match="'DensePoseV1ConvXHead' is already registered by somebody"
    ):
        register_all()


@pytest.mark.parametrize(
    "name",
    [
        "densepose_rcnn_R_50_FPN_s1x",
        "densepose_rcnn_R_50_FPN_s1x_legacy",
        "densepose_rcnn_R_50_FPN_WC2M_s1x",
    ],
)
def test_parameter_names_and_shapes_are_those_of_released_checkpoints(name: str):
    """The lists are those of detectron2's DensePose; all configs: tests/golden."""
    listed = (Path(__file__).parent / "parameter_names" / f"{name}.txt").read_text().split("\n")
    wanted = {line for line in listed if line.startswith("roi_heads.")}
    register_all()
    cfg = load_config(str(ROOT / "configs" / f"{name}.yaml"))
    levels = {f"p{level}": ShapeSpec(channels=256, stride=2**level) for level in range(2, 7)}
    with torch.device("meta"):
        heads = build_roi_heads(cfg, levels)
    got = {
        f"roi_heads.{key} {'x'.join(map(str, value.shape))}"
        for key, value in heads.state_dict().items()
    }
    assert got == wanted
    assert len(wanted) > 20
