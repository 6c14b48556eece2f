"""Every config with further branches or a cascade, at a size that a test can afford."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from densepose.config import check_config, load_config

from .scenes import IMAGE_SIZE, target, with_keypoints
from .test_roi_heads import batch, parameters_without_gradient, train_step

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for pattern in ("multitask/*", "cascade/*", "cpu/multitask_*", "cpu/cascade_*")
    for path in CONFIGS.glob(f"{pattern}.yaml")
    if "distilled" not in path.name
)
# Narrow layers and few boxes; depths, resolutions and all that tells the configs apart stay.
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "",
    "MODEL.TIMM.PRETRAINED": "",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.NORM": "BN",  # frozen norms without trained weights let the values grow
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.RPN.CONV_DIMS": [16],
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 20,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 8,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM": 8,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS": 8,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES": 8,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 8,
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": [8, 8],
}


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_predicts(name: str):
    cfg = load_config(str(CONFIGS / name), [str(word) for pair in TINY.items() for word in pair])
    check_config(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for count in (2, 1):
        losses = train_step(model, with_keypoints(target(count)), with_keypoints(target(0)))
        assert all(torch.isfinite(value) for value in losses.values())
        assert parameters_without_gradient(model) == []
        optimizer.step()
    assert all(n.startswith("backbone.") for n in frozen)
    branches = [("masks", "loss_mask"), ("keypoints", "loss_keypoint")]
    for branch, loss in branches:
        assert (loss in losses) == (branch in name)
        assert (f"{loss}_stage2" in losses) == (branch in name and "cascade" in name)
    assert ("loss_densepose_I_stage2" in losses) == ("cascade" in name)
    if "cascade" in name:
        assert "densepose" in cfg.MODEL.ROI_CASCADE.TASKS
    found = predicted_at(model, target(2).gt_boxes)
    assert len(found.pred_densepose) == 2
    assert torch.isfinite(found.pred_densepose.part_logits).all()
    assert found.has("pred_masks") == ("masks" in name)
    assert found.has("pred_keypoints") == ("keypoints" in name)


def predicted_at(model: torch.nn.Module, boxes: Boxes) -> Instances:
    """Predictions of the branches in given boxes; the backbone's norms have no statistics yet."""
    model.roi_heads.eval()
    given = Instances(IMAGE_SIZE, pred_boxes=boxes, pred_classes=torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        levels = model.backbone(model.preprocess_image(batch(target(2))).tensor)
        (found,) = model.roi_heads.forward_with_given_boxes(levels, [given])
    return found
