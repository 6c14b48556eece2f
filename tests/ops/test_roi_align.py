"""RoIAlign as a gather against torchvision, by hand, by property and by rejected input."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from densepose.ops.roi_align import axis_taps, multilevel_roi_align


def random_case(seed: int, *, boxes: int = 17, dtype: torch.dtype = torch.float32):
    g = torch.Generator().manual_seed(seed)
    features = [
        torch.randn(2, 5, 20 // s, 30 // s, generator=g, dtype=dtype, requires_grad=True)
        for s in (1, 2)
    ]
    corner = torch.rand(boxes, 2, generator=g, dtype=dtype) * 140 - 20  # some start outside the map
    size = torch.rand(boxes, 2, generator=g, dtype=dtype) * 90
    image = torch.randint(0, 2, (boxes,), generator=g)
    level = torch.randint(0, 2, (boxes,), generator=g)
    return features, torch.cat([corner, corner + size], dim=1), image, level


def torchvision_by_level(features, boxes, image, level, size, ratio, aligned):
    out = features[0].new_zeros(len(boxes), features[0].shape[1], *size)
    for k, (feature, scale) in enumerate(zip(features, (0.25, 0.125), strict=True)):
        own = level == k
        rois = torch.cat([image[own, None].to(boxes), boxes[own]], dim=1)
        out = out.index_put((own,), roi_align(feature, rois, size, scale, ratio, aligned))
    return out


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (3, 5)])
def test_values_and_gradients_equal_torchvision(aligned, ratio, size):
    features, boxes, image, level = random_case(0)
    got = multilevel_roi_align(
        features,
        boxes,
        image,
        level,
        scales=(0.25, 0.125),
        output_size=size,
        sampling_ratio=ratio,
        aligned=aligned,
    )
    want = torchvision_by_level(features, boxes, image, level, size, ratio, aligned)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    got_grad = torch.autograd.grad(got, features, upstream)
    want_grad = torch.autograd.grad(want, features, upstream)
    for ours, theirs in zip(got_grad, want_grad, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_a_linear_ramp_is_read_at_the_centre_of_each_cell():
    ramp = torch.arange(16.0).expand(
        1, 1, 16, 16
    )  # value = column index, cell centre at index + 0.5
    pooled = multilevel_roi_align(
        [ramp],
        torch.tensor([[4.0, 4.0, 8.0, 8.0]]),
        torch.tensor([0]),
        torch.tensor([0]),
        scales=(1.0,),
        output_size=(2, 2),
        sampling_ratio=2,
    )
    # cells cover columns [4, 6) and [6, 8): centres 5 and 7, which are 4.5 and 6.5 as an index
    torch.testing.assert_close(pooled[0, 0], torch.tensor([[4.5, 6.5], [4.5, 6.5]]))


def test_weights_of_a_box_inside_the_map_sum_to_one_per_sample():
    start, extent, size = (
        torch.tensor([2.0, 3.3]),
        torch.tensor([5.0, 1.0]),
        torch.tensor([20.0, 9.0]),
    )
    index, weight = axis_taps(start, extent, size, cells=4, samples=2)
    torch.testing.assert_close(weight.sum(-1), torch.full((2, 4), 2.0))
    assert (index >= 0).all() and (index < size.long()[:, None, None]).all()


def test_gradcheck_in_double():
    features, boxes, image, level = random_case(3, boxes=3, dtype=torch.float64)

    def pooled(*maps):
        return multilevel_roi_align(
            maps, boxes, image, level, scales=(0.25, 0.125), output_size=(2, 2), sampling_ratio=2
        )

    small = [f.detach()[:, :2].clone().requires_grad_() for f in features]
    assert torch.autograd.gradcheck(pooled, small)


def test_no_boxes_give_an_empty_result_that_still_trains():
    features, boxes, image, level = random_case(4, boxes=0)
    pooled = multilevel_roi_align(
        features, boxes, image, level, scales=(0.25, 0.125), output_size=(7, 7), sampling_ratio=2
    )
    assert pooled.shape == (0, 5, 7, 7)
    pooled.sum().backward()
    assert float(features[0].grad.abs().sum()) == 0.0


def test_bfloat16_features_stay_bfloat16_and_close():
    features, boxes, image, level = random_case(5)
    arguments = dict(scales=(0.25, 0.125), output_size=(4, 4), sampling_ratio=2)
    exact = multilevel_roi_align(features, boxes, image, level, **arguments)
    half = [f.detach().bfloat16() for f in features]
    rough = multilevel_roi_align(half, boxes, image, level, **arguments)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact.detach(), atol=0.06, rtol=0.02)


def test_refuses_the_adaptive_sampling_ratio():
    features, boxes, image, level = random_case(6)
    with pytest.raises(ValueError, match="sampling_ratio must be at least 1, got 0"):
        multilevel_roi_align(
            features,
            boxes,
            image,
            level,
            scales=(0.25, 0.125),
            output_size=(7, 7),
            sampling_ratio=0,
        )
