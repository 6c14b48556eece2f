"""Folding of frozen batch norm: same values, same gradients, same checkpoint."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import nn

from detectron2.layers import Conv2d, FrozenBatchNorm2d

from densepose.ops.folding import fold_frozen_norms


def randomise_norms(model: nn.Module) -> None:
    g = torch.Generator().manual_seed(0)
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=g) + 0.5)
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=g) * 0.1)
            module.weight.data.copy_(torch.rand(module.weight.shape, generator=g) + 0.5)
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=g) * 0.1)


def detectron2_stack() -> nn.Module:
    return nn.Sequential(
        Conv2d(3, 8, 3, padding=1, bias=False, norm=FrozenBatchNorm2d(8), activation=torch.relu),
        Conv2d(8, 8, 3, padding=1, stride=2, groups=8, norm=FrozenBatchNorm2d(8)),
        Conv2d(8, 4, 1),
    )


def timm_stack() -> nn.Module:
    model = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False)
    return freeze_batch_norm_2d(model)


@pytest.mark.parametrize(("build", "norms"), [(detectron2_stack, 2), (timm_stack, 48)])
def test_values_gradients_and_checkpoint_stay_the_same(build, norms):
    torch.manual_seed(0)
    plain = build()
    randomise_norms(plain)
    folded = copy.deepcopy(plain)
    x = torch.randn(2, 3, 65, 47)
    assert fold_frozen_norms(folded, example=torch.zeros(1, 3, 64, 64)) == norms
    assert folded.state_dict().keys() == plain.state_dict().keys()

    def run(model):
        out = model(x)
        outputs = list(out) if isinstance(out, list) else [out]
        sum(o.square().mean() for o in outputs).backward()
        gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
        return outputs, gradients

    want, want_grad = run(plain)
    got, got_grad = run(folded)
    for ours, theirs in zip(got, want, strict=True):
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert got_grad.keys() == want_grad.keys()
    for name, theirs in want_grad.items():
        assert (got_grad[name] - theirs).norm() <= 1e-3 * theirs.norm() + 1e-7, name


def test_a_value_by_hand():
    conv = Conv2d(1, 1, 1, norm=FrozenBatchNorm2d(1, eps=0.0))
    conv.weight.data.fill_(3.0)
    conv.bias.data.fill_(1.0)
    conv.norm.running_var.fill_(4.0)
    conv.norm.running_mean.fill_(2.0)
    conv.norm.weight.fill_(10.0)
    conv.norm.bias.fill_(0.5)
    assert fold_frozen_norms(conv) == 1
    # (3 * 2 + 1 - 2) / sqrt(4) * 10 + 0.5
    assert conv(torch.full((1, 1, 1, 1), 2.0)).item() == pytest.approx(25.5)


def test_a_new_checkpoint_is_seen_after_inference():
    model = detectron2_stack()
    fold_frozen_norms(model)
    other = detectron2_stack()
    randomise_norms(other)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = model(x)
        model.load_state_dict(other.state_dict())
        after = model(x)
        want = other(x)
    torch.testing.assert_close(after, want, atol=1e-5, rtol=1e-4)
    assert not torch.equal(before, after)


def test_folding_twice_and_copying_change_nothing():
    model = detectron2_stack()
    assert fold_frozen_norms(model) == 2
    assert fold_frozen_norms(model) == 0
    twin = copy.deepcopy(model)
    twin[0]._parameters["weight"].data.zero_()
    x = torch.randn(1, 3, 8, 8)
    assert not torch.equal(twin(x), model(x))


def test_a_norm_that_trains_is_left_alone():
    model = nn.Sequential(Conv2d(3, 8, 3, norm=nn.BatchNorm2d(8)))
    assert fold_frozen_norms(model, example=torch.zeros(1, 3, 8, 8)) == 0


def test_a_model_made_in_inference_mode_follows_its_weights():
    with torch.inference_mode():
        folded = detectron2_stack()
        randomise_norms(folded)
        assert fold_frozen_norms(folded) == 2
        x = torch.randn(1, 3, 9, 7)
        before = folded(x)
        folded[0].norm.bias.add_(1)
        assert not torch.equal(folded(x), before)
