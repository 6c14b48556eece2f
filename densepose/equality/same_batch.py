"""What both sides do with a model, the same way: predict for given boxes, one training step.

Imports nothing of either package that is called ``densepose``; a Picture is the benchmark's.

Shapes: N people of all pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

# Name here: name of the checkout's output. Both have the full maps.
MAPS = {
    "coarse_logits": "coarse_segm",
    "part_logits": "fine_segm",
    "u": "u",
    "v": "v",
    "log_variance": "sigma_2",
    "residual_u": "kappa_u",
    "residual_v": "kappa_v",
    "part_confidence": "fine_segm_confidence",
    "coarse_confidence": "coarse_segm_confidence",
}
# For predictions, in float32; for training, in float64, which costs several times as much.
PICTURE = {"size": (192, 256), "people": 2}
_TRAINING_PICTURES = (
    {"size": (160, 192), "people": 2, "near": 1, "anywhere": 12},
    {"size": (160, 192), "people": 1, "near": 0, "anywhere": 12},
)
_BOX_STEP_PX = 1 / 16


def make_plausible(model: nn.Module) -> None:
    """Make fresh random weights act like trained ones, in place.

    Norms get statistics and weights that do something, and the predictor smaller weights: its
    outputs would be several times as large as trained ones, and their rounding with them.
    """
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.startswith("roi_heads.densepose_predictor."):
            tensor.mul_(0.3)
        owner = model.get_submodule(name.rpartition(".")[0])
        if "Norm" not in type(owner).__name__ or not tensor.is_floating_point():
            continue
        noise = torch.rand(tensor.shape, generator=generator).to(tensor)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise)
        elif name.endswith("weight"):
            # Around a half: activations of random weights would grow from block to block else.
            tensor.copy_(0.4 + 0.2 * noise)
        else:
            tensor.copy_(0.2 * noise - 0.1)


def detections_of(picture: Any) -> Instances:
    """The people of a picture as detections."""
    found = Instances(tuple(picture.image.shape[1:]))
    found.pred_boxes = Boxes(picture.boxes)
    found.pred_classes = torch.zeros(len(picture.boxes), dtype=torch.int64)
    found.scores = torch.linspace(1, 0.5, len(picture.boxes))
    return found


@torch.no_grad()
def predict(model: nn.Module, picture: Any) -> Instances:
    """What the heads predict for the picture's own boxes, before post-processing."""
    given = [{"image": picture.image}]
    (found,) = model.eval().inference(given, [detections_of(picture)], do_postprocess=False)
    return found


def training_batch(seed: int, make: Callable[..., Any]) -> list[Any]:
    """Pictures to train on, in the default type.

    Their boxes lie on a grid: detectron2 keeps boxes in float32, which then holds sizes exactly.

    Args:
        seed: equal seeds give equal pictures.
        make: ``make_picture`` of the benchmark's inputs, which each side finds elsewhere.
    """
    pictures = [make(seed + k, **what) for k, what in enumerate(_TRAINING_PICTURES)]
    return [replace(p, boxes=_on_grid(p.boxes), proposals=_on_grid(p.proposals)) for p in pictures]


def _on_grid(boxes: Tensor) -> Tensor:
    return (boxes / _BOX_STEP_PX).round() * _BOX_STEP_PX


def target_of(picture: Any, annotations: Any) -> Instances:
    """Ground truth of a picture: boxes, ellipses as masks, and DensePose annotations."""
    height, width = picture.image.shape[1:]
    target = Instances((height, width))
    target.gt_boxes = Boxes(picture.boxes)
    target.gt_classes = torch.zeros(len(picture.boxes), dtype=torch.int64)
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    x0, y0, x1, y1 = picture.boxes[..., None, None].unbind(1)
    across = (columns - (x0 + x1) / 2) / (x1 - x0)
    along = (rows - (y0 + y1) / 2) / (y1 - y0)
    target.gt_masks = BitMasks(across.square() + along.square() < 0.25)
    target.gt_densepose = annotations
    return target


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
    model: nn.Module, pictures: Sequence[Any], targets: Sequence[Instances]
) -> dict[str, Tensor]:
    """All losses of a batch and the gradients of their sum with respect to every parameter.

    Proposals are the pictures' own; the random choice among them is the same on both sides.

    Returns:
        ``loss/NAME`` scalars and ``gradient/NAME``.
    """
    model.train()
    torch.manual_seed(0)
    images = model.preprocess_image([{"image": picture.image} for picture in pictures])
    features = model.backbone(images.tensor)
    # Nobody uses the proposals, and choosing them does not work in float64.
    model.proposal_generator.predict_proposals = lambda *_: []
    with EventStorage():
        _, losses = model.proposal_generator(images, features, list(targets))
        proposals = [_proposals(picture) for picture in pictures]
        _, of_boxes = model.roi_heads(images, features, proposals, list(targets))
    losses = {**losses, **of_boxes}
    sum(losses.values()).backward()
    found = {f"loss/{name}": value.detach() for name, value in losses.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[f"gradient/{name}"] = parameter.grad
    return found


def _proposals(picture: Any) -> Instances:
    image = Instances(tuple(picture.image.shape[1:]))
    image.proposal_boxes = Boxes(picture.proposals)
    image.objectness_logits = torch.zeros(len(picture.proposals))
    return image


def place_maps(transform: Any, boxes: np.ndarray, side: int) -> Tensor:
    """Maps in which each cell tells its place in the image before the transform.

    Args:
        transform: an affine one; its boxes are the upright ones around the transformed.
        boxes: (N, 4) px, before it.
        side: Z.

    Returns:
        (N, 2, Z, Z) x and y in px, of the boxes in the transformed image.
    """
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin, along_x, along_y = transform.apply_coords(corners)
    back = np.linalg.inv(np.stack([along_x - origin, along_y - origin], axis=1))
    cell = (np.arange(side) + 0.5) / side
    share = np.stack(np.meshgrid(cell, cell), axis=-1)
    around = transform.apply_box(boxes)[:, None, None]
    position = around[..., :2] + share * (around[..., 2:] - around[..., :2])
    return torch.from_numpy(np.moveaxis((position - origin) @ back.T, -1, 1)).float()
