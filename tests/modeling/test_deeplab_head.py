"""The DeepLab head: sizes, nobody, and each block against its definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from densepose.modeling.heads import (
    DILATIONS,
    DensePoseDeepLabHead,
    NonLocalBlock,
    PyramidPooling,
    WideConv,
)


def head(**changes: object) -> DensePoseDeepLabHead:
    torch.manual_seed(0)
    return DensePoseDeepLabHead(64, **{"hidden_channels": 64, "num_convs": 2, **changes})


@pytest.mark.parametrize("non_local", [False, True])
@pytest.mark.parametrize("norm", ["GN", ""])
def test_keeps_the_size_and_takes_nobody(norm: str, non_local: bool):
    model = head(norm=norm, non_local=non_local)
    output = model(torch.randn(2, 64, 14, 14))
    assert output.shape == (2, 64, 14, 14)
    assert output.min() >= 0
    nobody = model(torch.zeros(0, 64, 14, 14))
    assert nobody.shape == (0, 64, 14, 14)
    nobody.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("dilation", DILATIONS)
@pytest.mark.parametrize("size", [(6, 6), (12, 7), (14, 5), (1, 1)])
def test_wide_convolution_equals_torchs(dilation: int, size: tuple[int, int]):
    conv = WideConv(3, dilation).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    wanted = F.conv2d(features, conv.weight, padding=dilation, dilation=dilation)
    got = conv(features)
    torch.testing.assert_close(got, wanted)
    inputs = (features, conv.weight)
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), inputs),
        torch.autograd.grad(wanted.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_pyramid_pooling_equals_its_branches_one_by_one():
    torch.manual_seed(0)
    model = PyramidPooling(64)
    features = torch.randn(2, 64, 9, 9)
    views = []
    for (conv, norm, _), dilation in zip(model.convs[:4], (0, *DILATIONS), strict=True):
        view = F.conv2d(features, conv.weight, padding=dilation, dilation=max(dilation, 1))
        views.append(F.relu(F.group_norm(view, 32, norm.weight, norm.bias)))
    _, conv, norm, _ = model.convs[4]
    mean = F.conv2d(features.mean(dim=(2, 3), keepdim=True), conv.weight)
    mean = F.relu(F.group_norm(mean, 32, norm.weight, norm.bias))
    views.append(F.interpolate(mean, size=(9, 9), mode="bilinear", align_corners=False))
    wanted = F.relu(F.conv2d(torch.cat(views, dim=1), model.project[0].weight))
    torch.testing.assert_close(model(features), wanted)


def test_non_local_block_equals_its_definition_written_as_loops():
    torch.manual_seed(0)
    block = NonLocalBlock(32).double()
    torch.nn.init.uniform_(block.W[1].weight)
    features = torch.randn(1, 32, 4, 5, dtype=torch.float64)
    query = block.theta(features)[0]
    key, value = block.phi(features)[0].flatten(1), block.g(features)[0].flatten(1)
    assert key.shape == (16, 2 * 2)
    seen = torch.zeros(1, 16, 4, 5, dtype=torch.float64)
    for row in range(4):
        for column in range(5):
            scores = [(query[:, row, column] @ key[:, k]).exp() for k in range(4)]
            seen[0, :, row, column] = sum(
                score / sum(scores) * value[:, k] for k, score in enumerate(scores)
            )
    torch.testing.assert_close(block(features), features + block.W(seen))


def test_widths_without_whole_groups_are_refused():
    with pytest.raises(ValueError, match="48 channels cannot be divided into 32 groups; set MODEL"):
        head(hidden_channels=48)
    with pytest.raises(ValueError, match="DEEPLAB.NORM='BN'; allowed: 'GN', ''"):
        head(norm="BN")
    with pytest.raises(ValueError, match="cannot take 32 channels: .* use 64 or more"):
        PyramidPooling(32)
