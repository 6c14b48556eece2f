from __future__ import annotations

from pathlib import Path

import pytest

from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.utils.registry import Registry

from densepose.modeling import registration
from densepose.modeling.registration import register_all

ROOT = Path(__file__).parents[2]


def test_registering_twice_changes_nothing():
    register_all()
    first = ROI_HEADS_REGISTRY.get("DensePoseROIHeads")
    register_all()
    assert ROI_HEADS_REGISTRY.get("DensePoseROIHeads") is first


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
