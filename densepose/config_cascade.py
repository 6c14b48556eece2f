"""Keys of the cascade between branches, and what contradicts itself in them.

The cascade is that of Figure 8 of the DensePose paper, see ``modeling/cascade.py``. What the
figure leaves open is a key here.
"""

from __future__ import annotations

from collections.abc import Iterable

from detectron2.config import CfgNode

CASCADE = "MODEL.ROI_CASCADE"
TASKS = ("densepose", "mask", "keypoints")
MOST_STAGES = 3


def add_cascade_keys(cfg: CfgNode) -> None:
    """Add MODEL.ROI_CASCADE, for ROI_HEADS.NAME CascadeDensePoseROIHeads."""
    cfg.MODEL.ROI_CASCADE = cascade = CfgNode()
    cascade.NUM_STAGES = 2  # 1: no cascade | 2: as in the paper | 3
    # Branches that give to and take from the sums, if they are on (DENSEPOSE_ON, MASK_ON,
    # KEYPOINT_ON); the others stay as they are.
    cascade.TASKS = list(TASKS)
    # Width of the projected tensors and the refined features; 0: ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM
    cascade.CHANNELS = 0
    # True: a tensor is projected once for the sums of all branches | False: once for each sum
    cascade.SHARED_PROJECTIONS = True
    # Outputs have 2 x 2 cells where features have one. mean: averaged before they are projected |
    # stacked: as 4 times the channels
    cascade.OUTPUT_CELLS = "mean"
    # Where a ReLU stands: none | sum: behind the sum | sum_and_conv: behind the convolution too
    cascade.ACTIVATION = "sum_and_conv"
    cascade.CONV_KERNEL = 1  # odd; of the convolution behind the sum
    # Cells between its taps: 3 x 3 with 3 sees 7 cells to and fro, for the price of 3
    cascade.CONV_DILATION = 1
    # add: an output layer gives what is added to the output of the stage before, and is 0 in the
    # beginning, so that the cascade starts as good as its first stage | replace: it gives the
    # refined output itself
    cascade.REFINED = "add"
    # Whether losses of a stage also train the outputs of earlier stages, through the projections
    # (and the sum of "add"); head features are trained through in any case.
    cascade.GRADIENT_THROUGH_OUTPUTS = True
    cascade.STAGE_WEIGHTS = [1.0, 1.0, 1.0]  # of the losses of each stage
    # Proposals of one person that train the cascade at most, of those that serve the most branches;
    # 0: all that train any of its branches
    cascade.ROIS_PER_PERSON = 0
    cascade.TEST_STAGE = 0  # the stage whose outputs are predicted; 0: the last


def check_branches(cfg: CfgNode) -> None:
    """Raise ``ValueError`` for the first contradiction among mask, keypoint branch and cascade."""
    keypoints = cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS
    if cfg.MODEL.KEYPOINT_ON and keypoints != 17:
        raise ValueError(
            f"MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS={keypoints} but people are annotated with"
            " COCO's 17 keypoints; set it to 17"
        )
    if cfg.MODEL.ROI_HEADS.NAME == "CascadeDensePoseROIHeads":
        _check_cascade(cfg)
        _check_cascading_heads(cfg)


def _check_cascade(cfg: CfgNode) -> None:
    # Not at the top: see config_checks.
    from densepose.modeling import cascade as stages

    cascade = cfg.MODEL.ROI_CASCADE
    choices: list[tuple[str, object, Iterable[object]]] = [
        ("NUM_STAGES", cascade.NUM_STAGES, range(1, MOST_STAGES + 1)),
        ("OUTPUT_CELLS", cascade.OUTPUT_CELLS, stages.OUTPUT_CELLS),
        ("ACTIVATION", cascade.ACTIVATION, stages.ACTIVATIONS),
        ("REFINED", cascade.REFINED, stages.REFINED),
        ("TEST_STAGE", cascade.TEST_STAGE, range(cascade.NUM_STAGES + 1)),
        *(("TASKS", task, TASKS) for task in cascade.TASKS),
    ]
    for key, value, allowed in choices:
        if value not in allowed:
            listed = ", ".join(repr(choice) for choice in allowed)
            raise ValueError(f"{CASCADE}.{key}={value!r}; allowed: {listed}")
    if cascade.CONV_KERNEL % 2 == 0:
        raise ValueError(f"{CASCADE}.CONV_KERNEL={cascade.CONV_KERNEL} must be odd, 1 in the paper")
    if cascade.CONV_DILATION < 1:
        raise ValueError(f"{CASCADE}.CONV_DILATION={cascade.CONV_DILATION} must be 1 or more")
    if len(cascade.STAGE_WEIGHTS) < cascade.NUM_STAGES:
        raise ValueError(
            f"{CASCADE}.STAGE_WEIGHTS={list(cascade.STAGE_WEIGHTS)} has no weight for each of"
            f" {cascade.NUM_STAGES} stages; give {cascade.NUM_STAGES} numbers"
        )
    if not cascading_tasks(cfg):
        raise ValueError(
            f"{CASCADE}.TASKS={list(cascade.TASKS)} but none of these branches is on; switch on"
            " MODEL.DENSEPOSE_ON, MASK_ON or KEYPOINT_ON, or use MODEL.ROI_HEADS.NAME"
            " 'DensePoseROIHeads'"
        )


def cascading_tasks(cfg: CfgNode) -> list[str]:
    """The branches that are on and take part in the cascade, in the order of TASKS."""
    switches = (cfg.MODEL.DENSEPOSE_ON, cfg.MODEL.MASK_ON, cfg.MODEL.KEYPOINT_ON)
    on = [task for task, switch in zip(TASKS, switches, strict=True) if switch]
    return [task for task in on if task in cfg.MODEL.ROI_CASCADE.TASKS]


def _check_cascading_heads(cfg: CfgNode) -> None:
    """The cascade has to know where a head's features end and its output layers begin."""
    known = {
        "mask": ("ROI_MASK_HEAD", "MaskRCNNConvUpsampleHead"),
        "keypoints": ("ROI_KEYPOINT_HEAD", "KRCNNConvDeconvUpsampleHead"),
    }
    for task in set(cascading_tasks(cfg)) & set(known):
        section, wanted = known[task]
        head = cfg.MODEL[section]
        if head.NAME != wanted:
            raise ValueError(
                f"MODEL.{section}.NAME={head.NAME!r} cannot cascade; use {wanted!r}, or take"
                f" {task!r} out of {CASCADE}.TASKS"
            )
        if not head.POOLER_TYPE:
            raise ValueError(f"MODEL.{section}.POOLER_TYPE is empty; a cascade needs pooled boxes")
    head = cfg.MODEL.ROI_DENSEPOSE_HEAD
    if cfg.MODEL.ROI_CASCADE.REFINED == "add" and not head.NUM_COARSE_SEGM_CHANNELS:
        raise ValueError(
            f"{CASCADE}.REFINED='add' needs a coarse segmentation to add to, but"
            " MODEL.ROI_DENSEPOSE_HEAD.NUM_COARSE_SEGM_CHANNELS is 0; set it to 2 or 15, or use"
            " 'replace'"
        )
    if cfg.MODEL.ROI_CASCADE.REFINED == "add" and head.SEGM_CONFIDENCE.ENABLED:
        raise ValueError(
            f"{CASCADE}.REFINED='add' adds to what is linear in its layer;"
            " MODEL.ROI_DENSEPOSE_HEAD.SEGM_CONFIDENCE multiplies the segmentation: use 'replace',"
            " or switch it off"
        )
