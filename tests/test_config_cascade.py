from __future__ import annotations

from pathlib import Path

import pytest

from densepose.config import check_config, load_config
from densepose.config_cascade import cascading_tasks

QUICK = str(Path(__file__).parents[1] / "configs" / "quick" / "cascade_cpu.yaml")
CASCADE = "MODEL.ROI_CASCADE"


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        ([f"{CASCADE}.NUM_STAGES", "4"], "ROI_CASCADE.NUM_STAGES=4; allowed: 1, 2, 3"),
        ([f"{CASCADE}.TASKS", "['masks']"], "TASKS='masks'; allowed: 'densepose', 'mask', 'keyp"),
        ([f"{CASCADE}.OUTPUT_CELLS", "max"], "OUTPUT_CELLS='max'; allowed: 'mean', 'stacked'"),
        ([f"{CASCADE}.ACTIVATION", "relu"], "allowed: 'none', 'sum', 'sum_and_conv'"),
        ([f"{CASCADE}.REFINED", "multiply"], "allowed: 'replace', 'add'"),
        ([f"{CASCADE}.TEST_STAGE", "3"], "TEST_STAGE=3; allowed: 0, 1, 2"),
        ([f"{CASCADE}.CONV_KERNEL", "2"], "CONV_KERNEL=2 must be odd"),
        ([f"{CASCADE}.CONV_DILATION", "0"], "CONV_DILATION=0 must be 1 or more"),
        ([f"{CASCADE}.STAGE_WEIGHTS", "[1.0]"], "has no weight for each of 2 stages"),
        ([f"{CASCADE}.TASKS", "[]"], "none of these branches is on"),
        (["MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead"], "take 'mask' out of MODEL.ROI_CASCADE"),
        (
            ["MODEL.ROI_DENSEPOSE_HEAD.SEGM_CONFIDENCE.ENABLED", "True"],
            "SEGM_CONFIDENCE multiplies the segmentation: use 'replace'",
        ),
        (["MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE", ""], "a cascade needs pooled boxes"),
        (["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "5"], "NUM_KEYPOINTS=5 .* set it to 17"),
    ],
)
def test_contradictions_are_refused(opts: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        check_config(load_config(QUICK, opts))


def test_branches_that_are_off_do_not_cascade():
    cfg = load_config(QUICK, ["MODEL.MASK_ON", "False"])
    check_config(cfg)
    assert cascading_tasks(cfg) == ["densepose", "keypoints"]


def test_a_head_the_cascade_does_not_know_may_stand_beside_it():
    words = ["MODEL.ROI_MASK_HEAD.NAME", "Other", f"{CASCADE}.TASKS", "['densepose']"]
    check_config(load_config(QUICK, words))
