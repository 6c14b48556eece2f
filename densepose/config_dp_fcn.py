"""Config keys of DP-FCN, of the inpainting teacher and of training on what it inpainted."""

from __future__ import annotations

from detectron2.config import CfgNode

HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
FIGURE_GROUND = ("none", "multiply", "channel", "multiply+regions")


def add_dp_fcn_keys(cfg: CfgNode) -> None:
    """For META_ARCHITECTURE DensePoseFCN.

    It also reads MODEL.ROI_DENSEPOSE_HEAD (head, predictor, decoder and losses) and
    MODEL.ROI_HEADS.IN_FEATURES.
    """
    cfg.MODEL.DP_FCN = fcn = CfgNode()
    fcn.CROPS = False  # False: one map of the whole image | True: a scale-normalised crop a person
    fcn.CROP_SIZE = 256  # px, side of the square crops
    fcn.CROP_MARGIN = 0.1  # space around the box on each side, as a share of its longer side
    # In training the window's side changes by a factor in [1 / (1 + s), 1 + s] and its centre moves
    # by up to s / 2 of its side.
    fcn.CROP_JITTER = 0.15
    # What the network is told of where the person is, in training and test, from annotations:
    # none | multiply (background removed) | channel (a fourth channel) | multiply+regions
    # (background removed, the 14 annotated regions as further channels).
    fcn.FIGURE_GROUND = "none"
    fcn.BOX_MAP_SIZE = 112  # side of the maps that are cut out for each person at test
    # Whom to evaluate: ground_truth (annotated boxes) | foreground (connected foreground) | the
    # folder of predictions of a detector, as an evaluation writes it.
    fcn.PEOPLE = "ground_truth"
    fcn.MIN_PERSON_AREA = 64.0  # px of the input; smaller connected foreground is nobody


def add_inpainted_keys(cfg: CfgNode) -> None:
    """Dense targets that `densepose inpaint` wrote; all terms are means over map cells."""
    # Folder that `densepose inpaint` wrote; "" trains on annotated points alone.
    cfg.DATASETS.INPAINTED = ""
    # A person with points but without inpainted annotation: error | count (trains on its points)
    cfg.DATASETS.ON_MISSING_INPAINTED = "error"
    cfg.MODEL.ROI_DENSEPOSE_HEAD.INPAINTED = inpainted = CfgNode()
    inpainted.PART_WEIGHT = 1.0  # of loss_densepose_dense_I, cross-entropy of the part
    # Of loss_densepose_dense_U and _V, smooth L1 in the part: a mean of small values, with
    # 1.0 U and V learn next to nothing beside the parts.
    inpainted.UV_WEIGHT = 4.0
    # Factor of loss_densepose_I, _U and _V at annotated points while dense targets are used;
    # 0: dense targets alone, 1: both in full.
    inpainted.POINTS_WEIGHT = 1.0
    inpainted.CONFIDENCE_POWER = 0.0  # a cell counts (teacher's confidence)**power; 0: all alike
    # A cell is divided by (cells of its part of its person)**balance; 0: all cells alike, 1: all
    # parts alike. Annotated points grow with the area to the power of 0.4: 0.6 spreads the cells'
    # weight over the parts as annotators spread their points.
    inpainted.PART_BALANCE = 0.0
    # Of loss_densepose_dense_B, the mean of -log of background over the cells of a proposal that
    # are not on its person; DP-FCN learns its background without it. 0: no such loss.
    inpainted.BACKGROUND_WEIGHT = 0.0


def is_dp_fcn(cfg: CfgNode) -> bool:
    """Whether the config is one of a DP-FCN."""
    return cfg.MODEL.META_ARCHITECTURE == "DensePoseFCN"


def has_given_boxes(cfg: CfgNode) -> bool:
    """Whether people are predicted for their annotated boxes, the paper's single-person setting."""
    return is_dp_fcn(cfg) and cfg.MODEL.DP_FCN.PEOPLE == "ground_truth"


def dp_fcn_choices(cfg: CfgNode) -> list[tuple[str, object, tuple[object, ...]]]:
    """Keys, their values and the values that are allowed."""
    return [
        ("MODEL.DP_FCN.FIGURE_GROUND", cfg.MODEL.DP_FCN.FIGURE_GROUND, FIGURE_GROUND),
        ("DATASETS.ON_MISSING_INPAINTED", cfg.DATASETS.ON_MISSING_INPAINTED, ("error", "count")),
    ]


def check_dp_fcn(cfg: CfgNode) -> None:
    """Raise ``ValueError`` for keys of a DP-FCN that contradict each other."""
    if not is_dp_fcn(cfg):
        return
    head, fcn, levels = cfg.MODEL.ROI_DENSEPOSE_HEAD, cfg.MODEL.DP_FCN, cfg.MODEL.ROI_HEADS
    if not head.DECODER_ON and len(levels.IN_FEATURES) != 1:
        raise ValueError(
            f"DensePoseFCN reads one feature level, but MODEL.ROI_HEADS.IN_FEATURES="
            f"{levels.IN_FEATURES} names {len(levels.IN_FEATURES)}; name one, or set"
            f" {HEAD}.DECODER_ON to True, which merges them"
        )
    if fcn.CROPS and fcn.PEOPLE == "foreground":
        raise ValueError(
            "MODEL.DP_FCN.CROPS is on but MODEL.DP_FCN.PEOPLE='foreground': crops need boxes; set"
            " PEOPLE to 'ground_truth' or to a folder of predictions, or CROPS to False"
        )
    if head.COARSE_SEGM_TRAINED_BY_MASKS and not fcn.CROPS:
        raise ValueError(
            f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS is on but DensePoseFCN learns the foreground of"
            " whole images from part masks; switch it off, or set MODEL.DP_FCN.CROPS to True"
        )
    if cfg.MODEL.MASK_ON or cfg.MODEL.KEYPOINT_ON:
        raise ValueError(
            "DensePoseFCN has no mask or keypoint branch; set MODEL.MASK_ON and MODEL.KEYPOINT_ON"
            " to False"
        )
