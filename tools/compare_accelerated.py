#!/usr/bin/env python
"""Measure how far a model with the CPU operators is from the same model in plain torch.

    python tools/compare_accelerated.py [--config densepose_rcnn_R_50_FPN_s1x] [--seeds 0 1 2 3]

One training step (2 images of 512x512, 12 people proposed near each) and the detections of one
image. The yardstick of the gradients is plain torch itself in the channels_last memory format. The
status is 1 when a detection differs.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from detectron2.config import CfgNode  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402

from densepose.benchmark.both_sides import inputs, steps  # noqa: E402
from densepose.benchmark.our_side import annotations_of  # noqa: E402
from densepose.config import (
    find_config,  # noqa: E402
    load_config,  # noqa: E402
)
from densepose.modeling import register_all  # noqa: E402
from densepose.ops.accelerate import accelerate  # noqa: E402

MATCH_PX = 0.01


def gradients(model: nn.Module, pictures: list[inputs.Picture]) -> tuple[dict, dict[str, Tensor]]:
    """Losses and gradients of one step."""
    model.train().zero_grad()
    kept: dict[str, Tensor] = {}

    class Keep:  # in the optimiser's place: takes the gradients before they are cleared
        def step(self) -> None:
            kept.update(
                {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            )

        def zero_grad(self) -> None:
            model.zero_grad()

    targets = [steps.training_target(picture, annotations_of(picture)) for picture in pictures]
    return steps.train_step(model, Keep(), pictures, targets), kept


def furthest(got: dict[str, Tensor], want: dict[str, Tensor]) -> tuple[float, float]:
    """Largest and median over parameters of the difference's norm over the gradient's norm."""
    found = torch.stack([(got[n] - g).norm() / g.norm().clamp(min=1e-12) for n, g in want.items()])
    return float(found.max()), float(found.median())


@torch.no_grad()
def detections(model: nn.Module, picture: inputs.Picture) -> tuple[Tensor, Tensor]:
    """Boxes and scores, best first."""
    (found,) = model.eval().inference([{"image": picture.image}], do_postprocess=False)
    return found.pred_boxes.tensor, found.scores


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default="densepose_rcnn_R_50_FPN_s1x", help="a shipped config")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="of the weights (default 0)"
    )
    args = parser.parse_args()
    register_all()
    opts = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.5"]
    plain_config = load_config(find_config(args.config), opts)
    return int(not all([compare(args.config, plain_config, seed) for seed in args.seeds]))


def compare(name: str, cfg: CfgNode, seed: int) -> bool:
    """Print how far gradients and detections are apart; whether the detections match."""
    torch.manual_seed(seed)
    plain = build_model(cfg)
    steps.calm_frozen_norms(plain)
    last, fast = copy.deepcopy(plain).to(memory_format=torch.channels_last), copy.deepcopy(plain)
    print(f"{name}, seed {seed}: {accelerate(fast)}")
    pictures = [inputs.make_picture(k, (512, 512), 3, near=9, anywhere=200) for k in range(2)]
    _, want = gradients(plain, pictures)
    for form, model in (("channels_last", last), ("accelerated", fast)):
        largest, median = furthest(gradients(model, pictures)[1], want)
        print(
            f"gradients, {form + ':':14} at most {largest:.1e} of their norm, median {median:.1e}"
        )
    (boxes, scores), (fast_boxes, fast_scores) = (detections(m, pictures[0]) for m in (plain, fast))
    same = len(boxes) == len(fast_boxes)
    apart_px = (boxes - fast_boxes).abs().amax(1) if same else torch.tensor([float("inf")])
    print(
        f"detections: {len(boxes)} and {len(fast_boxes)}, boxes at most {apart_px.max():.1e} px"
        f" apart, scores {(scores - fast_scores).abs().max() if same else float('nan'):.1e}"
    )
    return bool((apart_px <= MATCH_PX).all())


if __name__ == "__main__":
    sys.exit(main())
