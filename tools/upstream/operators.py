"""How far a model with the CPU operators is from the same model in plain torch."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from densepose.ops.accelerate import accelerate

from . import inputs, our_side, steps
from .inputs import Case, Picture

MATCH_PX = 0.01


def compare(case: Case) -> tuple[str, bool]:
    """One training step (2 images, 12 people proposed near each) and the detections of an image.

    The yardstick of the gradients is plain torch itself in the channels_last memory format.

    Returns:
        A few lines of text, and whether the detections match.
    """
    plain = our_side.seeded_model(case)
    last, fast = copy.deepcopy(plain).to(memory_format=torch.channels_last), copy.deepcopy(plain)
    swapped = ", ".join(f"{count} {name}" for name, count in accelerate(fast).items() if count)
    lines = [f"{case.config}, seed {case.seed}: {swapped}"]
    pictures = [inputs.make_picture(k, (512, 512), 3, near=9, anywhere=200) for k in range(2)]
    want = _gradients(plain, pictures)
    for form, model in (("channels_last", last), ("accelerated", fast)):
        got = _gradients(model, pictures)
        apart = torch.stack(
            [(got[n] - g).norm() / g.norm().clamp(min=1e-12) for n, g in want.items()]
        )
        lines.append(f"gradients, {form}: at most {apart.max():.1e}, median {apart.median():.1e}")
    (boxes, scores), (fast_boxes, fast_scores) = (_detect(m, pictures[0]) for m in (plain, fast))
    same = len(boxes) == len(fast_boxes)
    apart_px = (boxes - fast_boxes).abs().amax(1) if same else torch.tensor([float("inf")])
    scores_apart = (scores - fast_scores).abs().max() if same else float("nan")
    lines.append(
        f"detections: {len(boxes)} and {len(fast_boxes)}, boxes at most {apart_px.max():.1e} px"
        f" apart, scores {scores_apart:.1e}"
    )
    return "\n".join(lines), bool((apart_px <= MATCH_PX).all())


def _gradients(model: nn.Module, pictures: list[Picture]) -> dict[str, Tensor]:
    targets = [inputs.target_of(p, our_side.annotations_of(p)) for p in pictures]
    model.zero_grad()
    sum(steps.losses_of(model, pictures, targets).values()).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@torch.no_grad()
def _detect(model: nn.Module, picture: Picture) -> tuple[Tensor, Tensor]:
    """Boxes and scores, best first."""
    (found,) = model.eval().inference([{"image": picture.image}], do_postprocess=False)
    return found.pred_boxes.tensor, found.scores
