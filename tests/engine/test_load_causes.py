from __future__ import annotations

import pytest
import torch
from torch import Tensor

from densepose.engine.load_causes import likely_causes
from densepose.engine.load_report import compare_weights

BOX = {"roi_heads.box_predictor.cls_score.bias": torch.zeros(2)}
ROI = "roi_heads.densepose_"


def names(*more: str) -> dict[str, Tensor]:
    return BOX | {name: torch.zeros(1) for name in more}


def blocks(count: int) -> list[str]:
    return [f"backbone.bottom_up.res4.{number}.conv1.weight" for number in range(count)]


def causes(in_file: dict[str, Tensor], in_model: dict[str, Tensor]) -> list[str]:
    return likely_causes(compare_weights("w.pth", in_file, in_model))


@pytest.mark.parametrize(
    ("name", "in_file", "in_model", "said"),
    [
        (
            f"{ROI}predictor.ann_index_lowres.bias",
            15,
            2,
            "the weights have 15 coarse channels, the config 2:"
            " set MODEL.ROI_DENSEPOSE_HEAD.NUM_COARSE_SEGM_CHANNELS 15",
        ),
        (
            f"{ROI}predictor.index_uv_lowres.bias",
            25,
            11,
            "the weights have 25 part channels, the config 11:"
            " set MODEL.ROI_DENSEPOSE_HEAD.NUM_PATCHES 24",
        ),
        (
            "roi_heads.box_predictor.cls_score.bias",
            81,
            2,
            "81 classes and background, the config 2: set MODEL.ROI_HEADS.NUM_CLASSES 80",
        ),
        (
            "roi_heads.keypoint_head.score_lowres.bias",
            17,
            5,
            "set MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS 17",
        ),
    ],
)
def test_counts_name_the_value_of_their_key(name: str, in_file: int, in_model: int, said: str):
    both = names("proposal_generator.rpn_head.conv.bias")
    (cause,) = causes(both | {name: torch.zeros(in_file)}, both | {name: torch.zeros(in_model)})
    assert said in cause and cause.endswith(", or take other weights")


@pytest.mark.parametrize(
    ("name", "noun", "with_it", "without"),
    [
        ("roi_heads.decoder.p2.0.weight", "decoder", "DECODER_ON True", "DECODER_ON False"),
        (f"{ROI}head.ASPP.project.0.weight", "DeepLab head", "DeepLabHead", "V1ConvXHead"),
        (f"{ROI}head.NLBlock.g.weight", "non-local block", "NONLOCAL_ON 1", "NONLOCAL_ON 0"),
        (f"{ROI}predictor.sigma_2_lowres.bias", "UV confidences", "ENABLED True", "ENABLED False"),
        (
            f"{ROI}predictor.kappa_u_lowres.bias",
            "anisotropic UV confidences",
            "TYPE indep_aniso",
            "TYPE iid_iso",
        ),
        (
            f"{ROI}predictor.fine_segm_confidence_lowres.bias",
            "segmentation confidences",
            "SEGM_CONFIDENCE.ENABLED True",
            "SEGM_CONFIDENCE.ENABLED False",
        ),
        (
            "roi_heads.mask_head.predictor.bias",
            "instance mask head",
            "MASK_ON True",
            "MASK_ON False",
        ),
        (
            "roi_heads.keypoint_head.conv_fcn1.bias",
            "keypoint head",
            "KEYPOINT_ON True",
            "KEYPOINT_ON False",
        ),
    ],
)
def test_a_branch_on_one_side_names_its_key(name: str, noun: str, with_it: str, without: str):
    (cause,) = causes(names(name), names())
    assert f"{noun}: set " in cause and with_it in cause
    (cause,) = causes(names(), names(name))
    assert f"no {noun}: set " in cause and without in cause
    assert causes(names(name), names(name)) == []


def test_another_depth_names_the_depth_of_the_weights():
    (cause,) = causes(names(*blocks(23)), names(*blocks(6)))
    assert "have a ResNet-101, the config a ResNet-50: set MODEL.RESNETS.DEPTH 101" in cause
    (cause,) = causes(names(*blocks(6)), names(*blocks(23)))
    assert "set MODEL.RESNETS.DEPTH 50" in cause


def test_another_backbone_is_told_by_an_example_of_each():
    (cause,) = causes(
        names("backbone.bottom_up.stage2.0.weight"), names("backbone.bottom_up.res2.0.weight")
    )
    assert "another backbone (with backbone.bottom_up.stage2.0.weight)" in cause
    assert "MODEL.BACKBONE.NAME" in cause


def test_of_a_backbone_alone_nothing_else_is_said():
    in_file = {"backbone.bottom_up.res2.0.weight": torch.zeros(1)}
    assert causes(in_file, in_file | names("roi_heads.decoder.p2.0.weight")) == [
        "the file seems to hold a backbone only, not a trained detector"
    ]
