"""Compare samplers of pseudo-labels and category maps with those of detectron2's DensePose.

    python tools/compare_bootstrapping_with_detectron2.py --detectron2 PATH_OF_A_CHECKOUT

Both packages are called ``densepose``: each runs in a process of its own on the same generated
predictions and annotation files, and leaves its results in a temporary folder. Exit status 0 when
everything that is not drawn at random is equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
SAMPLERS = {
    "densepose_uniform": None,
    "densepose_UV_confidence": "sigma_2",
    "densepose_fine_segm_confidence": "fine_segm_confidence",
    "densepose_coarse_segm_confidence": "coarse_segm_confidence",
}
IMAGE_SIZE = (120, 160)  # height, width in px
BOXES = [[3.3, 4.6, 24.9, 34.2], [50.0, 10.0, 74.5, 45.7], [100.1, 30.9, 131.8, 71.5]]
SIDE = 112  # of the predictor's maps
ALL = 10**6  # so many points of a part that every pixel is taken
MANY, FEW = 20, 8  # points of a part
DRAWS = 250  # of FEW points, whose union is compared: every pixel that can be drawn is in it
CATEGORY_RULES = {
    "animals_like_coco": ([1, 16, 17, 25], {"16": 1, "17": 1, "25": 1}),
    "animals_like_lvis": ([3, 225, 1202, 77], {"225": 77, "1202": 3}),
}
Draw = Callable[[str, int, int], list[list[list[float]]]]  # sampler, points of a part, seed


def make_maps(seed: int) -> dict[str, Tensor]:
    """Smooth random maps of the people in BOXES; the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    count = len(BOXES)
    channels = {"coarse_segm": 2, "fine_segm": 25, "u": 25, "v": 25, "sigma_2": 25}
    channels |= {"fine_segm_confidence": 1, "coarse_segm_confidence": 1}
    maps = {}
    for name, width in channels.items():
        low = torch.randn(count, width, 12, 12, generator=generator)
        maps[name] = torch.nn.functional.interpolate(low, (SIDE, SIDE), mode="bicubic")
    maps["coarse_segm"][:, 1] += 0.5
    maps["u"], maps["v"] = maps["u"] * 0.3 + 0.5, maps["v"] * 0.3 + 0.5  # some leave [0, 1]
    return maps


def detections() -> Any:
    """Detections of one image."""
    from detectron2.structures import Boxes, Instances

    found = Instances(IMAGE_SIZE)
    found.pred_boxes = Boxes(torch.tensor(BOXES))
    found.pred_classes = torch.zeros(len(BOXES), dtype=torch.int64)
    found.scores = torch.ones(len(BOXES))
    return found


def write_annotations(folder: Path, seed: int) -> dict[str, Path]:
    """COCO files with 80 and with 1203 categories, and one of people alone."""
    rng = random.Random(seed)
    kinds = {
        "animals_like_coco": list(range(1, 91)),
        "animals_like_lvis": list(range(1, 1204)),
        "people": [1],
    }
    paths = {}
    for name, ids in kinds.items():
        images = [
            {"id": 7 * n, "file_name": f"{n}.jpg", "height": 90, "width": 99} for n in range(1, 201)
        ]
        kept = CATEGORY_RULES.get(name, ([], {}))[0]
        annotations = []
        for image in images:
            for _ in range(rng.randrange(4)):
                number = len(annotations) + 1
                x, y = rng.uniform(0, 60), rng.uniform(0, 60)
                w, h = rng.uniform(1, 30), rng.uniform(1, 30)
                box = [round(value, 2) for value in (x, y, w, h)]
                corners = [x, y, x + w, y, x + w, y + h]
                category = rng.choice(kept) if kept and rng.random() < 0.5 else rng.choice(ids)
                one = {"id": number, "image_id": image["id"], "category_id": category, "bbox": box}
                annotations.append({**one, "iscrowd": 0, "area": w * h, "segmentation": [corners]})
        categories = [{"id": n, "name": f"kind {n}" if n > 1 else "person"} for n in ids]
        content = {"images": images, "annotations": annotations, "categories": categories}
        paths[name] = folder / f"{name}.json"
        paths[name].write_text(json.dumps(content))
        for image in images:
            (folder / image["file_name"]).touch()
    return paths


def points_of(annotations: dict[str, Tensor]) -> list[list[float]]:
    """x, y, part, u, v of each point of a person, sorted."""
    columns = [annotations[name].double().tolist() for name in ("x", "y", "i", "u", "v")]
    return sorted(map(list, zip(*columns, strict=True)))


