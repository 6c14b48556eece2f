"""What both sides do with a detectron2 model, the same way, and what of it is timed.

Imports nothing of either package that is called ``densepose``.
"""

from __future__ import annotations

import time
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
        # Nobody uses the RPN's proposals, and choosing them does not work in float64.
        model.proposal_generator.predict_proposals = lambda *_: []
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
    # Targets start where a loader leaves them, in the memory of the CPU.
    targets = [target.to(model.device) for target in targets]
    images = model.preprocess_image([{"image": picture.image} for picture in pictures])
    features = model.backbone(images.tensor)
    with EventStorage():
        _, losses = model.proposal_generator(images, features, targets)
        proposals = [inputs.proposals_of(picture).to(model.device) for picture in pictures]
        _, of_boxes = model.roi_heads(images, features, proposals, targets)
    return {**losses, **of_boxes}


class StageClock:
    """Adds up the seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

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


def timed(name: str, work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of work of a single stage."""
    clock = StageClock()
    with clock.stage(name):
        work()
    return clock.seconds


@torch.no_grad()
def infer(
    model: nn.Module, picture: Picture, convert: Callable[[Instances], Any]
) -> dict[str, float]:
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
        people = inputs.detections_of(picture).to(model.device)
        (found,) = model.roi_heads.forward_with_given_boxes(features, [people])
    with clock.stage("chart output to result"):
        convert(found)
    return clock.seconds


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pictures: Sequence[Picture],
    targets: Sequence[Instances],
    *,
    half: bool,
) -> dict[str, float]:
    """Losses of all heads, gradients and an update; proposals are the pictures' own.

    With ``half`` as trainers do: float16 with scaled losses on a GPU, bfloat16 on a CPU.
    """
    clock = StageClock()
    on_gpu = model.device.type == "cuda"
    kind = torch.float16 if on_gpu else torch.bfloat16
    scaler = torch.amp.GradScaler(init_scale=256.0, enabled=half and on_gpu)
    with clock.stage("forward"):
        with torch.autocast(model.device.type, kind, enabled=half):
            losses = losses_of(model, pictures, targets)
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


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum whose rate is so small that the random model stays as it is."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(parameters, lr=1e-9, momentum=0.9)
