"""Measure how far this package's model is from detectron2's DensePose on equal inputs.

    python tools/compare_with_detectron2.py --detectron2 PATH_OF_A_CHECKOUT

Both packages are called ``densepose``: each runs in a process of its own and leaves arrays in a
temporary folder. Nothing of the checkout is imported here or kept. The detectron2 library itself
is the installed one in both processes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = (
    "densepose_rcnn_R_50_FPN_s1x",
    "densepose_rcnn_R_50_FPN_s1x_legacy",
    "densepose_rcnn_R_50_FPN_WC1_s1x",
    "densepose_rcnn_R_50_FPN_WC2M_s1x",
)
IMAGE_SIZE = (256, 320)  # height, width in px
PEOPLE = (3, 2)  # in each of two images
POINTS = 100  # of each person
MAPS = ("coarse_logits", "part_logits", "u", "v")


def make_inputs(seed: int) -> dict[str, Any]:
    """Random pyramid levels, people and proposals around them; the same in every process."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    height, width = IMAGE_SIZE
    features = {
        f"p{level}": uniform(len(PEOPLE), 256, height >> level, width >> level) - 0.5
        for level in (2, 3, 4, 5)
    }
    images = []
    for count in PEOPLE:
        corner = uniform(count, 2) * torch.tensor([120.0, 60.0])
        size = 40 + uniform(count, 2) * torch.tensor([150.0, 150.0])
        boxes = torch.cat([corner, corner + size], dim=1).float()
        person = torch.arange(count).repeat_interleave(3)
        jitter = (uniform(len(person), 4) - 0.5) * 0.3 * size[person].repeat(1, 2)
        proposals = torch.cat([boxes, boxes[person] + jitter])
        coarse = torch.nn.functional.interpolate(
            uniform(count, 15, 8, 8), (256, 256), mode="bicubic"
        )
        images.append(
            {
                "boxes": boxes,
                "proposals": proposals,
                "person": torch.cat([torch.arange(count), person]),
                "background": uniform(len(proposals)) < 0.1,
                "points": uniform(count, POINTS, 2) * 256,
                "part": torch.randint(1, 25, (count, POINTS), generator=generator),
                "uv": uniform(count, POINTS, 2),
                "coarse": coarse.argmax(dim=1),
            }
        )
    return {"features": features, "images": images}


def sampled_proposals(image: dict[str, Tensor]) -> Any:
    """Labelled proposals of one image as detectron2's sampling leaves them."""
    from detectron2.structures import Boxes, Instances

    sampled = Instances(IMAGE_SIZE)
    sampled.proposal_boxes = Boxes(image["proposals"])
    sampled.gt_boxes = Boxes(image["boxes"][image["person"]])
    sampled.gt_classes = image["background"].long()  # one class: 1 is background
    return sampled


def detections(image: dict[str, Tensor]) -> Any:
    """Detections of one image: the people's boxes."""
    from detectron2.structures import Boxes, Instances

    found = Instances(IMAGE_SIZE)
    found.pred_boxes = Boxes(image["boxes"])
    found.pred_classes = torch.zeros(len(image["boxes"]), dtype=torch.int64)
    found.scores = torch.linspace(1, 0.5, len(image["boxes"]))
    return found


