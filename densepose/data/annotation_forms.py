"""The forms in which DensePose annotations are released, besides that of DensePose-COCO.

=====================  =============================================================================
LVIS                   images have ``coco_url`` instead of ``file_name``; annotations no ``iscrowd``
embeddings (CSE)       points lie on vertices, ``dp_vertex`` of the mesh ``ref_model``; the files of
                       DensePose-COCO hold charts besides, those of animals do not
DensePose-Chimps       ``dp_masks`` is one mask for the whole body instead of 14
DensePose-PoseTrack    frames of videos: ``vid_id``, ``frame_id``, ``is_labeled``, ``track_id`` and
                       polygons in which nobody is annotated, ``ignore_regions_x`` and ``_y``
=====================  =============================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

VERTEX_KEYS = ("dp_vertex", "ref_model")
# Frames of a video and people in it: names in the file, and in detectron2's records.
FRAME_KEYS = {"vid_id": "video_id", "frame_id": "frame_id", "is_labeled": "is_labeled"}


def with_file_names(images: Sequence[Any]) -> list[Any]:
    """Images with ``file_name``, taken from the last two parts of ``coco_url`` where it lacks.

    So http://images.cocodataset.org/train2017/000000155379.jpg is train2017/000000155379.jpg.
    """
    return [
        image | {"file_name": "/".join(image["coco_url"].split("/")[-2:])}
        if isinstance(image, dict)
        and image.get("file_name") is None
        and isinstance(image.get("coco_url"), str)
        else image
        for image in images
    ]


def frame_entries(image: dict[str, Any]) -> dict[str, Any]:
    """What a record says of the frame of a video that an image is; {} for a photo."""
    return {name: image[key] for key, name in FRAME_KEYS.items() if key in image}


def mesh_size(mesh: Any) -> int | None:
    """Number of vertices that the name of a mesh ends in (smpl_27554); None where it has none."""
    number = mesh.rpartition("_")[2] if isinstance(mesh, str) else ""
    return int(number) if number.isascii() and number.isdigit() else None


def broken_ignore_regions(image: Any) -> str:
    """What is wrong with the polygons of an image in which nobody is annotated; "" for nothing."""
    if not isinstance(image, dict):
        return ""
    xs, ys = (image.get(f"ignore_regions_{axis}") or [] for axis in "xy")
    if not xs and not ys:
        return ""
    both = (xs, ys)
    if not all(isinstance(v, list) and all(isinstance(p, list) for p in v) for v in both):
        return "no lists of lists"
    lengths = [[len(polygon) for polygon in values] for values in both]
    if lengths[0] != lengths[1]:
        return f"{lengths[0]} values x, {lengths[1]} values y"
    if min(lengths[0]) < 3:
        return f"a polygon of {min(lengths[0])} points"
    numbers = chain.from_iterable(chain(*both))
    if not all(isinstance(value, (int, float)) and np.isfinite(value) for value in numbers):
        return "a value that is no finite number"
    return ""


def describe_forms(images: Sequence[Any], annotations: Sequence[Any]) -> list[str]:
    """What sets a file apart from DensePose-COCO, one line a form; [] for nothing."""
    images = [image for image in images if isinstance(image, dict)]
    people = [record for record in annotations if isinstance(record, dict)]
    lines = []
    videos = {image["vid_id"] for image in images if _is_plain(image.get("vid_id"))}
    regions = sum(bool(image.get("ignore_regions_x")) for image in images)
    if videos or regions:
        tracks = {(r.get("track_id")) for r in people if _is_plain(r.get("track_id"))}
        bare = sum(not image.get("is_labeled", True) for image in images)
        lines.append(
            f"frames of {len(videos)} videos, {len(tracks)} track ids, {regions} images with"
            f" regions to ignore, {bare} images that are not labelled (left out of training)"
        )
    meshes = Counter(
        str(record.get("ref_model")) for record in people if record.get("dp_vertex") is not None
    )
    if meshes:
        alone = sum("dp_vertex" in record and "dp_I" not in record for record in people)
        named = ", ".join(f"{count} on {name}" for name, count in meshes.most_common())
        lines.append(
            f"points on vertices of a mesh: {named} people; {alone} of them without charts, which"
            " chart models use for boxes and masks only"
        )
    whole = sum(isinstance(record.get("dp_masks"), dict) for record in people)
    if whole:
        lines.append(f"one mask for the whole body instead of part masks: {whole} people")
    urls = sum("coco_url" in image and "/" in str(image.get("file_name")) for image in images)
    if urls and urls == len(images):
        lines.append("images below the folder of their split, as in LVIS (train2017/, val2017/)")
    return lines


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, str))