def collect(draw: Draw, masks: dict[str, Tensor], categories: Any) -> dict[str, Any]:
    """Everything that is compared, as plain values."""
    results: dict[str, Any] = {"categories": categories}
    results["all pixels"] = draw("densepose_uniform", ALL, 0)
    for sampler in SAMPLERS:
        results[f"{sampler} many"] = draw(sampler, MANY, 0)
        union: list[set[tuple[float, ...]]] = [set() for _ in BOXES]
        for seed in range(DRAWS):
            few = draw(sampler, FEW, seed)
            for seen, points in zip(union, few, strict=True):
                seen.update(tuple(point[:3]) for point in points)
            results[f"{sampler} few"] = [_count_by_part(points) for points in few]
        results[f"{sampler} union"] = [sorted(map(list, seen)) for seen in union]
    results["masks"] = {name: mask.long().tolist() for name, mask in masks.items()}
    return results


def _count_by_part(points: list[list[float]]) -> list[list[float]]:
    parts = sorted({point[2] for point in points})
    return [[part, sum(point[2] == part for point in points)] for part in parts]


def run_upstream(folder: Path, seed: int) -> dict[str, Any]:
    """Results of the checkout; ``densepose`` must be the checkout's."""
    from detectron2.config import CfgNode, get_cfg

    from densepose import add_densepose_config
    from densepose.data import build
    from densepose.data.datasets.coco import CocoDatasetInfo, register_dataset
    from densepose.structures import DensePoseChartPredictorOutput
    from densepose.structures import decorate_predictor_output_class_with_confidences as decorate

    cfg = get_cfg()
    add_densepose_config(cfg)
    maps = make_maps(seed)
    output = decorate(DensePoseChartPredictorOutput)(
        **maps, sigma_1=None, kappa_u=None, kappa_v=None
    )

    def sampled(sampler: str, per_part: int, draw_seed: int) -> Any:
        random.seed(draw_seed)
        settings = CfgNode({"TYPE": sampler, "COUNT_PER_CLASS": per_part})
        found = detections()
        found.pred_densepose = output
        sampling = build.build_data_sampler(cfg, settings, None)
        return sampling([{"instances": found}])[0]["instances"]

    def draw(sampler: str, per_part: int, draw_seed: int) -> list[list[list[float]]]:
        people = sampled(sampler, per_part, draw_seed).gt_densepose.densepose_datas
        return [points_of(vars(person)) for person in people]

    one = sampled("densepose_uniform", 1, 0)
    segm = torch.stack([person.segm for person in one.gt_densepose.densepose_datas])
    masks = {"part masks": segm, "instance masks": one.gt_masks.tensor}

    for name in ("animals_like_coco", "animals_like_lvis", "people"):
        register_dataset(CocoDatasetInfo(name, str(folder), str(folder / f"{name}.json")))
    set_rules(cfg)
    build._add_category_whitelists_to_metadata(cfg)
    build._add_category_maps_to_metadata(cfg)
    keep = build._get_train_keep_instance_predicate(cfg)
    records = build.combine_detection_dataset_dicts(cfg.DATASETS.TRAIN, keep)
    return collect(draw, masks, plain_records(records))


def run_ours(folder: Path, seed: int) -> dict[str, Any]:
    """Results of this package."""
    from densepose.config import get_densepose_cfg
    from densepose.data.bootstrap.point_sampling import sample_points
    from densepose.data.bootstrap.pseudo_labels import pseudo_truth
    from densepose.data.registration import register_from_config
    from densepose.data.training_records import training_records
    from densepose.modeling.body_pixels import body_pixels
    from densepose.structures.chart_output import ChartOutput

    maps = make_maps(seed)
    output = ChartOutput(
        coarse_logits=maps["coarse_segm"],
        part_logits=maps["fine_segm"],
        u=maps["u"],
        v=maps["v"],
        log_variance=maps["sigma_2"],
        part_confidence=maps["fine_segm_confidence"],
        coarse_confidence=maps["coarse_segm_confidence"],
    )
    pixels = {name: body_pixels(output, torch.tensor(BOXES), name) for name in SAMPLERS.values()}

    def draw(sampler: str, per_part: int, draw_seed: int) -> list[list[list[float]]]:
        own, generator = pixels[SAMPLERS[sampler]], torch.Generator().manual_seed(draw_seed)
        share = None if SAMPLERS[sampler] is None else 0.5
        chosen = sample_points(own, per_part, best_share=share, generator=generator)
        truth = pseudo_truth(own, chosen, torch.zeros(len(BOXES)), IMAGE_SIZE, use_masks=False)
        people = truth.gt_densepose
        table = {"i": people.part, "x": people.points_grid[:, 0], "y": people.points_grid[:, 1]}
        table |= {"u": people.uv[:, 0], "v": people.uv[:, 1]}
        owners = [people.owner == person for person in range(len(BOXES))]
        return [points_of({k: column[own] for k, column in table.items()}) for own in owners]

    nothing = torch.zeros(0, dtype=torch.int64)
    truth = pseudo_truth(pixels[None], nothing, torch.zeros(3), IMAGE_SIZE, use_masks=True)
    masks = {"part masks": truth.gt_densepose.coarse, "instance masks": truth.gt_masks.tensor}

    cfg = get_densepose_cfg()
    set_rules(cfg)
    cfg.DATASETS.REGISTER = [
        {
            "NAME": name,
            "ANNOTATIONS": str(folder / f"{name}.json"),
            "IMAGES": str(folder),
            "SURFACE": "template",
        }
        for name in cfg.DATASETS.TRAIN
    ]
    register_from_config(cfg)
    return collect(draw, masks, plain_records(training_records(cfg)))


