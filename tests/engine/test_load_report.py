from __future__ import annotations

import pytest
import torch
from torch import Tensor

from densepose.engine.load_report import compare_weights, is_below

COARSE = "roi_heads.densepose_predictor.ann_index_lowres.bias"
MODEL = {
    "backbone.conv.weight": torch.zeros(4, 3),
    "backbone.conv.num_batches_tracked": torch.zeros(()),
    COARSE: torch.zeros(2),
    "roi_heads.box_predictor.cls_score.bias": torch.zeros(2),
    "pixel_mean": torch.zeros(3),
}


BOX = {"roi_heads.box_predictor.cls_score.bias": torch.zeros(2)}


def file(**changes: Tensor | None) -> dict[str, Tensor]:
    weights = dict(MODEL)
    for name, value in changes.items():
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    return weights


def test_every_weight_is_in_one_list():
    weights = file(**{COARSE: torch.zeros(15), "extra.weight": torch.zeros(1)})
    del weights["roi_heads.box_predictor.cls_score.bias"]
    report = compare_weights("w.pth", weights, MODEL)
    assert "backbone.conv.weight" in report.matched
    assert report.new == ("roi_heads.box_predictor.cls_score.bias",)
    assert report.left_over == ("extra.weight",)
    assert report.wrong_shape == {COARSE: ((15,), (2,))}
    assert report.summary() == ("w.pth: 3 weights matched, 1 new, 1 left over, 1 of another shape")
    for name in (*MODEL, "extra.weight"):
        assert name in report.text()
    assert "new: roi_heads.box_predictor (1)" in report.short_text()


def test_what_is_set_from_the_config_is_not_missed():
    weights = file(pixel_mean=None, **{"backbone.conv.num_batches_tracked": None})
    weights["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(1)
    report = compare_weights("w.pth", weights, MODEL)
    assert (report.new, report.left_over) == ((), ())
    report.check_complete()


def test_a_head_that_stays_random_is_an_error_with_the_likely_cause():
    report = compare_weights("w.pth", file(**{COARSE: torch.zeros(15)}), MODEL)
    with pytest.raises(ValueError, match=r"would\s+stay random") as caught:
        report.check_complete()
    message = str(caught.value)
    assert "roi_heads.densepose_predictor (1)" in message
    assert "the weights have 15 coarse channels, the config 2" in message
    assert "NUM_COARSE_SEGM_CHANNELS 15" in message
    assert "MODEL.ALLOW_RANDOM_HEAD True" in message


def test_what_is_not_wanted_has_a_list_of_its_own():
    report = compare_weights("w.pth", file(), MODEL, exclude=["roi_heads"])
    assert report.excluded == ("roi_heads.box_predictor.cls_score.bias", COARSE)
    assert "backbone.conv.weight" in report.matched and report.new == ()
    assert report.untouched == report.excluded
    assert report.summary().endswith("0 of another shape, 2 excluded")
    assert "excluded (MODEL.FINE_TUNE.EXCLUDE, initial values kept): 2\n" in report.text()
    with pytest.raises(ValueError, match=r"EXCLUDE excludes all of its weights"):
        compare_weights("w.pth", BOX, MODEL, exclude=["roi_heads."]).check_matched()


@pytest.mark.parametrize(
    ("name", "prefix", "below"),
    [
        ("a.b.weight", "a.b", True),
        ("a.b.weight", "a.b.", True),
        ("a.b.weight", "a.b.weight", True),
        ("a.bc.weight", "a.b", False),
        ("a.b", "a.b.weight", False),
    ],
)
def test_a_prefix_ends_at_a_dot(name: str, prefix: str, below: bool):
    assert is_below(name, prefix) is below


def test_a_file_of_which_nothing_fits_is_an_error():
    report = compare_weights("w.pth", {"conv1.weight": torch.zeros(1)}, MODEL)
    with pytest.raises(
        ValueError, match="no weight of the file fits the model. The file has conv1"
    ):
        report.check_matched()
    compare_weights("w.pth", file(), MODEL).check_matched()


@pytest.mark.parametrize(
    ("in_file", "in_model", "cause"),
    [
        (
            {"roi_heads.densepose_predictor.index_uv_lowres.bias": torch.zeros(25)},
            {"roi_heads.densepose_predictor.index_uv_lowres.bias": torch.zeros(11)},
            r"have 25 part channels, the config 11: set MODEL.ROI_DENSEPOSE_HEAD.NUM_PATCHES 24",
        ),
        (
            {"roi_heads.box_predictor.cls_score.bias": torch.zeros(81)},
            BOX,
            r"have 81 classes with background, the config 2: set MODEL.ROI_HEADS.NUM_CLASSES 80",
        ),
        (
            BOX | {"roi_heads.decoder.predictor.bias": torch.zeros(1)},
            BOX | {"roi_heads.densepose_head.ASPP.bias": torch.zeros(1)},
            r"were trained with MODEL.ROI_DENSEPOSE_HEAD.DECODER_ON True",
        ),
        (
            BOX,
            BOX | {"roi_heads.densepose_predictor.sigma_2_lowres.bias": torch.zeros(1)},
            r"were trained with MODEL.ROI_DENSEPOSE_HEAD.UV_CONFIDENCE.ENABLED False",
        ),
        (
            {"backbone.bottom_up.res2.weight": torch.zeros(1)},
            {"backbone.bottom_up.res2.weight": torch.zeros(1), **BOX},
            r"the file holds a backbone only",
        ),
    ],
)
def test_likely_causes_name_the_key_and_its_value(in_file, in_model, cause: str):
    with pytest.raises(ValueError, match=f"Probably .*{cause}"):
        compare_weights("w.pth", in_file, in_model).check_complete()
