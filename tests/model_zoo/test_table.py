from __future__ import annotations

import re

import pytest

from densepose.config import find_config, load_config
from densepose.errors import InputError
from densepose.model_zoo import MODELS, find


def test_there_is_every_released_chart_model():
    names = [model.name for model in MODELS]
    assert len(set(names)) == len(names) == 27
    wanted = {f"R_{depth}_FPN_s1x_legacy" for depth in (50, 101)}
    for depth in (50, 101):
        for head in ("", "DL_"):
            for confidence in ("", "WC1_", "WC2_", "WC1M_", "WC2M_"):
                wanted.add(f"R_{depth}_FPN_{head}{confidence}s1x")
    for student in ("", "_B_uniform", "_B_uv", "_B_finesegm", "_B_coarsesegm"):
        wanted.add(f"R_50_FPN_DL_WC1M_3x_Atop10P_CA{student}")
    assert set(names) == wanted


def test_paths_are_those_of_the_release():
    for model in MODELS:
        stem = model.config.removesuffix(".yaml")
        assert re.fullmatch(rf"{stem}/\d{{9}}/model_final_[0-9a-f]{{6}}\.pkl", model.path)
    assert len({model.path for model in MODELS}) == len(MODELS)
    assert find("R_50_FPN_s1x").url == (
        "https://dl.fbaipublicfiles.com/densepose/densepose_rcnn_R_50_FPN_s1x/165712039/"
        "model_final_162be9.pkl"
    )
    assert find("R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_uv").path.startswith("evolution/densepose_R_50_")


def test_figures_are_those_of_the_release():
    model = find("R_50_FPN_DL_WC1M_s1x")
    assert (model.box_ap, model.mask_ap, model.gps_ap, model.gpsm_ap) == (60.7, 68.0, 65.2, 66.7)
    assert (model.train_seconds_per_iteration, model.train_memory_gb) == (0.371, 6.0)
    assert find("R_50_FPN_s1x_legacy").gps_ap == 52.1
    for model in MODELS:
        assert 58 <= model.box_ap <= 63 and 50 < model.mask_ap < 70 and model.gps_ap < model.gpsm_ap
        assert model.licence.startswith("CC BY-SA 3.0")


def test_figures_of_different_tests_are_told_apart():
    chimps = [model.name for model in MODELS if model.tested_on == "densepose_chimps"]
    assert len(chimps) == 5 and all("Atop10P" in name for name in chimps)


@pytest.mark.parametrize(
    "name",
    [
        "R_50_FPN_s1x",
        "zoo://R_50_FPN_s1x",
        "densepose_rcnn_R_50_FPN_s1x",
        "configs/densepose_rcnn_R_50_FPN_s1x.yaml",
        "model_final_162be9.pkl",
    ],
)
def test_a_model_is_found_by_its_name_its_config_and_its_file(name: str):
    assert "/165712039/" in find(name).path


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="'zoo://R50_FPN_s1x', did you mean 'R_50_FPN_s1x'"):
        find("zoo://R50_FPN_s1x")
    with pytest.raises(InputError, match="known are R_50_FPN_s1x_legacy, "):
        find("?")


def test_a_mirror_can_be_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DENSEPOSE_ZOO_URL", "http://mirror.example/models")
    assert find("R_50_FPN_s1x").url.startswith(
        "http://mirror.example/models/densepose_rcnn_R_50_FPN_s1x/1657"
    )


def test_the_config_of_every_model_is_shipped_and_fits_its_name():
    for model in MODELS:
        cfg = load_config(find_config(model.config))
        head = cfg.MODEL.ROI_DENSEPOSE_HEAD
        assert cfg.MODEL.RESNETS.DEPTH == (101 if "R_101" in model.name else 50), model.name
        assert (head.NAME == "DensePoseDeepLabHead") is ("_DL_" in model.name), model.name
        assert head.UV_CONFIDENCE.ENABLED is ("_WC" in model.name), model.name
        assert head.UV_CONFIDENCE.TYPE == ("indep_aniso" if "_WC2" in model.name else "iid_iso")
        segm = "_WC1M" in model.name or "_WC2M" in model.name
        assert head.SEGM_CONFIDENCE.ENABLED is segm, model.name
        assert head.NUM_COARSE_SEGM_CHANNELS == (15 if "legacy" in model.name else 2), model.name
