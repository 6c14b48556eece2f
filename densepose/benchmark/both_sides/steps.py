"""The timed steps of a detectron2 model with a DensePose branch, whoever wrote the branch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.layers import FrozenBatchNorm2d
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from .inputs import Picture

Seconds = dict[str, float]


class StageClock:
    """Adds up the seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block, to the end of what it left to the GPU."""
        _wait_for_gpu()
        start = time.perf_counter()
        yield
        _wait_for_gpu()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _wait_for_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def calm_frozen_norms(model: nn.Module) -> None:
    """Halve what frozen norms let through: random weights would make activations grow else."""
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.fill_(0.5)


def people_of(picture: Picture, device: torch.device) -> Instances:
    """The people as detections."""
    found = Instances(tuple(picture.image.shape[1:]))
    found.pred_boxes = Boxes(picture.boxes)
    found.pred_classes = torch.zeros(len(picture.boxes), dtype=torch.int64)
    found.scores = torch.linspace(1, 0.5, len(picture.boxes))
    return found.to(device)


def precision(device: torch.device, *, half: bool) -> Any:
    """Autocast as trainers use it: float16 on a GPU, bfloat16 on a CPU; or none."""
    kind = torch.float16 if device.type == "cuda" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=half)


@torch.no_grad()
def infer(model: nn.Module, picture: Picture, convert: Callable[[Instances], Any]) -> Seconds:
    """Detect people, then predict DensePose for the picture's own boxes and convert the result.

    The result ends in the memory of the CPU, wherever the model is.

    Random weights detect nothing useful: what they detect is thrown away, so that every
    contestant works on the same number of people of the same size.
    """
    clock = StageClock()
    with clock.stage("backbone and FPN"):
        images = model.preprocess_image([{"image": picture.image}])
        features = model.backbone(images.tensor)
    with clock.stage("RPN"):
        proposals, _ = model.proposal_generator(images, features, None)
    with clock.stage("box head"):
        model.roi_heads._forward_box(features, proposals)
    with clock.stage("DensePose branch"):
        (found,) = model.roi_heads.forward_with_given_boxes(
            features, [people_of(picture, model.device)]
        )
    with clock.stage("chart output to result"):
        convert(found)
    return clock.seconds


def training_target(picture: Picture, annotations: Any) -> Instances:
    """Ground truth of one picture."""
    target = Instances(tuple(picture.image.shape[1:]))
    target.gt_boxes = Boxes(picture.boxes)
    target.gt_classes = torch.zeros(len(picture.boxes), dtype=torch.int64)
    target.gt_densepose = annotations
    return target


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pictures: list[Picture],
    targets: list[Instances],
    *,
    half: bool = False,
) -> Seconds:
    """Losses of all heads, gradients and an update; proposals are the pictures' own.

    Targets start where a loader leaves them, in the memory of the CPU. With ``half`` losses are
    computed in half precision where autocast does, and scaled for float16.
    """
    clock = StageClock()
    scaler = torch.amp.GradScaler(init_scale=256.0, enabled=half and model.device.type == "cuda")
    torch.manual_seed(0)  # the sampling of anchors and proposals
    with EventStorage():
        with clock.stage("forward"):
            with precision(model.device, half=half):
                losses = _losses(model, pictures, targets)
        with clock.stage("backward"):
            total = sum(losses.values())
            scaler.scale(total).backward()
        with clock.stage("update"):
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    if not bool(torch.isfinite(total)):
        raise FloatingPointError(f"the losses are {losses}: not a training step to measure")
    return clock.seconds


def _losses(
    model: nn.Module, pictures: list[Picture], targets: list[Instances]
) -> dict[str, Tensor]:
    images = model.preprocess_image([{"image": picture.image} for picture in pictures])
    targets = [target.to(model.device) for target in targets]
    features = model.backbone(images.tensor)
    _, losses = model.proposal_generator(images, features, targets)
    proposals = []
    for picture in pictures:
        image = Instances(tuple(picture.image.shape[1:]))
        image.proposal_boxes = Boxes(picture.proposals)
        image.objectness_logits = torch.zeros(len(picture.proposals))
        proposals.append(image.to(model.device))
    _, of_boxes = model.roi_heads(images, features, proposals, targets)
    return {**losses, **of_boxes}


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum whose rate is so small that the random model stays as it is."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(parameters, lr=1e-9, momentum=0.9)
