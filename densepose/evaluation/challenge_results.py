"""The result file of the COCO DensePose challenge: JSON with a PNG for each person.

A list of objects with the keys image_id, category_id, bbox [x, y, w, h], score, uv_shape [3, h, w]
and uv_data: a base64 PNG whose red, green and blue are the part, U and V in steps of 1 / 255.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from densepose.structures.prediction import ImagePrediction

from .ground_truth import GroundTruth
from .json_pieces import pieces, read_values

_KEYS = ("image_id", "bbox", "score", "uv_shape", "uv_data")


def write_challenge_results(
    path: str | os.PathLike[str], predictions: Iterable[ImagePrediction], category_id: int = 1
) -> int:
    """Write predictions as a result file, person by person, whole or not at all.

    Returns:
        How many people were written.
    """
    temporary = Path(f"{os.fspath(path)}.{os.getpid()}.tmp")
    count = 0
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("[")
            for prediction in predictions:
                for index in range(len(prediction)):
                    file.write(",\n" if count else "\n")
                    json.dump(_entry(prediction, index, category_id), file)
                    count += 1
            file.write("\n]\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def read_challenge_results(
    path: str | os.PathLike[str], truth: GroundTruth
) -> Iterator[ImagePrediction]:
    """Predictions of a result file, image by image in the order of the file.

    The file is looked through once; what belongs to an image is read when it is its turn, so
    memory holds one image.

    Results of categories other than the one ``truth`` evaluates are left out. Sizes of images come
    from ``truth``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a result file, or an entry is damaged; names the entry.
    """
    by_image: dict[int, list[tuple[str, tuple[int, int]]]] = defaultdict(list)
    is_list = False  # an empty object has no piece, an empty list has one
    for number, piece in enumerate(pieces(path)):
        is_list = not piece.key
        if not is_list:
            break
        entry, name = piece.value, f"{path}: result {number}"
        if entry == []:
            continue  # the list is empty
        missing = [key for key in _KEYS if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise ValueError(f"{name}: no {missing[0]!r}; expected the keys {_KEYS}")
        if entry.get("category_id", truth.category_id) in truth.category_ids:
            by_image[int(entry["image_id"])].append((name, (piece.first, piece.last)))
    if not is_list:
        raise ValueError(f"{path}: expected a list of results, got a dict")
    for image_id, of_image in by_image.items():
        if image_id not in truth:
            raise ValueError(f"{of_image[0][0]}: image {image_id} is not in {truth.source}")
        entries = read_values(path, [span for _, span in of_image])
        people = [_person(e, name) for e, (name, _) in zip(entries, of_image, strict=True)]
        order = np.argsort([-float(entry["score"]) for entry in entries], kind="stable")
        yield ImagePrediction(
            image_id=image_id,
            image_size=truth.image_size(image_id),
            boxes_xyxy_px=np.stack([people[i][0] for i in order]),
            scores=np.array([entries[i]["score"] for i in order], np.float32),
            labels=tuple(people[i][1] for i in order),
            uv=tuple(people[i][2] for i in order),
        )


def corners_of_size(box_xywh_px: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(4,) box x, y, w, h -> (4,) float32 corners whose float32 differences are w, h again.

    The two roundings of x + w and of the difference can lose some of it, even a whole pixel; the
    far corner then moves by a few of the smallest steps that float32 knows. Where no corner gives
    w and h exactly, the difference floors to ``size``.

    Args:
        box_xywh_px: the box.
        size: (2,) width and height of its maps in whole pixels.
    """
    near = box_xywh_px[:2].astype(np.float32)
    wanted = box_xywh_px[2:].astype(np.float32)
    far = (box_xywh_px[:2] + box_xywh_px[2:]).astype(np.float32)
    best, score = far, np.full(2, -1)
    lower = upper = far
    for _ in range(8):
        for corner in (lower, upper):
            fit = 2 * (corner - near == wanted) + (np.maximum(np.floor(corner - near), 1) == size)
            best, score = np.where(fit > score, corner, best), np.maximum(fit, score)
        lower, upper = (
            np.nextafter(c, np.float32(end)) for c, end in ((lower, -np.inf), (upper, np.inf))
        )
    return np.concatenate([near, best])


def _entry(prediction: ImagePrediction, index: int, category_id: int) -> dict[str, Any]:
    x0, y0, x1, y1 = np.asarray(prediction.boxes_xyxy_px[index], np.float32)
    label, uv = prediction.labels[index], prediction.uv[index]
    stream = io.BytesIO()
    Image.fromarray(np.stack([label, *uv], axis=-1)).save(stream, "PNG", compress_level=1)
    return {
        "image_id": int(prediction.image_id),
        "category_id": category_id,
        "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
        "score": float(prediction.scores[index]),
        "uv_shape": [3, *label.shape],
        "uv_data": base64.b64encode(stream.getvalue()).decode("ascii"),
    }


def _person(entry: Mapping[str, Any], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (4,), labels (h, w) and uv (2, h, w) of one result."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(entry["uv_data"], validate=True))) as image:
            if image.mode != "RGB":
                raise ValueError(f"the PNG is {image.mode}, expected RGB")
            planes = np.moveaxis(np.asarray(image), -1, 0)
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{name}: its uv_data can not be read ({error}); encode it again"
        ) from error
    box = np.asarray(entry["bbox"], np.float64)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"{name}: bbox must be x, y, width, height, got {entry['bbox']}")
    size = np.maximum(np.floor(box[2:]), 1)
    shape = [3, int(size[1]), int(size[0])]
    if list(entry["uv_shape"]) != shape or list(planes.shape) != shape:
        raise ValueError(
            f"{name}: bbox {entry['bbox']} asks for uv_shape {shape}, got {entry['uv_shape']} and a"
            f" PNG of {list(planes.shape)}"
        )
    return corners_of_size(box, size), planes[0], planes[1:]
