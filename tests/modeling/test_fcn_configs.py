"""Every config of DP-FCN, teachers and distillation, at a size that a test can afford."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detectron2.modeling import build_model
from detectron2.structures import Instances

from densepose.config import check_config, load_config

from .scenes import target, with_keypoints
from .test_branch_configs import TINY
from .test_dense_pixels import random_labels
from .test_roi_heads import batch, parameters_without_gradient, train_step

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for pattern in (
        "dp_fcn/*",
        "teacher/*",
        "distilled/*",
        "cpu/dp_fcn",
        "cpu/teacher",
        "cpu/*_distilled",
    )
    for path in CONFIGS.glob(f"{pattern}.yaml")
    if not path.name.startswith("Base-")
)
SMALL_CROPS = {
    "MODEL.DP_FCN.CROP_SIZE": 64,
    "MODEL.DP_FCN.BOX_MAP_SIZE": 16,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS": 32,  # as many as GroupNorm has groups
}


def taught(count: int) -> Instances:
    """People with points, part masks, keypoints and dense labels."""
    people = with_keypoints(target(count))
    people.gt_densepose = replace(people.gt_densepose, dense=random_labels(count))
    return people


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_predicts(name: str):
    options = [str(word) for pair in (TINY | SMALL_CROPS).items() for word in pair]
    cfg = load_config(str(CONFIGS / name), options)
    check_config(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for count in (2, 1):
        losses = train_step(model, taught(count), with_keypoints(target(0)))
        assert all(torch.isfinite(value) for value in losses.values())
        dense = {key for key in losses if "_dense_" in key}
        assert bool(dense) == ("distilled" in name)
        assert parameters_without_gradient(model) == []
        optimizer.step()
    model.eval()
    with torch.no_grad():
        (output,) = model(batch(target(1)))
    if cfg.MODEL.META_ARCHITECTURE == "DensePoseFCN":
        assert len(output["instances"].pred_densepose) == 1
