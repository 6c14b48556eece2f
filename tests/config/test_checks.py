from __future__ import annotations

from pathlib import Path

import pytest

from densepose.config import check_config, get_densepose_cfg, load_config, unknown_key
from densepose.config.checks import CONFLICTS, keys_of
from densepose.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
CASCADE = "MODEL.ROI_CASCADE"
S1X = str(CONFIGS / "densepose_rcnn_R_50_FPN_s1x.yaml")
LITE0 = str(CONFIGS / "cpu" / "densepose_rcnn.yaml")
DP_FCN = str(CONFIGS / "dp_fcn" / "R_50_FPN_s1x.yaml")
QUICK = str(Path(__file__).parents[1] / "configs" / "cascade_cpu.yaml")


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (
            [f"{HEAD}.HEATMAP_SIZE", "56"],
            "HEATMAP_SIZE=56, .*_RESOLUTION=28, .*set HEATMAP_SIZE",
        ),
        (
            [f"{HEAD}.NUM_COARSE_SEGM_CHANNELS", "3"],
            "NUM_COARSE_SEGM_CHANNELS=3; allowed: 0, 2, 15",
        ),
        ([f"{HEAD}.NAME", "DensePoseUNetHead"], "'DensePoseUNetHead' is not registered"),
        ([f"{HEAD}.LOSS_NAME", "Nothing"], "choose one of: DensePoseChartLoss"),
        (["MODEL.BACKBONE.NAME", "build_unet_backbone"], "'build_unet_backbone' is not regist"),
        (["MODEL.ROI_HEADS.NAME", "Wrong"], "MODEL.ROI_HEADS.NAME='Wrong' is not registered"),
        (["MODEL.RPN.HEAD_NAME", "Standart"], "RPN.HEAD_NAME='Standart' is not registered"),
        (["MODEL.ROI_BOX_HEAD.NAME", "Fast"], "choose one of: .*FastRCNNConvFCHead"),
        ([f"{HEAD}.UV_LOSS_REDUCTION", "max"], "allowed: 'sum', 'mean'"),
        ([f"{HEAD}.CONV_HEAD_KERNEL", "4"], "CONV_HEAD_KERNEL=4; allowed: an odd number"),
        ([f"{HEAD}.DECONV_KERNEL", "3"], "allowed: an even number"),
        (
            [f"{HEAD}.UV_CONFIDENCE.ENABLED", "True", f"{HEAD}.LOSS_NAME", "DensePoseChartLoss"],
            "set LOSS_NAME to 'DensePoseChartWithConfidenceLoss'",
        ),
        (
            [
                f"{HEAD}.SEGM_CONFIDENCE.ENABLED",
                "True",
                f"{HEAD}.PREDICTOR_NAME",
                "DensePoseChartPredictor",
            ],
            "this predictor has no confidences",
        ),
        (
            [f"{HEAD}.UV_CONFIDENCE.ENABLED", "True", f"{HEAD}.UV_CONFIDENCE.EPSILON", "0.0"],
            "EPSILON=0.0; allowed: above 0",
        ),
        (
            [
                f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS",
                "True",
                f"{HEAD}.NUM_COARSE_SEGM_CHANNELS",
                "15",
            ],
            "set NUM_COARSE_SEGM_CHANNELS to 2",
        ),
        (["MODEL.TIMM.NAME", "resnet18"], "MODEL.TIMM is for another backbone"),
        (["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone"], "needs MODEL.TIMM.NAME"),
        (["SOLVER.OPTIMIZER", "LION"], "SOLVER.OPTIMIZER='LION'; allowed: 'SGD', 'ADAMW'"),
        (["SOLVER.IMS_PER_BATCH", "0"], "IMS_PER_BATCH=0; allowed: above 0"),
        (["SOLVER.BASE_LR", "-0.1"], "SOLVER.BASE_LR=-0.1; allowed: above 0"),
        (["SOLVER.WARMUP_ITERS", "-1"], "WARMUP_ITERS=-1; allowed: 0 or more"),
        (["SOLVER.MOMENTUM", "1.0"], "MOMENTUM=1.0; allowed: from 0 to below 1"),
        (["MODEL.ROI_HEADS.NMS_THRESH_TEST", "7"], "NMS_THRESH_TEST=7.0; allowed: 0 to 1"),
        (["MODEL.ROI_HEADS.IOU_LABELS", "[0, 2]"], r"IOU_LABELS=\[0, 2\]; allowed: -1, 0, 1"),
        (["MODEL.DEVICE", "gpu"], "MODEL.DEVICE='gpu'; allowed: a device such as 'cuda'"),
        (["MODEL.FPN.NORM", "Batch"], "MODEL.FPN.NORM='Batch'; allowed: a norm of detectron2"),
        (["SOLVER.LAYER_LR_DECAY", "0.0"], "LAYER_LR_DECAY=0.0; allowed: above 0 to 1"),
        (["SOLVER.LAYER_LR_DECAY", "1.5"], "LAYER_LR_DECAY=1.5; allowed: above 0 to 1"),
        (["SOLVER.LR_FACTORS", "[['roi_heads']]"], r"allowed: a list of \[beginning of"),
        (["SOLVER.LR_FACTORS", "['roi_heads', 3.0]"], r"allowed: a list of \[beginning of"),
        (["SOLVER.LR_FACTORS", "[['roi_heads', 0]]"], "above 0\\]; MODEL.FINE_TUNE.FREEZE"),
        (
            ["SOLVER.AUTO_SCALE_LR", "True", "SOLVER.REFERENCE_WORLD_SIZE", "8"],
            "SIZE=8: both would scale the schedule",
        ),
        (
            ["SOLVER.AUTO_SCALE_LR", "True", "SOLVER.REFERENCE_BATCH_SIZE", "0"],
            "SIZE=0: set REFERENCE_BATCH_SIZE to the images per step",
        ),
        (["SOLVER.REFERENCE_WORLD_SIZE", "3"], "batch cannot be divided among these processes"),
        (
            ["TEST.PRECISE_BN.ENABLED", "True", "SOLVER.EMA.ENABLED", "True"],
            "set one of them to False",
        ),
        (
            ["TEST.AUG.ENABLED", "True", "MODEL.META_ARCHITECTURE", "RetinaNet"],
            "'RetinaNet': only a GeneralizedRCNN",
        ),
        (["TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "()"], "give the shorter side"),
        (["TEST.AUG.ENABLED", "True", "MODEL.KEYPOINT_ON", "True"], "cannot be averaged"),
        (["MODEL.PIXEL_STD", "[]"], "one number for each channel"),
        (["MODEL.PIXEL_MEAN", "[1.0]"], "one number for each channel"),
        (["MODEL.ROI_BOX_HEAD.NAME", ""], "this model finds boxes"),
        (["MODEL.PROPOSAL_GENERATOR.NAME", ""], "this model needs proposals"),
    ],
)
def test_contradictions_are_refused(opts: list[str], message: str):
    with pytest.raises(InputError, match=message):
        check_config(load_config(S1X, opts))


