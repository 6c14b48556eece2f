"""The decoder computed around the boxes only, and its predictor after pooling: the same values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from densepose.modeling.decoder import Decoder
from densepose.ops.decoder_regions import Region, merging_class, pool_regions, run_on_region

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
SHAPES = {name: ShapeSpec(channels=6, stride=stride) for name, stride in STRIDES.items()}
SIZE = (224, 320)  # image height, width in px

SMALL = [[200.0, 100.0, 240.0, 150.0]]
CORNER = [[0.0, 0.0, 33.3, 47.7]]
BORDER = [[281.0, 180.0, 320.0, 224.0]]
TWO = [[40.5, 30.25, 90.0, 100.0], [100.0, 90.0, 140.2, 133.3]]
SLIVER = [[319.9, 50.0, 320.0, 50.2]]
OUTSIDE = [[290.0, -30.0, 350.0, 60.0]]
LARGE = [[2.0, 3.0, 316.0, 222.0]]


def decoder(norm: str = "") -> Decoder:
    torch.manual_seed(0)
    model = Decoder(SHAPES, num_classes=7, conv_dims=8, common_stride=4, norm=norm)
    nn.init.normal_(model.predictor.bias)
    return model.double()


def levels(batch: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, 6, SIZE[0] // s, SIZE[1] // s, generator=g, dtype=torch.float64)
        for s in STRIDES.values()
    ]


def pooler(kind: str = "ROIAlign", size: int = 4) -> ROIPooler:
    return ROIPooler(output_size=size, scales=(0.25,), sampling_ratio=2, pooler_type=kind)


def cells_of_first_level(model: Decoder) -> list[int]:
    """A list that fills with the number of cells that the first branch computes."""
    seen: list[int] = []
    model.p2[0].register_forward_hook(lambda _, __, out: seen.append(out[0, 0].numel()))
    return seen


@pytest.mark.parametrize("kind", ["ROIAlign", "ROIAlignV2"])
@pytest.mark.parametrize(
    ("boxes", "cropped"),
    [
        ([SMALL], True),
        ([CORNER], True),
        ([BORDER], True),
        ([TWO, CORNER], True),
        ([SLIVER], True),
        ([OUTSIDE], True),
        ([LARGE], False),
        ([TWO, BORDER], False),
    ],
)
def test_pooling_around_the_boxes_equals_pooling_the_whole_map(kind, boxes, cropped):
    model, maps = decoder(), levels(len(boxes))
    maps = [level.requires_grad_() for level in maps]
    lists = [Boxes(torch.tensor(image, dtype=torch.float64)) for image in boxes]
    want = pooler(kind)([model(maps)], lists)
    seen = cells_of_first_level(model)
    got = pool_regions(model, maps, lists, pooler(kind))
    assert (seen[0] < maps[0][0, 0].numel()) == cropped
    torch.testing.assert_close(got, want, atol=1e-9, rtol=1e-9)
    upstream = torch.randn_like(want)
    leaves = [*maps, *model.parameters()]
    got_grads = torch.autograd.grad(got, leaves, upstream)
    want_grads = torch.autograd.grad(want, leaves, upstream)
    for ours, theirs in zip(got_grads, want_grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("norm", ["", "BN"])
def test_levels_added_before_doubling_equal_levels_doubled_one_by_one(norm: str):
    model, maps = decoder(norm), [level.requires_grad_() for level in levels(2)]
    want = model(maps)
    leaves = [*maps, *model.parameters()]
    want_grads = torch.autograd.grad(want.square().sum(), leaves)
    model.__class__ = merging_class(type(model))
    got = model(maps)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got.square().sum(), leaves), want_grads)


def test_pooling_of_maxima_is_left_after_the_predictor():
    model, maps = decoder().float(), [level.float() for level in levels(1)]
    boxes = [Boxes(torch.tensor(TWO))]
    want = pooler("ROIPool")([model(maps)], boxes)
    got = pool_regions(model, maps, boxes, pooler("ROIPool"))
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("norm", "cropped"), [("BN", False), ("GN", False), ("FrozenBN", True)])
def test_a_norm_over_the_whole_map_needs_the_whole_map(norm, cropped):
    model, maps = decoder("" if norm == "GN" else norm), levels(1)
    if norm == "GN":
        model.p3[0].norm = nn.GroupNorm(2, 8).double()
    seen = cells_of_first_level(model.train())
    boxes = [Boxes(torch.tensor(SMALL, dtype=torch.float64))]
    got = pool_regions(model, maps, boxes, pooler())
    assert (seen[0] < maps[0][0, 0].numel()) == cropped
    torch.testing.assert_close(got, pooler()([model(maps)], boxes), atol=1e-6, rtol=1e-6)


def test_nobody_costs_nothing_and_still_trains():
    model, maps = decoder(), levels(1)
    seen = cells_of_first_level(model)
    pooled = pool_regions(model, maps, [Boxes(torch.zeros(0, 4))], pooler())
    assert pooled.shape == (0, 7, 4, 4) and not seen
    pooled.sum().backward()
    assert all(float(parameter.grad.abs().sum()) == 0 for parameter in model.parameters())


class KeepsItsInput(nn.Module):
    """Stands for a pooler; torchvision's ends the process when a box is not finite."""

    output_size = (4, 4)

    def forward(self, features, boxes):
        return features[0]


def test_a_box_that_is_not_finite_is_left_to_the_pooler():
    model, maps = decoder(), levels(1)
    boxes = [Boxes(torch.tensor([[0.0, 0.0, float("inf"), 20.0]]))]
    torch.testing.assert_close(pool_regions(model, maps, boxes, KeepsItsInput()), model(maps))


@pytest.mark.parametrize(
    "wanted",
    [Region(0, 36, 0, 28), Region(7, 8, 9, 10), Region(0, 5, 20, 28), Region(30, 36, 1, 4)],
)
def test_any_region_of_a_stack_equals_that_part_of_the_whole(wanted):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(4, 2, 3, padding=1),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(2, 2, 3, padding=1),
    ]
    maps = torch.randn(2, 3, 9, 7)
    whole = nn.Sequential(*layers)(maps)
    got = run_on_region(layers, maps, wanted)
    want = whole[:, :, wanted.top : wanted.bottom, wanted.left : wanted.right]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_regions_by_hand():
    region = Region(3, 6, 0, 2)
    assert region.area == 6
    assert region.grown(2, (7, 3)) == Region(1, 7, 0, 3)
    assert region.before_doubling((10, 10)) == Region(0, 4, 0, 2)
    assert region.doubled() == Region(6, 12, 0, 4)
    assert Region(5, 3, 0, 2).area == 0
    assert Region(0, 7, 0, 3).contains(region) and not region.contains(Region(2, 5, 0, 2))
