"""What both sides do with a model, the same way: predict for given boxes, one training step.

Imports nothing of either package that is called ``densepose``; a Picture is the benchmark's.

Shapes: N people of all pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
PICTURE = {"size": (192, 256), "people": 2, "near": 2, "anywhere": 12}


def give_norms_values(model: nn.Module) -> None:
    """Random statistics and weights for all norms that have any: those at the start say nothing."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
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
