from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

from densepose.engine.load_report import compare_weights
from densepose.engine.name_matching import match_names, rename_caffe2
from densepose.engine.weights_file import WeightsFile

MODEL = {
    "backbone.bottom_up.stem.conv1.weight": torch.zeros(4, 3),
    "backbone.bottom_up.res2.0.conv1.weight": torch.zeros(5, 4),
    "backbone.bottom_up.res2.0.conv1.norm.weight": torch.zeros(5),
    "backbone.fpn_lateral2.weight": torch.zeros(6, 5),
    "proposal_generator.rpn_head.conv.weight": torch.zeros(6, 6),
    "roi_heads.box_predictor.cls_score.weight": torch.zeros(2, 7),
    "roi_heads.box_predictor.bbox_pred.weight": torch.zeros(4, 7),
    "roi_heads.densepose_head.body_conv_fcn1.weight": torch.zeros(8, 6),
    "roi_heads.densepose_predictor.ann_index_lowres.bias": torch.zeros(15),
}
CAFFE2 = {
    "conv1_w": (4, 3),
    "res2_0_branch2a_w": (5, 4),
    "res2_0_branch2a_bn_s": (5,),
    "fpn_inner_res2_2_sum_lateral_w": (6, 5),
    "conv_rpn_fpn2_w": (6, 6),
    "cls_score_w": (2, 7),
    "bbox_pred_w": (8, 7),
    "body_conv_fcn1_w": (8, 6),
    "AnnIndex_lowres_b": (15,),
}


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=random) for name, shape in shapes.items()}


def as_file(weights: dict[str, Tensor], matching: str) -> WeightsFile:
    return WeightsFile(Path("w.pkl"), weights, name_matching=matching)


def test_caffe2_names_find_their_places_as_in_detectron2():
    weights = random_weights(CAFFE2)
    found = match_names(as_file(weights, "caffe2"), MODEL)
    theirs = align_and_update_state_dicts(dict(MODEL), dict(weights), c2_conversion=True)
    assert found.keys() == MODEL.keys()
    torch.testing.assert_close(found, theirs)
    # Class 0, the background, is last here, and its box is left away.
    classes = "roi_heads.box_predictor.cls_score.weight"
    torch.testing.assert_close(found[classes], weights["cls_score_w"][[1, 0]])


def test_exact_names_are_left_alone():
    weights = {"anything": torch.ones(1)}
    assert match_names(as_file(weights, "exact"), MODEL) == weights


def test_the_longest_end_wins():
    weights = {"conv1.weight": torch.ones(4, 3), "res2.0.conv1.weight": torch.ones(5, 4)}
    found = match_names(as_file(weights, "suffix"), MODEL)
    assert found.keys() == {
        "backbone.bottom_up.stem.conv1.weight",
        "backbone.bottom_up.res2.0.conv1.weight",
    }


def test_an_end_begins_after_a_dot():
    found = match_names(as_file({"v1.weight": torch.ones(4, 3)}, "suffix"), MODEL)
    assert found.keys() == {"v1.weight"}


def test_another_shape_and_what_has_no_place_are_kept_to_be_told():
    changed = CAFFE2 | {"AnnIndex_lowres_b": (2,), "conv_fcn1_w": (3, 3)}
    found = match_names(as_file(random_weights(changed), "caffe2"), MODEL)
    report = compare_weights("w.pkl", found, MODEL)
    assert report.wrong_shape == {
        "roi_heads.densepose_predictor.ann_index_lowres.bias": ((2,), (15,))
    }
    assert report.left_over == ("roi_heads.keypoint_head.conv_fcn1.weight",)


def test_one_weight_for_two_places_is_refused():
    model = {"a.conv.weight": torch.zeros(2), "b.conv.weight": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"'conv.weight' fits 'a.conv.weight' and 'b.conv.weight'"):
        match_names(as_file({"conv.weight": torch.ones(2)}, "suffix"), model)


def test_names_that_are_not_caffe2s_are_refused():
    twins = {"conv_a": torch.ones(1), "conv.a": torch.ones(1)}
    with pytest.raises(ValueError, match="w.pkl: its names are not those of a Caffe2 model"):
        rename_caffe2("w.pkl", twins)
