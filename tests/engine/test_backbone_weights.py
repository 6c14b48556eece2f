"""Files that hold a backbone alone, under its own names, as HRNet's authors give them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from densepose.engine.name_matching import match_names
from densepose.engine.weights_file import WeightsFile, read_weights

MODEL = {
    "backbone.bottom_up.conv1.weight": torch.zeros(2),
    "backbone.bottom_up.stage2.0.bn.bias": torch.zeros(3),
    "backbone.fpn_conv.0.weight": torch.zeros(4),
}


def matched(weights: dict[str, Tensor]) -> set[str]:
    return set(match_names(WeightsFile(Path("w.pth"), weights), MODEL))


def test_names_get_their_place_and_the_rest_is_left_over():
    file = {"conv1.weight": torch.ones(2), "stage2.0.bn.bias": torch.ones(3)}
    wanted = {"backbone.bottom_up.conv1.weight", "backbone.bottom_up.stage2.0.bn.bias"}
    assert matched(file) == wanted
    assert matched({**file, "final_layers.0.weight": torch.ones(9)}) == {
        *wanted,
        "final_layers.0.weight",
    }


@pytest.mark.parametrize("name", ["backbone.fpn_conv.0.weight", "backbone.bottom_up.conv1.weight"])
def test_a_file_with_the_models_names_stays_as_it_is(name: str):
    file = {name: torch.ones(1), "conv1.weight": torch.ones(2)}
    assert matched(file) == {name, "conv1.weight"}
    assert matched({"other": torch.ones(1)}) == {"other"}


def test_a_file_on_disk(tmp_path: Path):
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "hrnet.pth")
    file = read_weights(tmp_path / "hrnet.pth")
    assert set(match_names(file, MODEL)) == {"backbone.bottom_up.conv1.weight"}
