from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from densepose import model_zoo
from densepose.config import find_config, load_config
from densepose.engine.model import build_run_model
from densepose.errors import InputError
from densepose.model_zoo import table
from densepose.model_zoo.table import ReleasedModel
from densepose.modeling.registration import register_all

QUICK = str(Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of the quick config, all of one value."""
    register_all()
    place = tmp_path_factory.mktemp("models")
    state = build_run_model(load_config(find_config(QUICK))).state_dict()
    weights = {name: torch.full_like(value, 0.01) for name, value in state.items()}
    torch.save({"model": weights}, place / "tiny.pth")
    return place


@pytest.fixture
def tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small model in the table."""
    model = ReleasedModel(name="tiny", config=QUICK, path="tiny/1/model_final.pkl")
    monkeypatch.setattr(table, "MODELS", (*table.MODELS, model))
    monkeypatch.setenv("DENSEPOSE_ZOO_DIR", str(folder))
    return "tiny"


def test_a_model_comes_with_its_weights_ready_to_run(tiny: str):
    model = model_zoo.get(tiny)
    assert not model.training
    assert model.backbone.fpn_output3.weight.unique().tolist() == [np.float32(0.01)]
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    (output,) = model([{"image": image, "height": 64, "width": 64}])
    assert "instances" in output


def test_weights_that_do_not_fill_the_model_are_refused(tiny: str):
    with pytest.raises(InputError, match="the weights have 2 coarse channels, the config 15"):
        model_zoo.get(tiny, ["MODEL.ROI_DENSEPOSE_HEAD.NUM_COARSE_SEGM_CHANNELS", "15"])


def test_a_config_names_its_weights(monkeypatch: pytest.MonkeyPatch):
    cfg = model_zoo.get_config("R_101_FPN_s1x_legacy", ["TEST.DETECTIONS_PER_IMAGE", "7"])
    assert cfg.MODEL.WEIGHTS == "zoo://R_101_FPN_s1x_legacy"
    assert cfg.MODEL.RESNETS.DEPTH == 101 and cfg.TEST.DETECTIONS_PER_IMAGE == 7
    assert cfg.MODEL.ROI_DENSEPOSE_HEAD.NUM_COARSE_SEGM_CHANNELS == 15
    with pytest.raises(InputError, match="did you mean 'R_50_FPN_DL_s1x'"):
        model_zoo.get_config("R_50_FPN_DL_s2x")
