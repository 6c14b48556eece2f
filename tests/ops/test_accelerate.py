"""A whole model before and after the switch: same outputs, losses, gradients and checkpoint."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from densepose.config import get_densepose_cfg
from densepose.modeling import register_all
from densepose.ops.accelerate import accelerate
from densepose.structures.annotations import DensePoseAnnotations


def small_model(seed: int = 0) -> nn.Module:
    register_all()
    cfg = get_densepose_cfg()
    cfg.merge_from_file("configs/Base-DensePose-RCNN-FPN.yaml")
    cfg.merge_from_list(
        "MODEL.DEVICE cpu MODEL.RESNETS.DEPTH 18 MODEL.RESNETS.RES2_OUT_CHANNELS 64"
        " MODEL.FPN.OUT_CHANNELS 32 MODEL.ROI_BOX_HEAD.FC_DIM 64"
        " MODEL.ROI_DENSEPOSE_HEAD.NUM_STACKED_CONVS 2 MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM 32"
        " MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS 32"
        " MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES 32".split()
    )
    torch.manual_seed(seed)
    model = build_model(cfg)
    g = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=g) + 0.5)
            module.weight.copy_(torch.rand(module.weight.shape, generator=g) * 0.5 + 0.2)
    return model


@pytest.fixture(scope="module")
def models() -> tuple[nn.Module, nn.Module]:
    plain = small_model()
    fast = copy.deepcopy(plain)
    done = accelerate(fast)
    assert done["folded norms"] == 20 and done["gather RoIAlign poolers"] == 2
    assert done["Winograd convolutions"] > 15
    return plain, fast


def given_boxes(model: nn.Module, image: torch.Tensor, boxes: torch.Tensor) -> Instances:
    instances = Instances(tuple(image.shape[1:]))
    instances.pred_boxes = Boxes(boxes)
    instances.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    return model.inference([{"image": image}], [instances], do_postprocess=False)[0]


@pytest.mark.parametrize("num_people", [0, 1, 3])
def test_inference_gives_the_same_maps(models, num_people):
    image = torch.rand(3, 97, 130, generator=torch.Generator().manual_seed(1)) * 255
    boxes = torch.tensor([[5.0, 8.0, 60.0, 90.0], [30.0, 2.0, 128.0, 70.0], [0.0, 0.0, 20.0, 30.0]])
    results = []
    for model in models:
        with torch.no_grad():
            results.append(given_boxes(model.eval(), image, boxes[:num_people]).pred_densepose)
    want, got = results
    assert len(got) == len(want) == num_people
    for name in ("coarse_logits", "part_logits", "u", "v"):
        theirs, ours = getattr(want, name), getattr(got, name)
        scale = float(theirs.abs().max()) if num_people else 1.0
        torch.testing.assert_close(ours, theirs, atol=1e-4 * scale, rtol=0)


def test_training_gives_the_same_losses_and_gradients(models):
    image = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(2)) * 255
    target = Instances((96, 96))
    target.gt_boxes = Boxes(torch.tensor([[10.0, 10.0, 80.0, 90.0]]))
    target.gt_classes = torch.zeros(1, dtype=torch.int64)
    g = torch.Generator().manual_seed(3)
    target.gt_densepose = DensePoseAnnotations(
        boxes_xyxy_px=target.gt_boxes.tensor.clone(),
        coarse=torch.randint(0, 15, (1, 256, 256), generator=g).to(torch.uint8),
        has_masks=torch.ones(1, dtype=torch.bool),
        points_grid=torch.rand(20, 2, generator=g) * 256,
        part=torch.randint(1, 25, (20,), generator=g),
        uv=torch.rand(20, 2, generator=g),
        owner=torch.zeros(20, dtype=torch.int64),
    )
    outcomes = []
    for model in models:
        model.train()
        model.zero_grad()
        torch.manual_seed(0)  # the sampling of anchors and proposals
        with EventStorage():
            losses = model([{"image": image, "instances": target}])
        sum(losses.values()).backward()
        outcomes.append((losses, {n: p.grad for n, p in model.named_parameters()}))
    (want, want_grad), (got, got_grad) = outcomes
    for name, loss in want.items():
        torch.testing.assert_close(got[name], loss, rtol=2e-4, atol=1e-6)
    for name, theirs in want_grad.items():
        if theirs is None:
            assert got_grad[name] is None
        else:
            assert (got_grad[name] - theirs).norm() <= 5e-3 * theirs.norm() + 1e-6, name


def test_the_checkpoint_does_not_notice(models):
    plain, fast = models
    ours, theirs = fast.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    fast.load_state_dict(small_model(seed=1).state_dict(), strict=True)
    fast.load_state_dict(theirs, strict=True)


def test_a_second_call_changes_nothing(models):
    assert set(accelerate(models[1]).values()) == {0}


def test_strided_dilated_grouped_and_narrow_convolutions_are_left_alone():
    others = nn.ModuleList(
        [
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.Conv2d(64, 64, 3, dilation=2, padding=2),
            nn.Conv2d(64, 64, 3, padding=1, groups=64),
            nn.Conv2d(64, 64, 3),
            nn.Conv2d(64, 64, 5, padding=2),
            nn.Conv2d(16, 64, 3, padding=1),
        ]
    )
    assert accelerate(others)["Winograd convolutions"] == 0
