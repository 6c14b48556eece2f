from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from detectron2.structures import Boxes, Instances

from densepose.modeling.inference import instances_to_prediction
from densepose.modeling.person_crops import CropSettings
from densepose.structures.annotations import DensePoseAnnotations
from tests.support.models import batch, parameters_without_gradient, quick_model, train_step
from tests.support.painted_model import Pixels, painted_model
from tests.support.random_people import IMAGE_SIZE, target

KEYS = {f"loss_densepose_{name}" for name in "ISUVR"}


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    return quick_model("dp_fcn_cpu")


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    return quick_model("teacher_cpu")


@pytest.mark.parametrize("which", ["whole", "teacher"])
@pytest.mark.parametrize(
    "counts", [(2, 1), (1, 0), (0, 0)], ids=["people", "one image empty", "nobody"]
)
def test_every_batch_trains_every_parameter(which, counts, request):
    model = request.getfixturevalue(which)
    losses = train_step(model, *(target(count, seed=count) for count in counts))
    assert set(losses) == KEYS
    assert all(torch.isfinite(value) for value in losses.values())
    assert parameters_without_gradient(model) == []
    if sum(counts):
        assert losses["loss_densepose_U"] > 0


@pytest.mark.parametrize("which", ["whole", "teacher"])
def test_people_without_annotation_train_nothing(which, request):
    losses = train_step(request.getfixturevalue(which), target(2, gt_densepose=None))
    assert set(losses) == KEYS
    assert all(value == 0 for name, value in losses.items() if name != "loss_densepose_S")


def test_the_body_of_whole_images_can_weigh_more(whole, monkeypatch):
    people = target(2, seed=2)
    found = []
    for weight in (1.0, 1e5, 2e5 - 1):  # it starts out sure that everything is body
        monkeypatch.setattr(whole.losses, "foreground_weight", weight)
        found.append({k: value.item() for k, value in train_step(whole, people).items()})
    once, more, most = (losses["loss_densepose_S"] for losses in found)
    assert most - once == pytest.approx(2 * (more - once), rel=1e-3) and more > once
    assert found[0]["loss_densepose_I"] == pytest.approx(found[2]["loss_densepose_I"])


def test_their_boxes_are_neither_body_nor_background(whole):
    everywhere = torch.tensor([[0.0, 0.0, IMAGE_SIZE[1], IMAGE_SIZE[0]]])
    unknown = Instances(
        IMAGE_SIZE,
        gt_boxes=Boxes(everywhere),
        gt_densepose=replace(DensePoseAnnotations.empty(1), boxes_xyxy_px=everywhere),
    )
    assert train_step(whole, unknown)["loss_densepose_S"] == 0
    assert train_step(whole, target(0))["loss_densepose_S"] > 0


def predict(model: nn.Module, *inputs: dict) -> list[Instances]:
    model.eval()
    with torch.no_grad():
        return [output["instances"] for output in model(list(inputs))]


@pytest.mark.parametrize("which", ["whole", "teacher"])
def test_annotated_people_become_predictions(which, request):
    people = target(2)
    (found,) = predict(request.getfixturevalue(which), *batch(people))
    torch.testing.assert_close(found.pred_boxes.tensor, people.gt_boxes.tensor)
    assert found.scores.tolist() == [1, 1]
    assert found.pred_densepose.part_logits.shape == (2, 25, 28, 28)
    prediction = instances_to_prediction(found, 7)
    assert len(prediction) == 2
    assert max(labels.max() for labels in prediction.labels) > 0


def test_given_people_come_first_and_in_the_size_of_the_stored_image(whole):
    (image,) = batch(target(1))
    given = Instances(IMAGE_SIZE, pred_boxes=Boxes(torch.tensor([[8.0, 8.0, 300.0, 40.0]])))
    given.scores = torch.tensor([0.3])
    image |= {"people": given, "height": 2 * IMAGE_SIZE[0], "width": 2 * IMAGE_SIZE[1]}
    (found,) = predict(whole, image)
    assert found.pred_boxes.tensor.tolist() == [[16.0, 16.0, 2 * IMAGE_SIZE[1], 80.0]]
    torch.testing.assert_close(found.scores, torch.tensor([0.3]))


@pytest.mark.parametrize("which", ["whole", "teacher"])
def test_an_image_of_nobody_gives_no_predictions(which, request):
    (found,) = predict(request.getfixturevalue(which), *batch(target(0)))
    assert len(found) == 0
    assert len(instances_to_prediction(found, 1)) == 0


def test_crops_without_boxes_are_refused(teacher):
    (image,) = batch(target(1))
    del image["instances"]
    with pytest.raises(ValueError, match="CROPS needs boxes at test"):
        predict(teacher, image)


@pytest.mark.parametrize("crops", [None, CropSettings(128, 0.1)], ids=["whole image", "crops"])
def test_a_prediction_lies_where_the_image_says(crops):
    """U grows to the right and V downwards over the person; no half cell is lost on the way."""
    height, width = 120, 160
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    image = torch.stack([torch.ones(height, width), x / width, y / height])
    box = torch.tensor([[40.0, 24.0, 104.0, 104.0]])
    people = Instances((height, width), gt_boxes=Boxes(box))
    (found,) = predict(painted_model(crops), {"image": image, "instances": people})
    prediction = instances_to_prediction(found, 1)
    assert prediction.labels[0].shape == (80, 64)
    assert (prediction.labels[0] == 2).all()
    u, v = torch.from_numpy(prediction.uv[0]).float() / 255
    want_u = x[24:104, 40:104] / width
    want_v = y[24:104, 40:104] / height
    assert (u - want_u).abs().max() < 1 / 160
    assert (v - want_v).abs().max() < 1 / 120


@pytest.mark.parametrize(("stride", "size"), [(1, (50, 75)), (16, (64, 80))])
def test_images_are_padded_to_whole_cells(stride: int, size: tuple[int, int], monkeypatch):
    """A backbone without size_divisibility would round the last cell up and stretch the map."""
    monkeypatch.setattr(Pixels, "size_divisibility", 0)
    inputs, windows = painted_model(None, stride).image_inputs([torch.ones(3, 50, 75)], [None])
    assert inputs.shape == (1, 3, *size)
    assert windows.tolist() == [[0, 0, size[1], size[0]]]
    assert inputs.sum() == 3 * 50 * 75


def test_people_are_found_as_connected_foreground():
    image = torch.zeros(3, 128, 160)
    image[0, 16:64, 24:56] = 1.0
    image[0, 80:120, 96:136] = 1.0
    (found,) = predict(painted_model(None), {"image": image})
    boxes = sorted(found.pred_boxes.tensor.tolist())
    assert boxes == [[24.0, 16.0, 56.0, 64.0], [96.0, 80.0, 136.0, 120.0]]
    prediction = instances_to_prediction(found, 1)
    assert all((labels == 2).mean() > 0.95 for labels in prediction.labels)