def losses_and_gradients(
    model: Any, features: dict[str, Tensor], losses: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Loss values; gradients of their sum with respect to branch and features."""
    sum(losses.values()).backward()
    found = {f"loss/{name}": value.detach().reshape(1) for name, value in losses.items()}
    for name, parameter in model.roi_heads.named_parameters():
        if parameter.grad is not None:
            found[f"gradient/{name}"] = parameter.grad
    for name, level in features.items():
        found[f"gradient/{name}"] = level.grad
    return found


def run_upstream(
    cfg_path: str, opts: list[str], inputs: dict[str, Any]
) -> dict[str, dict[str, Tensor]]:
    """Weights and results of the checkout's model; ``densepose`` must be the checkout's."""
    if importlib.util.find_spec("av") is None:
        # Only the checkout's video data sets need PyAV; its import just has to succeed.
        sys.modules["av"] = types.SimpleNamespace(frame=types.SimpleNamespace(Frame=object))
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    from densepose import add_densepose_config
    from densepose.converters import ToChartResultConverter
    from densepose.structures import DensePoseDataRelative, DensePoseList
    from densepose.structures.chart_result import quantize_densepose_chart_result

    cfg = get_cfg()
    add_densepose_config(cfg)
    cfg.merge_from_file(cfg_path)
    cfg.merge_from_list([*opts, "MODEL.DEVICE", "cpu"])
    model = build_model(cfg)
    model.train()
    features = {name: level.requires_grad_() for name, level in inputs["features"].items()}
    sampled = []
    for image in inputs["images"]:
        people = [
            DensePoseDataRelative(
                {
                    "dp_x": image["points"][k, :, 0],
                    "dp_y": image["points"][k, :, 1],
                    "dp_I": image["part"][k].to(image["uv"].dtype),
                    "dp_U": image["uv"][k, :, 0],
                    "dp_V": image["uv"][k, :, 1],
                    "dp_masks": image["coarse"][k].float(),
                }
            )
            for k in range(len(image["boxes"]))
        ]
        proposals = sampled_proposals(image)
        people = DensePoseList(people, proposals.gt_boxes[: len(people)], IMAGE_SIZE)
        proposals.gt_densepose = people[image["person"]]
        sampled.append(proposals)
    losses = model.roi_heads._forward_densepose(features, sampled)
    results = losses_and_gradients(model, features, losses)

    model.eval()
    with torch.no_grad():
        found = model.roi_heads.forward_with_given_boxes(
            inputs["features"], [detections(image) for image in inputs["images"]]
        )
    for number, image in enumerate(found):
        output = image.pred_densepose
        maps = (output.coarse_segm, output.fine_segm, output.u, output.v)
        results.update({f"map/{name}/{number}": m for name, m in zip(MAPS, maps, strict=True)})
        for person in range(len(image)):
            boxes = image.pred_boxes[person]
            one = type(output)(
                **{key: m[[person]].float() for key, m in vars(output).items() if m is not None}
            )
            result = ToChartResultConverter.convert(one, boxes)
            iuv = quantize_densepose_chart_result(result).labels_uv_uint8
            results[f"iuv/{number}/{person}"] = iuv.contiguous()
    return {"weights": model.state_dict(), "results": results}


def run_ours(
    cfg_path: str, opts: list[str], inputs: dict[str, Any], weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Results of this package's model with the given weights, loaded strictly."""
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, Instances

    from densepose.config import check_config, load_config
    from densepose.modeling.inference import instances_to_prediction
    from densepose.structures.annotations import DensePoseAnnotations

    cfg = load_config(cfg_path, [*opts, "MODEL.DEVICE", "cpu"])
    check_config(cfg)
    model = build_model(cfg)
    model.load_state_dict(weights, strict=True)
    model.train()
    features = {name: level.requires_grad_() for name, level in inputs["features"].items()}
    sampled, targets = [], []
    for image in inputs["images"]:
        count = len(image["boxes"])
        target = Instances(IMAGE_SIZE, gt_boxes=Boxes(image["boxes"]))
        target.gt_densepose = DensePoseAnnotations(
            boxes_xyxy_px=image["boxes"],
            coarse=image["coarse"].to(torch.uint8),
            has_masks=torch.ones(count, dtype=torch.bool),
            points_grid=image["points"].flatten(0, 1),
            part=image["part"].flatten(),
            uv=image["uv"].flatten(0, 1),
            owner=torch.arange(count).repeat_interleave(POINTS),
        )
        proposals = sampled_proposals(image)
        proposals.gt_person = image["person"]
        targets.append(target)
        sampled.append(proposals)
    losses = model.roi_heads.losses_of_matches(features, sampled, targets)
    results = losses_and_gradients(model, features, losses)

    model.eval()
    with torch.no_grad():
        found = model.roi_heads.forward_with_given_boxes(
            inputs["features"], [detections(image) for image in inputs["images"]]
        )
    for number, image in enumerate(found):
        full = image.pred_densepose.upsampled()
        results.update({f"map/{name}/{number}": getattr(full, name) for name in MAPS})
        prediction = instances_to_prediction(image, number)
        for person, (labels, uv) in enumerate(zip(prediction.labels, prediction.uv, strict=True)):
            iuv = torch.from_numpy(np.concatenate([labels[None], uv]))
            results[f"iuv/{number}/{person}"] = iuv
    return results


def compare(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[tuple[str, str]]:
    """One line for each kind of result: what, and how far apart."""
    if set(ours) != set(theirs):
        return [("results present on one side only", ", ".join(sorted(set(ours) ^ set(theirs))))]
    rows = []
    for name in sorted(n for n in ours if n.startswith("loss/")):
        a, b = ours[name].item(), theirs[name].item()
        rows.append((name, f"{a:.7g} / {b:.7g}, relative {abs(a - b) / max(abs(b), 1e-12):.1e}"))
    gradients = [n for n in ours if n.startswith("gradient/")]
    largest = [
        ((ours[n] - theirs[n]).abs().max() / theirs[n].abs().max().clamp(min=1e-12)).item()
        for n in gradients
    ]
    distance = sum((ours[n] - theirs[n]).square().sum().item() for n in gradients)
    length = sum(theirs[n].square().sum().item() for n in gradients)
    text = f"relative L2 {(distance / length) ** 0.5:.1e}, at most {max(largest):.1e} of a maximum"
    rows.append((f"{len(gradients)} gradients", text))
    for kind in MAPS:
        names = [n for n in ours if n.startswith(f"map/{kind}/")]
        worst = max((ours[n] - theirs[n]).abs().max().item() for n in names)
        largest = max(theirs[n].abs().max().item() for n in names)
        rows.append((f"map {kind}", f"max |difference| {worst:.1e}, max |value| {largest:.3g}"))
    pairs = [(ours[n].int(), theirs[n].int()) for n in ours if n.startswith("iuv/")]
    pixels = sum(a[0].numel() for a, _ in pairs)
    labels = sum((a[0] != b[0]).sum().item() for a, b in pairs)
    agree = [(a[1:] - b[1:]).abs()[:, a[0] == b[0]] for a, b in pairs]
    rows.append(("decoded labels", f"{labels} of {pixels} pixels differ"))
    steps = max(d.max().item() for d in agree)
    changed = sum((d > 0).sum().item() for d in agree)
    rows.append(
        ("decoded uv", f"{changed} of {2 * pixels} values differ, by at most {steps} / 255")
    )
    return rows


def run_in_upstream_process(args: argparse.Namespace, config: str, folder: str) -> None:
    """Run this file with ``densepose`` taken from the checkout."""
    project = args.detectron2.resolve() / "projects" / "DensePose"
    if not (project / "densepose" / "config.py").is_file():
        raise SystemExit(
            f"{args.detectron2}: no projects/DensePose in it; give the folder of a detectron2"
            " checkout"
        )
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, "--detectron2", str(args.detectron2.resolve())]
    command += ["--upstream-only", folder, "--config", config, "--seed", str(args.seed)]
    command += ["--double"] * args.double + args.opts
    subprocess.run(command, env=environment, check=True, cwd=folder)


def write_names(path: str, weights: dict[str, Tensor]) -> None:
    """Names and shapes of the parameters outside the backbone, one a line."""
    lines = [
        f"{name} {'x'.join(map(str, tensor.shape))}"
        for name, tensor in sorted(weights.items())
        if not name.startswith("backbone.")
    ]
    Path(path).write_text("\n".join(lines) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--detectron2", required=True, type=Path, help="folder of a checkout of detectron2")
    add("--config", action="append", help=f"name without .yaml; default: {', '.join(CONFIGS)}")
    add("--seed", type=int, default=0)
    add("--double", action="store_true", help="in float64: what remains is no rounding")
    add("--write-names", metavar="FOLDER", help="also write parameter names and shapes")
    add("--upstream-only", help=argparse.SUPPRESS)
    add("opts", nargs="*", help="KEY VALUE pairs for both configs, for example a narrower head")
    return parser.parse_args()


def main() -> None:
    """Compare the configs one after another and print a table for each."""
    args = parse_arguments()
    if args.double:
        torch.set_default_dtype(torch.float64)
    configs = args.detectron2.resolve() / "projects" / "DensePose" / "configs"
    if args.upstream_only:
        torch.manual_seed(args.seed)
        path = str(configs / f"{args.config[0]}.yaml")
        found = run_upstream(path, args.opts, make_inputs(args.seed))
        for name, tensors in found.items():
            tensors = {key: value.detach().contiguous() for key, value in tensors.items()}
            save_file(tensors, os.path.join(args.upstream_only, f"{name}.safetensors"))
        return
    sys.path.insert(0, str(ROOT))
    for config in args.config or CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            run_in_upstream_process(args, config, folder)
            weights = load_file(os.path.join(folder, "weights.safetensors"))
            theirs = load_file(os.path.join(folder, "results.safetensors"))
        path = str(configs / f"{config}.yaml")
        ours = run_ours(path, args.opts, make_inputs(args.seed), weights)
        print(f"\n{config}: {len(weights)} tensors loaded strictly, seed {args.seed}", flush=True)
        for name, text in compare(ours, theirs):
            print(f"  {name:28s} {text}", flush=True)
        if args.write_names:
            write_names(os.path.join(args.write_names, f"{config}.txt"), weights)


if __name__ == "__main__":
    main()
