"""The batch of the comparison and the weights it runs on."""

from __future__ import annotations

import numpy as np
import torch
from fvcore.transforms.transform import HFlipTransform, NoOpTransform
from torch import nn

from densepose.benchmark.both_sides.inputs import make_picture
from densepose.equality.same_batch import (
    in_float64,
    make_plausible,
    place_maps,
    training_batch,
)


def test_boxes_of_the_batch_and_their_sizes_are_exact_in_float32():
    with in_float64(nn.Linear(1, 1)):
        pictures = training_batch(3, make_picture)
    assert torch.get_default_dtype() == torch.float32
    assert [len(picture.boxes) for picture in pictures] == [2, 1]
    for picture in pictures:
        assert picture.image.dtype == picture.points.dtype == torch.float64
        for boxes in (picture.boxes, picture.proposals):
            low, high = boxes.float().split(2, dim=1)
            assert torch.equal((high - low).double(), boxes[:, 2:] - boxes[:, :2])
            assert (high > low).all()
    assert not torch.equal(*(picture.image for picture in pictures))


def test_plausible_weights_are_the_same_everywhere():
    def small_model() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Module()
        model.norm = nn.BatchNorm2d(3)
        model.roi_heads = nn.Module()
        model.roi_heads.densepose_predictor = nn.Conv2d(3, 2, 1)
        return model

    model, again, fresh = small_model(), small_model(), small_model()
    make_plausible(model)
    make_plausible(again)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    predictors = [m.roi_heads.densepose_predictor for m in (model, fresh)]
    torch.testing.assert_close(predictors[0].weight, predictors[1].weight * 0.3)
    assert (model.norm.running_var > 0).all() and (model.norm.bias != 0).all()
    assert model.norm.num_batches_tracked == 0


def test_place_maps_by_hand():
    boxes = np.array([[10.0, 20.0, 14.0, 28.0]])
    maps = place_maps(NoOpTransform(), boxes, 2)
    assert maps[0, 0].tolist() == [[11, 13], [11, 13]]
    assert maps[0, 1].tolist() == [[22, 22], [26, 26]]
    # In a mirrored image the box's left column shows what was its right one.
    mirrored = place_maps(HFlipTransform(100), boxes, 2)
    torch.testing.assert_close(mirrored, maps.flip(-1))
