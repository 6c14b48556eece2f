from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from detectron2.structures import Boxes, Instances

from densepose.modeling.inference import box_sizes_px, decode_person, instances_to_prediction
from densepose.ops import tile_threads
from densepose.structures.chart_output import ChartOutput
from tests.support.random_people import generator


def smooth_output(count: int, *, upscale: int = 2, coarse: int = 2, seed: int = 0) -> ChartOutput:
    """Maps that change slowly, as a trained network's do; U and V leave [0, 1] in places."""
    g = generator(seed)

    def maps(channels: int) -> torch.Tensor:
        rough = torch.randn(count, channels, 5, 5, generator=g)
        return F.interpolate(rough, (14, 14), mode="bicubic", align_corners=False)

    return ChartOutput(maps(coarse), 3 * maps(25), maps(25), maps(25), upscale=upscale)


def decode_everything(output: ChartOutput, size_px: tuple[int, int]):
    """Definition: all maps brought to the box, then the best coarse channel, part and its UV."""
    full = output.upsampled()

    def to_box(maps: torch.Tensor) -> torch.Tensor:
        return F.interpolate(maps, size_px, mode="bilinear", align_corners=False)[0]

    labels = to_box(full.part_logits).argmax(0) * (to_box(full.coarse_logits).argmax(0) > 0)
    u, v = to_box(full.u), to_box(full.v)
    uv = torch.zeros(2, *size_px)
    for part in range(1, 25):
        uv[0][labels == part] = u[part][labels == part]
        uv[1][labels == part] = v[part][labels == part]
    return labels, uv


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding in compiled loops, as on CPU, and in torch's operators, as on a GPU."""
    if request.param == "torch":
        monkeypatch.setattr(tile_threads, "ready", lambda: False)
    elif not tile_threads.ready():
        pytest.skip("no Numba with OpenMP here")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size_px", [(1, 1), (9, 13), (28, 28), (120, 75)])
@pytest.mark.parametrize(("upscale", "coarse"), [(2, 2), (1, 15)])
def test_equals_decoding_everything(size_px: tuple[int, int], upscale: int, coarse: int):
    output = smooth_output(1, upscale=upscale, coarse=coarse)
    labels, uv = decode_person(output, size_px)
    wanted_labels, wanted_uv = decode_everything(output, size_px)
    assert labels.dtype == torch.uint8
    torch.testing.assert_close(labels.long(), wanted_labels)
    torch.testing.assert_close(uv, wanted_uv, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("way")
def test_all_background_and_background_part():
    zeros = torch.zeros(1, 25, 4, 4)
    coarse = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    labels, uv = decode_person(ChartOutput(coarse, zeros, zeros + 1, zeros + 1), (6, 6))
    assert not labels.any() and not uv.any()
    # The coarse channel says person, but background wins among the parts: no label and no UV.
    labels, uv = decode_person(ChartOutput(1 - coarse, zeros, zeros + 1, zeros + 1), (6, 6))
    assert not labels.any() and not uv.any()


def test_bf16_and_channels_last_maps_are_decoded():
    output = smooth_output(1)
    want = decode_person(output, (31, 17))
    layout = output._map(lambda maps: maps.contiguous(memory_format=torch.channels_last))
    for got, wanted in zip(decode_person(layout, (31, 17)), want, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    half = output._map(lambda maps: maps.bfloat16())
    labels, uv = decode_person(half, (31, 17))
    assert uv.dtype == torch.float32 and (labels == want[0]).float().mean() > 0.95


def test_more_parts_than_the_compiled_loops_take():
    smooth = smooth_output(1)
    many = {n: getattr(smooth, n).repeat(1, 2, 1, 1) for n in ("part_logits", "u", "v")}
    many["part_logits"][:, 25:] -= 1.0  # the second copy never wins
    labels, uv = decode_person(replace(smooth, **many), (60, 40))
    want_labels, want_uv = decode_person(smooth, (60, 40))
    assert torch.equal(labels, want_labels)
    torch.testing.assert_close(uv, want_uv)


def test_box_sizes_round_down_and_are_at_least_one_pixel():
    boxes = torch.tensor([[0.0, 0.0, 10.9, 20.2], [3.7, 3.7, 4.1, 4.6], [5.5, 1.0, 8.4, 2.0]])
    assert box_sizes_px(boxes) == [(20, 10), (1, 1), (1, 2)]


def detections(count: int) -> Instances:
    corner = 10 * torch.rand(count, 2, generator=generator(1))
    found = Instances((60, 80), pred_boxes=Boxes(torch.cat([corner, corner + 30], dim=1)))
    found.scores = torch.linspace(0.1, 0.9, count)
    found.pred_densepose = smooth_output(count)
    return found


def test_prediction_is_sorted_by_score_and_quantised():
    found = detections(3)
    prediction = instances_to_prediction(found, image_id=42)
    assert (prediction.image_id, prediction.image_size) == (42, (60, 80))
    assert prediction.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    for place, person in enumerate((2, 1, 0)):
        box = found.pred_boxes.tensor[person]
        np.testing.assert_array_equal(prediction.boxes_xyxy_px[place], box.numpy())
        output = found.pred_densepose[person : person + 1]
        labels, uv = decode_everything(output, box_sizes_px(box[None])[0])
        np.testing.assert_array_equal(prediction.labels[place], labels.numpy())
        steps = (uv * 255).clamp(0, 255).to(torch.uint8).numpy().astype(int)
        assert prediction.uv[place].dtype == np.uint8
        assert np.abs(prediction.uv[place].astype(int) - steps).max() <= 1


def test_confidence_is_the_probability_of_the_part_that_won():
    found = detections(2)
    plain, sure = (instances_to_prediction(found, 1, confidence=asked) for asked in (False, True))
    assert plain.confidence is None
    for place, person in enumerate((1, 0)):
        np.testing.assert_array_equal(sure.labels[place], plain.labels[place])
        np.testing.assert_array_equal(sure.uv[place], plain.uv[place])
        logits = found.pred_densepose[person : person + 1].upsampled().part_logits
        size = sure.labels[place].shape
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)[0]
        expected = 255 * logits.softmax(0).amax(0).numpy() * (sure.labels[place] > 0)
        np.testing.assert_allclose(sure.confidence[place], expected, atol=0.51)


def test_nobody_in_the_image():
    assert instances_to_prediction(detections(0), image_id=1, confidence=True).confidence == ()
    prediction = instances_to_prediction(detections(0), image_id=1)
    assert len(prediction) == 0 and prediction.labels == ()
    assert prediction.boxes_xyxy_px.shape == (0, 4)


def test_detections_without_densepose_are_refused():
    found = detections(1)
    found.remove("pred_densepose")
    with pytest.raises(ValueError, match="image 7: the detections have no pred_densepose"):
        instances_to_prediction(found, image_id=7)