def test_every_key_of_a_contradiction_exists():
    for expression in CONFLICTS:
        keys = keys_of(expression)
        assert keys and all(unknown_key(get_densepose_cfg(), key) == "" for key in keys)


def test_pretrained_weights_need_their_own_pixel_normalisation():
    with pytest.raises(InputError, match="INPUT.FORMAT='BGR'.* trained on INPUT.FORMAT 'RGB'"):
        check_config(load_config(LITE0, ["INPUT.FORMAT", "BGR"]))


def test_a_plain_detector_needs_no_densepose_head():
    cfg = get_densepose_cfg()
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    check_config(cfg)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        ([f"{HEAD}.DECODER_ON", "False"], "DensePoseFCN reads one feature level"),
        (["MODEL.DP_FCN.FIGURE_GROUND", "alpha"], "FIGURE_GROUND='alpha'; allowed: 'none'"),
        (["MODEL.DP_FCN.CROPS", "True", "MODEL.DP_FCN.PEOPLE", "foreground"], "crops need boxes"),
        ([f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS", "True"], "learns the foreground of whole images"),
        (["MODEL.KEYPOINT_ON", "True"], "has no mask or keypoint branch"),
        (["DATASETS.ON_MISSING_INPAINTED", "skip"], "allowed: 'error', 'count'"),
    ],
)
def test_contradictions_of_a_dp_fcn_are_refused(opts: list[str], message: str):
    with pytest.raises(InputError, match=message):
        check_config(load_config(DP_FCN, opts))


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        ([f"{CASCADE}.TASKS", "['masks']"], "allowed: a list of 'densepose', 'mask'"),
        ([f"{CASCADE}.REFINED", "multiply"], "allowed: 'replace', 'add'"),
        ([f"{CASCADE}.TEST_STAGE", "3"], "TEST_STAGE=3; allowed: 0, 1, 2"),
        ([f"{CASCADE}.CONV_KERNEL", "2"], "CONV_KERNEL=2; allowed: an odd number"),
        ([f"{CASCADE}.CONV_DILATION", "0"], "CONV_DILATION=0; allowed: 1 or more"),
        ([f"{CASCADE}.TASKS", "[]"], "none of these branches is on"),
        (["MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead"], "take 'mask' out of MODEL.ROI_CASCADE"),
        (
            ["MODEL.ROI_DENSEPOSE_HEAD.SEGM_CONFIDENCE.ENABLED", "True"],
            "REFINED to 'replace'",
        ),
        (
            ["MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE", ""],
            "this head must be .* with a pooler",
        ),
        (
            ["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "5"],
            "NUM_KEYPOINTS=5: .*set NUM_KEYP",
        ),
    ],
)
def test_contradictions_of_a_cascade_are_refused(opts: list[str], message: str):
    with pytest.raises(InputError, match=message):
        check_config(load_config(QUICK, opts))


def test_branches_that_are_off_do_not_cascade():
    words = ["MODEL.MASK_ON", "False", "MODEL.ROI_MASK_HEAD.NAME", "Other"]
    check_config(load_config(QUICK, words))


def test_a_head_the_cascade_does_not_know_may_stand_beside_it():
    words = ["MODEL.ROI_MASK_HEAD.NAME", "Other", f"{CASCADE}.TASKS", "['densepose']"]
    check_config(load_config(QUICK, words))


def test_all_problems_are_named_at_once():
    with pytest.raises(InputError, match=r"(?s)^2 problems .*CPU_OPS='on'.*  2. .*'LION'"):
        check_config(load_config(S1X, ["MODEL.CPU_OPS", "on", "SOLVER.OPTIMIZER", "LION"]))


def test_surface_embeddings_load_and_are_refused(tmp_path: Path):
    path = tmp_path / "cse.yaml"
    path.write_text(
        f"_BASE_: {S1X}\nMODEL:\n  ROI_DENSEPOSE_HEAD:\n    CSE:\n      EMBED_LOSS_WEIGHT: 0.6\n"
        "      EMBEDDERS:\n        smpl_27554:\n          NUM_VERTICES: 27554\n"
    )
    with pytest.raises(InputError, match=r"CSE.EMBEDDERS is set \(smpl_27554\) .* chart config"):
        check_config(load_config(str(path)))
