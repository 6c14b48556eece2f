"""Averaging over views: what equal views must give, what is left out, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from densepose.config import load_config
from densepose.modeling import register_all
from densepose.modeling.test_time_augmentation import DensePoseGeneralizedRCNNWithTTA, mirrored
from densepose.surface.symmetry import template_symmetry
from tests.support.random_people import table_symmetry

QUICK = str(Path(__file__).parents[1] / "configs" / "decoder_cpu.yaml")
FIELDS = ("coarse_logits", "part_logits", "u", "v")


def config(**changes: object) -> CfgNode:
    values = {"MIN_SIZES": (96,), "MAX_SIZE": 200, "FLIP": False, "ROTATION_ANGLES": ()}
    opts = [w for k, v in {**values, **changes}.items() for w in (f"TEST.AUG.{k}", str(v))]
    # Random weights find people everywhere; a few are enough.
    few = ["TEST.DETECTIONS_PER_IMAGE", "3", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
    return load_config(QUICK, [*opts, *few])


@pytest.fixture(scope="module")
def model() -> nn.Module:
    register_all()
    torch.manual_seed(0)
    return build_model(config()).eval()


def image(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {"image": torch.randint(0, 256, (3, 96, 128), generator=g, dtype=torch.uint8)}


def look(model: nn.Module, cfg: CfgNode, symmetry: object = None, **more: object) -> Instances:
    views = DensePoseGeneralizedRCNNWithTTA(cfg, model, symmetry or template_symmetry()).eval()
    with torch.no_grad():
        (output,) = views([{**image(), **more}])
    return output["instances"]


def maps_of(model: nn.Module, boxes: Boxes) -> Instances:
    given = Instances((96, 128), pred_boxes=boxes)
    given.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    given.scores = torch.ones(len(boxes))
    with torch.no_grad():
        (seen,) = model.inference([image()], [given], do_postprocess=False)
    return seen


def test_one_view_as_it_is_gives_the_plain_result(model: nn.Module):
    with torch.no_grad():
        (plain,) = model([image()])
    plain, got = plain["instances"], look(model, config())
    assert len(got) == len(plain) == 3
    torch.testing.assert_close(got.pred_boxes.tensor, plain.pred_boxes.tensor)
    torch.testing.assert_close(got.scores, plain.scores)
    assert torch.equal(got.pred_masks, plain.pred_masks)
    for name in FIELDS:
        wanted = getattr(plain.pred_densepose, name)
        torch.testing.assert_close(getattr(got.pred_densepose, name), wanted)


def test_two_equal_views_have_the_mean_of_one(model: nn.Module):
    once, twice = look(model, config()), look(model, config(ROTATION_ANGLES=(0, 360)))
    torch.testing.assert_close(twice.pred_boxes.tensor, once.pred_boxes.tensor)
    torch.testing.assert_close(twice.pred_densepose.u, once.pred_densepose.u)


@pytest.mark.parametrize("symmetry", [template_symmetry(), table_symmetry()])
def test_the_mean_over_a_mirrored_image_and_itself_is_symmetric(model: nn.Module, symmetry: object):
    """Seen from both sides, an image and its mirror image give mirrored results."""
    cfg = config(FLIP=True)
    straight = look(model, cfg, symmetry)
    turned = look(model, cfg, symmetry, image=image()["image"].flip(2))
    x0, y0, x1, y1 = turned.pred_boxes.tensor.unbind(1)
    boxes = torch.stack([128 - x1, y0, 128 - x0, y1], dim=1)
    torch.testing.assert_close(boxes, straight.pred_boxes.tensor, rtol=1e-4, atol=1e-3)
    if symmetry.uv_table is None:  # a random table does not undo itself
        back = mirrored(turned.pred_densepose, symmetry)
        for name in FIELDS:
            got, wanted = getattr(back, name), getattr(straight.pred_densepose, name)
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
    else:
        assert straight.pred_densepose.upscale == 1


def test_turned_views_add_to_the_maps_and_not_to_the_boxes(model: nn.Module):
    plain, turned = look(model, config()), look(model, config(ROTATION_ANGLES=(90, -20)))
    torch.testing.assert_close(turned.pred_boxes.tensor, plain.pred_boxes.tensor)
    assert not torch.allclose(turned.pred_densepose.u, plain.pred_densepose.upsampled().u)
    assert torch.isfinite(turned.pred_densepose.u).all()


def test_boxes_of_all_sizes_are_merged(model: nn.Module):
    got = look(model, config(MIN_SIZES=(64, 96)), height=48, width=64)
    assert got.image_size == (48, 64)
    assert (got.pred_boxes.tensor[:, 2:] <= torch.tensor([64.0, 48.0])).all()
    assert (got.scores.diff() <= 0).all()


def test_an_image_without_anybody(model: nn.Module):
    views = DensePoseGeneralizedRCNNWithTTA(config(FLIP=True), model, template_symmetry())
    views.cfg.TEST.DETECTIONS_PER_IMAGE = 0
    with torch.no_grad():
        (output,) = views([image()])
    nobody = output["instances"]
    assert len(nobody) == len(nobody.pred_densepose) == len(nobody.pred_masks) == 0


def test_other_models_are_refused(model: nn.Module):
    with pytest.raises(ValueError, match="'GeneralizedRCNN', the model is a Linear"):
        DensePoseGeneralizedRCNNWithTTA(config(), nn.Linear(1, 1), None)
    model.roi_heads.keypoint_on = True
    try:
        with pytest.raises(ValueError, match="cannot average keypoints"):
            DensePoseGeneralizedRCNNWithTTA(config(), model, None)
    finally:
        model.roi_heads.keypoint_on = False
