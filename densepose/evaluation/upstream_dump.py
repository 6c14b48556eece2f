"""Predictions in the files that detectron2's DensePose project writes.

``apply_net.py dump`` writes one dict an image: file_name, scores, pred_boxes_XYXY and a list
pred_densepose. Its evaluator writes one dict a person: image_id, category_id, bbox, score and
densepose. The maps are objects of classes that are not imported here.
"""

from __future__ import annotations

import base64
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from densepose.structures.body_parts import UV_STEPS
from densepose.structures.prediction import ImagePrediction

from .challenge_results import corners_of_size
from .ground_truth import GroundTruth
from .torch_pickle import PlainObject, StoredTensor, load_torch_pickle

SUFFIXES = (".pkl", ".pickle", ".pth", ".pt")
_MAPS = ("DensePoseChartResult", "DensePoseChartResultWithConfidences")
_QUANTIZED, _COMPRESSED = "DensePoseChartResultQuantized", "DensePoseChartResultCompressed"
_OF_2020 = "DensePoseResult"
_CLASSES = (*_MAPS, _QUANTIZED, _COMPRESSED, _OF_2020)
Maps = tuple[np.ndarray, np.ndarray]  # labels (h, w) and uv (2, h, w), uint8


def read_upstream_dump(
    path: str | os.PathLike[str], truth: GroundTruth
) -> Iterator[ImagePrediction]:
    """Predictions of a dump, image by image; maps are read one image at a time.

    Images of ``apply_net.py`` are found by the end of their file name. Sizes come from ``truth``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, asks for other classes, or not a dump of chart-based predictions; an
            image is not in the annotation file.
    """
    content = load_torch_pickle(path, _CLASSES)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path}: expected a list of dicts, as apply_net.py dump writes it")
    if content and "image_id" in content[0]:
        yield from _people_by_image(content, truth, str(path))
        return
    names = _ImageNames(truth)
    for number, entry in enumerate(content):
        source = f"{path}: entry {number}"
        missing = [key for key in ("file_name", "scores", "pred_boxes_XYXY") if key not in entry]
        if missing:
            raise ValueError(f"{source}: no {missing[0]!r}; it has {sorted(entry)}")
        image_id = names.image_id(str(entry["file_name"]), source)
        try:
            yield _prediction_of_image(entry, image_id, truth)
        except _BROKEN as error:
            raise ValueError(f"{source} ({entry['file_name']}): {error}") from error


_BROKEN = (ValueError, TypeError, KeyError, AttributeError, OSError, SyntaxError)


def _prediction_of_image(
    entry: dict[str, Any], image_id: int, truth: GroundTruth
) -> ImagePrediction:
    scores, boxes = _array(entry["scores"]), _array(entry["pred_boxes_XYXY"])
    found = entry.get("pred_densepose")
    if isinstance(found, PlainObject) and found.class_name == _OF_2020:
        people = [_of_png(text, shape) for shape, text in found.results]
    elif isinstance(found, (list, tuple)):
        people = [_maps(one) for one in found]
    elif len(scores):
        raise ValueError("no pred_densepose that can be read; is it of a chart-based model?")
    else:
        people = []
    if not len(scores) == len(boxes) == len(people):
        raise ValueError(f"{len(scores)} scores, {len(boxes)} boxes, {len(people)} people")
    return ImagePrediction(
        image_id=image_id,
        image_size=truth.image_size(image_id),
        boxes_xyxy_px=boxes.astype(np.float32).reshape(-1, 4),
        scores=scores.astype(np.float32),
        labels=tuple(labels for labels, _ in people),
        uv=tuple(uv for _, uv in people),
    )


def _people_by_image(
    content: Sequence[dict[str, Any]], truth: GroundTruth, path: str
) -> Iterator[ImagePrediction]:
    by_image: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for number, entry in enumerate(content):
        source = f"{path}: entry {number}"
        missing = [key for key in ("image_id", "bbox", "score", "densepose") if key not in entry]
        if missing:
            raise ValueError(
                f"{source}: no {missing[0]!r}; it has {sorted(entry)}. Only predictions that the"
                " evaluator kept in memory can be read, as for chart-based models"
            )
        if entry.get("category_id", truth.category_id) in truth.category_ids:
            by_image[int(entry["image_id"])].append((source, entry))
    for image_id, entries in by_image.items():
        if image_id not in truth:
            raise ValueError(f"{entries[0][0]}: image {image_id} is not in {truth.source}")
        people, corners = [], []
        for source, entry in entries:
            try:
                labels, uv = _maps(entry["densepose"])
                people.append((labels, uv))
                size = np.array(labels.shape[::-1])
                corners.append(corners_of_size(np.asarray(entry["bbox"], np.float64), size))
            except _BROKEN as error:
                raise ValueError(f"{source}: {error}") from error
        yield ImagePrediction(
            image_id=image_id,
            image_size=truth.image_size(image_id),
            boxes_xyxy_px=np.stack(corners),
            scores=np.array([entry["score"] for _, entry in entries], np.float32),
            labels=tuple(labels for labels, _ in people),
            uv=tuple(uv for _, uv in people),
        )


def _maps(found: Any) -> Maps:
    name = found.class_name if isinstance(found, PlainObject) else type(found).__name__
    if name in _MAPS:
        labels, uv = _array(found.labels), _array(found.uv)
        steps = np.clip(uv.astype(np.float32) * np.float32(UV_STEPS), 0, UV_STEPS)
        return labels.astype(np.uint8), steps.astype(np.uint8)
    if name == _QUANTIZED:
        planes = _array(found.labels_uv_uint8)
        return planes[0], planes[1:]
    if name == _COMPRESSED:
        return _of_png(found.labels_uv_str, found.shape_chw)
    raise ValueError(f"a {name} is no chart-based prediction; expected one of {_CLASSES}")


def _of_png(text: str, shape: Sequence[int]) -> Maps:
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        planes = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    if planes.shape != tuple(shape):
        raise ValueError(f"maps should be {tuple(shape)}, the PNG is {planes.shape}")
    return planes[0], planes[1:]


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, StoredTensor):
        raise ValueError(f"expected a tensor, got a {type(value).__name__}")
    return value.array()


class _ImageNames:
    """Finds images by the last folders and the file of a path."""

    def __init__(self, truth: GroundTruth) -> None:
        self._source = truth.source
        self._images: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
        for image in truth.images:
            # LVIS names its images by their address.
            name = image.get("file_name") or image.get("coco_url")
            if name:
                parts = _parts(name)
                self._images[parts[-1]].append((parts, int(image["id"])))

    def image_id(self, file_name: str, source: str) -> int:
        parts = _parts(file_name)
        same_file = self._images.get(parts[-1], []) if parts else []
        if len(same_file) == 1:
            return same_file[0][1]
        fits = [image_id for known, image_id in same_file if parts[-len(known) :] == known]
        if len(fits) == 1:
            return fits[0]
        problem = (
            f"{len(same_file)} images have this name" if same_file else "no image of that name"
        )
        raise ValueError(f"{source}: {file_name!r}: {problem} in {self._source}")


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(str(name).replace("\\", "/")).parts
