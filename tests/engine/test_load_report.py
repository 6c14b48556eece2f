from __future__ import annotations

import pytest
import torch
from torch import Tensor

from densepose.engine.load_report import (
    check_anything_matched,
    check_complete,
    compare_weights,
    likely_causes,
)

COARSE = "roi_heads.densepose_predictor.ann_index_lowres.bias"
MODEL = {
    "backbone.conv.weight": torch.zeros(4, 3),
    "backbone.conv.num_batches_tracked": torch.zeros(()),
    COARSE: torch.zeros(2),
    "roi_heads.box_predictor.cls_score.bias": torch.zeros(2),
    "pixel_mean": torch.zeros(3),
}


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
    check_complete(report)


def test_a_head_that_stays_random_is_an_error_with_the_likely_cause():
    report = compare_weights("w.pth", file(**{COARSE: torch.zeros(15)}), MODEL)
    with pytest.raises(ValueError, match=r"would\s+stay random") as caught:
        check_complete(report)
    message = str(caught.value)
    assert "roi_heads.densepose_predictor (1)" in message
    assert "the weights have 15 coarse channels, the config 2" in message
    assert "NUM_COARSE_SEGM_CHANNELS 15" in message
    assert "MODEL.ALLOW_RANDOM_HEAD True" in message


def test_counts_with_background_name_the_value_of_the_key():
    weights = file(**{"roi_heads.box_predictor.cls_score.bias": torch.zeros(81)})
    causes = likely_causes(compare_weights("w.pth", weights, MODEL))
    assert causes == [
        "the weights have 81 classes and background, the config 2:"
        " set MODEL.ROI_HEADS.NUM_CLASSES 80, or take other weights"
    ]


def test_a_backbone_is_recognised():
    report = compare_weights("w.pth", {"backbone.conv.weight": torch.zeros(4, 3)}, MODEL)
    assert likely_causes(report) == [
        "the file seems to hold a backbone only, not a trained detector"
    ]


@pytest.mark.parametrize(("side", "word"), [("new", "has no decoder"), ("left_over", "a decoder")])
def test_a_decoder_on_one_side_is_recognised(side: str, word: str):
    model = dict(MODEL)
    decoder = {"roi_heads.decoder.p2.0.weight": torch.zeros(1)}
    pair = (MODEL, model | decoder) if side == "new" else (MODEL | decoder, model)
    (cause,) = likely_causes(compare_weights("w.pth", *pair))
    assert "DECODER_ON" in cause and (side == "new") == ("False" in cause)


def test_a_file_of_which_nothing_fits_is_an_error():
    report = compare_weights("w.pth", {"conv1.weight": torch.zeros(1)}, MODEL)
    with pytest.raises(
        ValueError, match="no weight of the file fits the model. The file has conv1"
    ):
        check_anything_matched(report)
    check_anything_matched(compare_weights("w.pth", file(), MODEL))
