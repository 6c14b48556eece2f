"""What both sides do with a detectron2 model, the same way.

Imports nothing of either package that is called ``densepose``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.structures import Instances
from detectron2.utils.events import EventStorage

from . import inputs
from .inputs import Picture

# Predictions are made in float32; training in float64, which costs several times as much.
PICTURE = {"size": (96, 128), "people": 2, "heights": (0.4, 0.9)}
TRAINING_PICTURES = (
    {"size": (96, 96), "people": 2, "near": 1, "anywhere": 8, "heights": (0.4, 0.8)},
    {"size": (96, 96), "people": 1, "near": 0, "anywhere": 8, "heights": (0.4, 0.8)},
)


@torch.no_grad()
def predict(model: nn.Module, picture: Picture) -> Instances:
    """What the heads predict for the picture's own boxes, before post-processing."""
    given = [{"image": picture.image}]
    detections = [inputs.detections_of(picture)]
    (found,) = model.eval().inference(given, detections, do_postprocess=False)
    return found


@contextmanager
def in_float64(model: nn.Module) -> Iterator[None]:
    """Let a model compute in float64 from now on, and new tensors be so in the block.

    Gradients of networks with rectifiers jump where a value is within rounding of zero; in float32
    two exact programs differ by that alone.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model.double()
        yield
    finally:
        torch.set_default_dtype(before)


def train(
    model: nn.Module, seed: int, annotations_of: Callable[[Picture], Any]
) -> dict[str, Tensor]:
    """All losses of a batch and the gradients of their sum; the model is in float64 afterwards.

    Proposals are the pictures' own; the random choice among them is the same on both sides.

    Args:
        model: of either side.
        seed: of the pictures.
        annotations_of: a picture's people in the form that the side trains on.

    Returns:
        ``loss/NAME`` scalars and ``gradient/NAME``.
    """
    with in_float64(model):
        pictures = [
            inputs.on_grid(inputs.make_picture(seed + k, **what))
            for k, what in enumerate(TRAINING_PICTURES)
        ]
        targets = [inputs.target_of(picture, annotations_of(picture)) for picture in pictures]
        losses = losses_of(model, pictures, targets)
        sum(losses.values()).backward()
    found = {f"loss/{name}": value.detach() for name, value in losses.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[f"gradient/{name}"] = parameter.grad
    return found


def losses_of(
    model: nn.Module, pictures: Sequence[Picture], targets: Sequence[Instances]
) -> dict[str, Tensor]:
    """Losses of all heads on the pictures' own proposals."""
    model.train()
    torch.manual_seed(0)  # of the sampling of anchors and proposals
    images = model.preprocess_image([{"image": picture.image} for picture in pictures])
    features = model.backbone(images.tensor)
    # Nobody uses the proposals, and choosing them does not work in float64.
    model.proposal_generator.predict_proposals = lambda *_: []
    with EventStorage():
        _, losses = model.proposal_generator(images, features, list(targets))
        proposals = [inputs.proposals_of(picture) for picture in pictures]
        _, of_boxes = model.roi_heads(images, features, proposals, list(targets))
    return {**losses, **of_boxes}