def set_rules(cfg: Any) -> None:
    """Whitelists, maps and names of the generated sets, in either package's config."""
    from detectron2.config import CfgNode

    cfg.DATASETS.TRAIN = (*CATEGORY_RULES, "people")
    cfg.DATASETS.WHITELISTED_CATEGORIES = CfgNode({k: v[0] for k, v in CATEGORY_RULES.items()})
    cfg.DATASETS.CATEGORY_MAPS = CfgNode({k: v[1] for k, v in CATEGORY_RULES.items()})
    cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS = True


def plain_records(records: list[dict[str, Any]]) -> list[Any]:
    """Set, image, and box and class of each annotation."""
    return [
        [record["image_id"], [[p["bbox"], p["category_id"]] for p in record["annotations"]]]
        for record in records
    ]


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Print one line for each result; whether all are equal but for rounding."""
    equal = True
    for name in ours:
        a, b = ours[name], theirs[name]
        if name == "categories":
            same, text = a == b, f"{len(a)} images, {sum(len(r[1]) for r in a)} annotations"
        elif name == "masks":
            differ = {
                kind: int((torch.tensor(a[kind]) != torch.tensor(b[kind])).sum()) for kind in a
            }
            total = {kind: torch.tensor(a[kind]).numel() for kind in a}
            # A pixel where two logits are equal but for rounding may fall to either side.
            same = all(differ[kind] <= 1e-4 * total[kind] for kind in a)
            text = ", ".join(f"{kind}: {differ[kind]} of {total[kind]} pixels differ" for kind in a)
        elif name.endswith(("few", "union")):
            drawn = f"pixels drawn in {DRAWS} draws" if name.endswith("union") else "parts"
            same, text = a == b, f"{sum(map(len, a))} {drawn}, detectron2 {sum(map(len, b))}"
        else:
            # Without a ranking, points are drawn by chance from parts of more than MANY pixels;
            # with one, among the better half, if that has more.
            limit = MANY if "uniform" in name else 2 * MANY
            limit = ALL if name == "all pixels" else limit
            same, text = _compare_points(*(_settled(p, limit, ours["all pixels"]) for p in (a, b)))
        equal &= same
        print(f"{'equal    ' if same else 'DIFFERENT'} {name}: {text}")
    return equal


def _settled(people: list[Any], limit: int, everything: list[Any]) -> list[Any]:
    """Points of the parts that have at most ``limit`` pixels: nothing of them is left to chance."""
    kept = []
    for points, pixels in zip(people, everything, strict=True):
        size = dict(_count_by_part(pixels))
        kept.append([point for point in points if size.get(point[2], 0) <= limit])
    return kept


def _compare_points(ours: list[Any], theirs: list[Any]) -> tuple[bool, str]:
    ours, theirs = sum(ours, []), sum(theirs, [])
    if [point[:3] for point in ours] != [point[:3] for point in theirs]:
        return False, f"{len(ours)} and {len(theirs)} points at different places"
    steps = [
        abs(a - b) for p, q in zip(ours, theirs, strict=True) for a, b in zip(p, q, strict=True)
    ]
    text = f"{len(ours)} points at the same places, u and v differ by {max(steps):.1e} at most"
    return max(steps) < 1e-5, text


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detectron2", type=Path, required=True, help="checkout of detectron2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--upstream-only", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Run both and compare."""
    args = parse_arguments()
    if args.upstream_only:
        found = run_upstream(args.upstream_only, args.seed)
        (args.upstream_only / "theirs").write_text(json.dumps(found))
        return 0
    project = args.detectron2.resolve() / "projects" / "DensePose"
    if not (project / "densepose" / "config.py").is_file():
        raise SystemExit(f"{args.detectron2}: no projects/DensePose in it; give a checkout")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_annotations(folder, args.seed)
        environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, "--detectron2", str(args.detectron2.resolve())]
        command += ["--upstream-only", name, "--seed", str(args.seed)]
        subprocess.run(command, env=environment, check=True, cwd=name)
        theirs = json.loads((folder / "theirs").read_text())
        sys.path.insert(0, str(ROOT))
        ours = json.loads(json.dumps(run_ours(folder, args.seed)))
    return 0 if compare(ours, theirs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
