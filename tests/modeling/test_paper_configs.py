"""Every config of the paper's rows (and their CPU forms), at a size that a test can afford."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from densepose.config import check_config, load_config
from tests.support import ROOT
from tests.support.models import (
    SMALL_CROPS,
    TINY,
    batch,
    parameters_without_gradient,
    train_step,
)
from tests.support.random_people import IMAGE_SIZE, random_labels, target, with_keypoints

CONFIGS = ROOT / "configs"
NAMES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for pattern in (
        *("multitask/*", "cascade/*", "dp_fcn/*", "teacher/*", "distilled/*"),
        *("cpu/multitask_*", "cpu/cascade_*", "cpu/dp_fcn", "cpu/teacher", "cpu/*_distilled"),
    )
    for path in CONFIGS.glob(f"{pattern}.yaml")
    if not path.name.startswith("Base-")
)


def people(count: int) -> Instances:
    """With points, part masks, keypoints and dense labels."""
    made = with_keypoints(target(count))
    made.gt_densepose = replace(made.gt_densepose, dense=random_labels(count))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_predicts(name: str):
    options = [str(word) for pair in (TINY | SMALL_CROPS).items() for word in pair]
    cfg = load_config(str(CONFIGS / name), options)
    check_config(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for count in (2, 1):
        losses = train_step(model, people(count), with_keypoints(target(0)))
        assert all(torch.isfinite(value) for value in losses.values())
        assert parameters_without_gradient(model) == []
        optimizer.step()
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert all(n.startswith("backbone.") for n in frozen)
    assert any("_dense_" in key for key in losses) == ("distilled" in name)
    for branch, loss in (("masks", "loss_mask"), ("keypoints", "loss_keypoint")):
        assert (loss in losses) == (branch in name)
        assert (f"{loss}_stage2" in losses) == (branch in name and "cascade" in name)
    assert ("loss_densepose_I_stage2" in losses) == ("cascade" in name)
    found = predicted_at(model, target(2).gt_boxes)
    assert len(found.pred_densepose) == 2
    assert torch.isfinite(found.pred_densepose.part_logits).all()
    assert found.has("pred_masks") == ("masks" in name)
    assert found.has("pred_keypoints") == ("keypoints" in name)


def predicted_at(model: torch.nn.Module, boxes: Boxes) -> Instances:
    """Predictions in given boxes. Those of ROI heads without the backbone's untrained norms."""
    if not hasattr(model, "roi_heads"):
        model.eval()
        with torch.no_grad():
            (output,) = model(batch(target(2)))
        return output["instances"]
    model.roi_heads.eval()
    given = Instances(IMAGE_SIZE, pred_boxes=boxes, pred_classes=torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        levels = model.backbone(model.preprocess_image(batch(target(2))).tensor)
        (found,) = model.roi_heads.forward_with_given_boxes(levels, [given])
    return found
