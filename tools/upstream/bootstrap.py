"""Samplers of pseudo-labels and category maps of both packages; imports neither.

Both sides get the same generated predictions and annotation files.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances

SAMPLERS = {
    "densepose_uniform": None,
    "densepose_UV_confidence": "sigma_2",
    "densepose_fine_segm_confidence": "fine_segm_confidence",
    "densepose_coarse_segm_confidence": "coarse_segm_confidence",
}
IMAGE_SIZE = (120, 160)  # height, width in px
BOXES = [[3.3, 4.6, 24.9, 34.2], [50.0, 10.0, 74.5, 45.7], [100.1, 30.9, 131.8, 71.5]]
SIDE = 112  # of the predictor's maps
GRID = 256
ALL = 10**6  # so many points of a part that every pixel is taken
MANY, FEW = 20, 8  # points of a part
DRAWS = 80  # of FEW points, whose union is compared: every pixel that can be drawn is in it
# Set -> categories that are kept, and what they become.
CATEGORY_RULES = {
    "animals_like_coco": ([1, 16, 17, 25], {"16": 1, "17": 1, "25": 1}),
    "animals_like_lvis": ([3, 225, 1202, 77], {"225": 77, "1202": 3}),
}
DATASETS = (*CATEGORY_RULES, "people")
Points = list[list[float]]  # x, y, part, u, v of each, sorted
Draw = Callable[[str, int, int], list[Points]]  # sampler, points of a part, seed -> by person


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


def detections() -> Instances:
    """Detections of one image."""
    found = Instances(IMAGE_SIZE)
    found.pred_boxes = Boxes(torch.tensor(BOXES))
    found.pred_classes = torch.zeros(len(BOXES), dtype=torch.int64)
    found.scores = torch.ones(len(BOXES))
    return found


def write_annotations(folder: Path, seed: int) -> None:
    """COCO files of ``DATASETS``, with 90 and with 1203 categories, and one of people alone."""
    rng = random.Random(seed)
    categories_of = {
        "animals_like_coco": range(1, 91),
        "animals_like_lvis": range(1, 1204),
        "people": [1],
    }
    for name, ids in categories_of.items():
        images = [
            {"id": 7 * n, "file_name": f"{n}.jpg", "height": 90, "width": 99} for n in range(1, 201)
        ]
        kept = CATEGORY_RULES.get(name, ([], {}))[0]
        annotations = []
        for image in images:
            for _ in range(rng.randrange(4)):
                x, y, w, h = (rng.uniform(*ends) for ends in ((0, 60), (0, 60), (1, 30), (1, 30)))
                category = rng.choice(kept) if kept and rng.random() < 0.5 else rng.choice(ids)
                annotation = {"id": len(annotations) + 1, "image_id": image["id"], "iscrowd": 0}
                annotation |= {"category_id": category, "area": w * h}
                annotation["bbox"] = [round(value, 2) for value in (x, y, w, h)]
                annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h]]
                annotations.append(annotation)
            (folder / image["file_name"]).touch()
        categories = [{"id": n, "name": f"kind {n}" if n > 1 else "person"} for n in ids]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{name}.json").write_text(json.dumps(content))


def set_rules(cfg: CfgNode) -> None:
    """Whitelists, maps and names of the generated sets, in either package's config."""
    cfg.DATASETS.TRAIN = DATASETS
    cfg.DATASETS.WHITELISTED_CATEGORIES = CfgNode({k: v[0] for k, v in CATEGORY_RULES.items()})
    cfg.DATASETS.CATEGORY_MAPS = CfgNode({k: v[1] for k, v in CATEGORY_RULES.items()})
    cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS = True


def points_of(annotations: dict[str, Tensor]) -> Points:
    """The points of a person from columns x, y, i, u, v."""
    columns = [annotations[name].double().tolist() for name in ("x", "y", "i", "u", "v")]
    return sorted(map(list, zip(*columns, strict=True)))


def collect(
    draw: Draw, masks: dict[str, Tensor], records: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Everything that does not depend on how either side draws at random, in a small form.

    Masks and places of points are COCO's run-length codes; U and V are kept of a fixed choice of
    places, [place, u, v] each.
    """
    everything = draw("densepose_uniform", ALL, 0)
    results: dict[str, Any] = {"all pixels": _condensed(everything)}
    for sampler in SAMPLERS:
        # Without a ranking, points are drawn by chance from parts of more than MANY pixels; with
        # one, among the better half, if that has more.
        limit = MANY if SAMPLERS[sampler] is None else 2 * MANY
        many = draw(sampler, MANY, 0)
        results[f"{sampler} many"] = _condensed(_of_small_parts(many, limit, everything))
        few = [draw(sampler, FEW, seed) for seed in range(DRAWS)]
        results[f"{sampler} few"] = {"parts": [_count_by_part(points) for points in few[0]]}
        of_person = [itertools.chain(*draws) for draws in zip(*few, strict=True)]
        results[f"{sampler} union"] = {"places": [_places(points) for points in of_person]}
    results["masks"] = {name: [_runs(m) for m in mask.numpy()] for name, mask in masks.items()}
    results["categories"] = _condensed_records(records)
    return results


def _condensed(people: list[Points]) -> dict[str, Any]:
    return {
        "parts": [_count_by_part(points) for points in people],
        "places": [_places(points) for points in people],
        "uv": [
            [[_cell(p), round(p[3], 7), round(p[4], 7)] for p in points if _cell(p) % 23 == 0]
            for points in people
        ],
    }


def _cell(point: list[float]) -> int:
    """Cell of the annotation grid, by rows; far from where rounding could change it."""
    x, y = (int(value + 0.0137) for value in point[:2])
    return y * GRID + x


def _count_by_part(points: Points) -> dict[str, int]:
    parts = sorted(int(point[2]) for point in points)
    return {str(part): parts.count(part) for part in sorted(set(parts))}


def _places(points: Iterable[list[float]]) -> str:
    taken = np.zeros(GRID * GRID, bool)
    taken[[_cell(point) for point in points]] = True
    return _runs(taken.reshape(GRID, GRID))


def _runs(mask: np.ndarray) -> str:
    height, width = mask.shape
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")
    return f"{height}x{width} {counts}"


def pixels_of(runs: str) -> np.ndarray:
    """(H, W) uint8, the inverse of how masks and places are kept."""
    size, _, counts = runs.partition(" ")
    height, _, width = size.partition("x")
    return coco_mask.decode({"size": [int(height), int(width)], "counts": counts.encode("ascii")})


def _of_small_parts(people: list[Points], limit: int, everything: list[Points]) -> list[Points]:
    """Points of the parts that have at most ``limit`` pixels: nothing of them is left to chance."""
    kept = []
    for points, pixels in zip(people, everything, strict=True):
        size = _count_by_part(pixels)
        kept.append([point for point in points if size.get(str(int(point[2])), 0) <= limit])
    return kept


def _condensed_records(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Image, boxes and classes: how many of each class, the first images, and a digest of all."""
    plain = [
        [record["image_id"], [[p["bbox"], p["category_id"]] for p in record["annotations"]]]
        for record in records
    ]
    classes = [annotation[1] for _, annotations in plain for annotation in annotations]
    return {
        "images": len(plain),
        "classes": {str(number): classes.count(number) for number in sorted(set(classes))},
        "first": plain[:5],
        "sha256": sha256(json.dumps(plain).encode()).hexdigest(),
    }
