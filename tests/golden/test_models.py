"""Models of the released configs beside what detectron2's DensePose computed.

The files are recorded by ``python -m tools.upstream record`` from a checkout of detectron2: weights
and inputs are made from a seed on both sides.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from detectron2.modeling import build_model

from densepose.model_zoo import MODELS
from tools.upstream import golden, our_side

FILES = {path.stem: path for path in Path(__file__).with_name("models").glob("*.json")}
CONFIGS = {
    config: file
    for file, path in FILES.items()
    for config in (golden.read(path)["config"], *golden.read(path)["same_models"])
}


def test_every_released_model_has_a_file():
    released = {model.config.removesuffix(".yaml") for model in MODELS}
    assert len(released) == 27 and released <= set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_layers_are_those_of_released_checkpoints(config: str):
    want = golden.read(FILES[CONFIGS[config]])
    case = golden.Case(config, device="meta")
    with torch.device("meta"):
        state = build_model(our_side.config_of(case)).state_dict()
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    assert len(shapes) == want["tensors"]
    assert golden.names_digest(shapes) == want["names_sha256"]


def test_configs_of_one_model_differ_in_data_and_schedule_alone():
    def text(config: str) -> str:
        model = our_side.config_of(golden.case_of(config)).MODEL
        model.WEIGHTS = ""
        return model.dump()

    for path in FILES.values():
        want = golden.read(path)
        assert {text(name) for name in want["same_models"]} <= {text(want["config"])}


def cases() -> list:
    """Those of the larger backbones differ from the others in depth or width alone."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if "_101_" in name or "_w4" in name else [])
        for name in sorted(FILES)
    ]


@pytest.mark.parametrize("file", cases())
def test_maps_people_losses_and_gradients(file: str):
    want = golden.read(FILES[file])
    model = our_side.seeded_model(golden.case_of(want["config"]))
    got = golden.summary(our_side.model_results(model, golden.SEED))
    assert golden.differences(got, want) == []


def changed(path: str, change: float) -> dict:
    """A file with one number changed; a number in the path is an index of a list."""
    want = golden.read(FILES["densepose_rcnn_R_50_FPN_s1x"])
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = want
    for step in steps:
        place = place[step]
    place[last] += change
    return want


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        ("maps/u/samples/3", 1e-3, "map u differs by 0.001"),
        ("maps/coarse_logits/shape/1", 1, "map coarse_logits has shape"),
        ("losses/loss_densepose_I", 1e-3, "loss_densepose_I is"),
        ("gradients/roi_heads.densepose_predictor.u_lowres/1", 1e-2, "gradient of roi_heads.den"),
        ("gradients/backbone.bottom_up.res5/0", 1e-2, "gradient of backbone.bottom_up.res5"),
    ],
)
def test_a_difference_is_found(path: str, change: float, sentence: str):
    want = golden.read(FILES["densepose_rcnn_R_50_FPN_s1x"])
    assert golden.differences(want, copy.deepcopy(want)) == []
    (found,) = golden.differences(changed(path, change), want)
    assert found.startswith(sentence)


def test_other_people_and_missing_losses_are_found():
    want = golden.read(FILES["densepose_rcnn_R_50_FPN_s1x"])
    person = copy.deepcopy(want)
    labels, u, _ = person["people"]["0"]["samples"]
    u[labels.index(max(labels))] += 2
    assert golden.differences(person, want) == ["person 0: U, V differ by 2 steps of 1/255"]
    labels[:3] = [label + 1 for label in labels[:3]]
    (found,) = golden.differences(person, want)
    assert found == "person 0: 0 pixels of all, 3 samples of another label"
    del person["losses"]["loss_densepose_V"]
    (found,) = golden.differences(person, want)
    assert found.startswith("losses: ") and "loss_densepose_V" in found


def test_seeded_weights_by_hand():
    weights = golden.seeded_tensor("conv.weight", (4, 8, 3, 3), seed=2)
    again = golden.seeded_tensor("conv.weight", (4, 8, 3, 3), seed=2)
    assert torch.equal(weights, again)
    assert weights.abs().max() <= (6 / 72) ** 0.5 < 1.05 * weights.abs().max()
    assert not torch.equal(weights, golden.seeded_tensor("conv.weight", (4, 8, 3, 3), seed=3))
    variance = golden.seeded_tensor("norm.running_var", (500,))
    assert variance.min() >= 0.5 and variance.max() <= 1.5
    # The number that a machine with another generator would not get.
    assert golden.seeded_tensor("a.bias", (1,)).item() == pytest.approx(0.018117357, abs=1e-8)
