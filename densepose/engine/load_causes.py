"""Why weights do not fit a model: the key of the config that probably differs, and its value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .load_report import LoadReport

HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
BOTTOM_UP = "backbone.bottom_up."
OTHERWISE = ", or take other weights"
# Weights whose length is a setting: end of the name, what it counts, the key, and what turns the
# count into the key's value.
COUNTS = (
    ("ann_index_lowres.bias", "coarse channels", f"{HEAD}.NUM_COARSE_SEGM_CHANNELS", 0),
    ("index_uv_lowres.bias", "part channels", f"{HEAD}.NUM_PATCHES", -1),
    ("box_predictor.cls_score.bias", "classes and background", "MODEL.ROI_HEADS.NUM_CLASSES", -1),
    ("body_conv_fcn1.bias", "channels in the DensePose head", f"{HEAD}.CONV_HEAD_DIM", 0),
    ("score_lowres.bias", "keypoints", "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 0),
    ("box_head.fc1.bias", "channels in the box head", "MODEL.ROI_BOX_HEAD.FC_DIM", 0),
    ("fpn_output5.bias", "channels in the pyramid", "MODEL.FPN.OUT_CHANNELS", 0),
    ("decoder.predictor.bias", "channels in the decoder", f"{HEAD}.DECODER_NUM_CLASSES", 0),
)
# Layers that a key switches on: part of their names, article and noun, how the key is set with them
# and without.
BRANCHES = (
    (".decoder.", "a", "decoder", f"{HEAD}.DECODER_ON True", f"{HEAD}.DECODER_ON False"),
    (
        "densepose_head.ASPP.",
        "a",
        "DeepLab head",
        f"{HEAD}.NAME DensePoseDeepLabHead",
        f"{HEAD}.NAME DensePoseV1ConvXHead",
    ),
    (
        "densepose_head.NLBlock.",
        "a",
        "non-local block",
        f"{HEAD}.DEEPLAB.NONLOCAL_ON 1",
        f"{HEAD}.DEEPLAB.NONLOCAL_ON 0",
    ),
    (
        ".kappa_u_lowres.",
        "",
        "anisotropic UV confidences",
        f"{HEAD}.UV_CONFIDENCE.ENABLED True {HEAD}.UV_CONFIDENCE.TYPE indep_aniso",
        f"{HEAD}.UV_CONFIDENCE.TYPE iid_iso",
    ),
    (
        ".sigma_2_lowres.",
        "",
        "UV confidences",
        f"{HEAD}.UV_CONFIDENCE.ENABLED True",
        f"{HEAD}.UV_CONFIDENCE.ENABLED False",
    ),
    (
        "_segm_confidence_lowres.",
        "",
        "segmentation confidences",
        f"{HEAD}.SEGM_CONFIDENCE.ENABLED True",
        f"{HEAD}.SEGM_CONFIDENCE.ENABLED False",
    ),
    (".mask_head.", "an", "instance mask head", "MODEL.MASK_ON True", "MODEL.MASK_ON False"),
    (".keypoint_head.", "a", "keypoint head", "MODEL.KEYPOINT_ON True", "MODEL.KEYPOINT_ON False"),
)
# Number of res4 blocks -> MODEL.RESNETS.DEPTH; 152 has 36, but 8 res3 blocks.
DEPTH_OF_RES4 = {6: 50, 23: 101, 36: 152}


_BLOCK = re.compile(r"backbone\.bottom_up\.res4\.(\d+)\.")


def likely_causes(report: LoadReport) -> list[str]:
    """Sentences about why weights did not fit, most telling first; empty when nothing is known."""
    if _is_backbone_only(report):
        return ["the file seems to hold a backbone only, not a trained detector"]
    return [
        *_other_counts(report),
        *_other_backbone(report),
        *_other_branches(report),
    ]


def _is_backbone_only(report: LoadReport) -> bool:
    heads = ("roi_heads.", "proposal_generator.")
    fitting = (*report.matched, *report.wrong_shape)
    return bool(report.new) and not any(name.startswith(heads) for name in fitting)


def _other_counts(report: LoadReport) -> Iterator[str]:
    for ending, what, key, shift in COUNTS:
        for name, (in_file, in_model) in report.wrong_shape.items():
            if name.endswith(ending):
                yield (
                    f"the weights have {in_file[0]} {what}, the config {in_model[0]}:"
                    f" set {key} {in_file[0] + shift}{OTHERWISE}"
                )


def _other_backbone(report: LoadReport) -> Iterator[str]:
    both = (*report.matched, *report.wrong_shape)
    in_file, in_model = _depth((*both, *report.left_over)), _depth((*both, *report.new))
    if in_file and in_model and in_file != in_model:
        yield (
            f"the weights have a ResNet-{in_file}, the config a ResNet-{in_model}:"
            f" set MODEL.RESNETS.DEPTH {in_file}{OTHERWISE}"
        )
    file_only = [name for name in report.left_over if name.startswith(BOTTOM_UP)]
    model_only = [name for name in report.new if name.startswith(BOTTOM_UP)]
    if file_only and model_only and not any(name.startswith(BOTTOM_UP) for name in both):
        yield (
            f"the weights have another backbone (with {file_only[0]}) than the config (with"
            f" {model_only[0]}): set MODEL.BACKBONE.NAME as they were trained{OTHERWISE}"
        )


def _depth(names: Iterable[str]) -> int | None:
    """Depth of the ResNet that has these names; None where it is no such ResNet."""
    blocks = {int(found[1]) for found in map(_BLOCK.match, names) if found}
    return DEPTH_OF_RES4.get(len(blocks))


def _other_branches(report: LoadReport) -> Iterator[str]:
    """Branches that one side alone has."""
    both = (*report.matched, *report.wrong_shape)
    for part, article, noun, with_it, without in BRANCHES:
        if any(part in name for name in both):
            continue
        if any(part in name for name in report.new):
            yield f"the weights have no {noun}: set {without}{OTHERWISE}"
        elif any(part in name for name in report.left_over):
            what = f"{article} {noun}".strip()
            yield f"the weights have {what}: set {with_it}{OTHERWISE}"
