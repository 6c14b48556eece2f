"""The tiny set in the other forms in which DensePose annotations are released, for tests only."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

CHART_KEYS = ("dp_I", "dp_U", "dp_V")
ANIMALS = ("bear", "cow", "cat", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")


def posetrack(data: dict) -> None:
    """Frames of two videos; a region to ignore in one, one not labelled, tracks, odd entries."""
    for number, image in enumerate(data["images"]):
        image |= {
            "vid_id": f"{number // 3:06d}",
            "frame_id": 100_000 + number % 3,
            "nframes": 3,
            "is_labeled": number != 4,
            "has_no_densepose": number == 4,
            "ignore_regions_x": [],
            "ignore_regions_y": [],
        }
    data["images"][0]["ignore_regions_x"] = [[0, 30, 30, 0], [100, 120, 110]]
    data["images"][0]["ignore_regions_y"] = [[0, 0, 20, 20], [5, 5, 30]]
    for key in ("ignore_regions_x", "ignore_regions_y", "nframes"):
        data["images"][1].pop(key)
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] != 5]
    for number, person in enumerate(data["annotations"]):
        person["track_id"] = number % 4
    data["annotations"][0]["segmentation"] = []
    data["annotations"][1].pop("segmentation")
    data["annotations"][2].pop("iscrowd")
    data["annotations"][3].pop("track_id")


def chimps(data: dict) -> None:
    """Three points a person, one mask for the whole body, addresses instead of COCO's images."""
    for image in data["images"]:
        image["image_url"] = f"https://example.org/{image['file_name']}"
    for person in data["annotations"]:
        for key in ("keypoints", "num_keypoints"):
            person.pop(key)
        if "dp_masks" in person:
            whole = coco_mask.merge([mask for mask in person["dp_masks"] if mask])
            person["dp_masks"] = {**whole, "counts": whole["counts"].decode("ascii")}
            for key in ("dp_x", "dp_y", *CHART_KEYS):
                person[key] = person[key][:3]


def to_vertices(person: dict, mesh: str) -> None:
    """Besides or instead of charts; the vertices are any of the mesh."""
    size = int(mesh.rpartition("_")[2])
    rng = np.random.default_rng(person["id"])
    person |= {
        "dp_vertex": rng.integers(0, size, len(person["dp_x"])).tolist(),
        "ref_model": mesh,
    }


def coco_cse(data: dict) -> None:
    """All chart fields, and vertices besides."""
    for person in data["annotations"]:
        if "dp_x" in person:
            to_vertices(person, "smpl_27554")


def chimps_cse(data: dict) -> None:
    """Vertices of a chimpanzee instead of charts."""
    chimps(data)
    for person in data["annotations"]:
        if "dp_x" in person:
            to_vertices(person, "chimp_5029")
            for key in CHART_KEYS:
                person.pop(key)


def lvis(data: dict) -> None:
    """No file names, crowds or part masks; many categories, those of nine animals have points."""
    for image in data["images"]:
        name = image.pop("file_name")
        image |= {
            "coco_url": f"http://images.cocodataset.org/train2017/{name}",
            "neg_category_ids": [2],
            "not_exhaustive_category_ids": [],
        }
    names = [*(f"thing_{number}" for number in range(20)), *ANIMALS]
    data["categories"] = [{"id": n + 1, "name": name} for n, name in enumerate(names)]
    for number, person in enumerate(data["annotations"]):
        for key in ("iscrowd", "dp_masks", "keypoints", "num_keypoints", *CHART_KEYS):
            person.pop(key, None)
        person["category_id"] = 21 + 2 + number % 2 if "dp_x" in person else 3
        if "dp_x" in person:
            for key in ("dp_x", "dp_y"):
                person[key] = person[key][:3]
            to_vertices(person, ("cat_7466", "dog_7466")[number % 2])


FORMS: dict[str, Callable[[dict], None]] = {
    "posetrack2017_val": posetrack,
    "densepose_chimps": chimps,
    "densepose_coco_2014_train_cse": coco_cse,
    "densepose_chimps_cse_train": chimps_cse,
    "densepose_lvis_v1_ds2_train_v1": lvis,
}


def write_form(
    tiny: tuple[Path, Path], name: str, json_path: Path, image_root: Path
) -> dict[str, Any]:
    """Write the tiny set as the data set ``name``; returns what the file holds."""
    data = copy.deepcopy(json.loads(tiny[0].read_text()))
    FORMS[name](data)
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(data))
    for image in data["images"]:
        file = image.get("file_name") or "/".join(image["coco_url"].split("/")[-2:])
        target = image_root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(tiny[1] / Path(file).name).save(target, quality=95)
    return data
