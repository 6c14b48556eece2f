from __future__ import annotations

import pytest
import torch
from torch import nn

from densepose.modeling.input_layer import fit_input_layers, widen_input


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))


def test_a_widened_network_begins_with_what_it_knows_about_colours():
    net = network()
    image, masks = torch.randn(2, 3, 5, 5), torch.randn(2, 4, 5, 5)
    before = net(image)
    widen_input(net, 4)
    torch.testing.assert_close(net(torch.cat([image, masks], dim=1)), before)
    net(torch.cat([image, masks], dim=1)).square().sum().backward()
    assert net[0].weight.grad[:, 3:].abs().sum() > 0


@pytest.mark.parametrize(
    "layers", [[], [nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1), nn.Conv2d(3, 4, 1)]]
)
def test_a_network_without_one_input_layer_is_refused(layers: list[nn.Module]):
    with pytest.raises(ValueError, match="convolutions read 3 channels, expected one"):
        widen_input(nn.Sequential(*layers), 1)


def test_weights_for_three_channels_fit_a_widened_network():
    net, wide = network(), network()
    widen_input(wide, 2)
    fitted = fit_input_layers(net.state_dict(), wide.state_dict())
    wide.load_state_dict(fitted)
    image = torch.randn(1, 3, 5, 5)
    told = torch.cat([image, torch.randn(1, 2, 5, 5)], dim=1)
    torch.testing.assert_close(wide(told), net(image))
    # Weights of other shapes, and those that fit, stay as they are.
    other = {"0.weight": torch.zeros(7, 3, 3, 3), "2.weight": torch.ones(4, 8, 1, 1)}
    kept = fit_input_layers(other, wide.state_dict())
    assert kept["0.weight"] is other["0.weight"]
    assert kept["2.weight"] is other["2.weight"]
