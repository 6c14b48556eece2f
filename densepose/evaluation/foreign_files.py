"""Predictions in the files that detectron2's DensePose project writes.

``apply_net.py dump`` writes one dict an image: file_name, scores, pred_boxes_XYXY and a list
pred_densepose. Its evaluator writes one dict a person: image_id, category_id, bbox, score and
densepose. The maps are objects of upstream's classes. Stand-ins take their place, and no code of a
file runs: torch reads it with ``weights_only``.
"""

from __future__ import annotations

import os
import pickle
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from densepose.errors import InputError
from densepose.structures.body_parts import UV_STEPS
from densepose.structures.prediction import ImagePrediction

from .ground_truth import GroundTruth
from .predictions import Person, decoded_png, entries_by_image, prediction_of_people

SUFFIXES = (".pkl", ".pickle", ".pth", ".pt")
_MAPS = ("DensePoseChartResult", "DensePoseChartResultWithConfidences")
_QUANTIZED, _COMPRESSED = "DensePoseChartResultQuantized", "DensePoseChartResultCompressed"
_CLASSES = (*_MAPS, _QUANTIZED, _COMPRESSED)
# Where upstream has kept them over the years.
_MODULES = (
    "densepose.structures.chart_result",
    "densepose.structures",
    "densepose.data.structures",
)
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, OSError, IndexError)
_UNREADABLE = (
    *_BROKEN,
    pickle.UnpicklingError,
    EOFError,
    RuntimeError,
    RecursionError,
    MemoryError,
)
Maps = tuple[np.ndarray, np.ndarray]  # labels (h, w) and uv (2, h, w), uint8


class _Plain:
    """Stands for an instance of one of upstream's classes; has its attributes."""


# name of class -> stand-in
_STAND_INS = {name: type(name, (_Plain,), {}) for name in _CLASSES}


def read_upstream_dump(
    path: str | os.PathLike[str], truth: GroundTruth, skipped: Counter[str]
) -> Iterator[ImagePrediction]:
    """Predictions of a dump, image by image.

    Images of ``apply_net.py`` are found by the end of their file name. Sizes come from ``truth``.
    People of categories that it does not evaluate are counted in ``skipped``.

    Raises:
        FileNotFoundError: no such file.
        InputError: damaged, asks for other classes, or not a dump of chart-based predictions; an
            image is not in the annotation file.
    """
    content = load_dump(path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise InputError(f"{path}: expected a list of dicts, as apply_net.py dump writes it")
    of_people = bool(content) and "image_id" in content[0]
    keys = ("image_id", "bbox", "score", "densepose")
    keys = keys if of_people else ("file_name", "scores", "pred_boxes_XYXY")
    for number, entry in enumerate(content):
        missing = [key for key in keys if key not in entry]
        if missing:
            raise InputError(
                f"{path}: entry {number}: no {missing[0]!r}; it has {sorted(entry)}. Only"
                " chart-based predictions that were kept in memory can be read"
            )
    if of_people:
        yield from _of_evaluator(content, truth, str(path), skipped)
        return
    names = _ImageNames(truth)
    for number, entry in enumerate(content):
        source = f"{path}: entry {number}"
        image_id = names.image_id(str(entry["file_name"]), source)
        try:
            yield _of_apply_net(entry, image_id, truth)
        except _BROKEN as error:
            raise InputError(f"{source} ({entry['file_name']}): {error}") from error


def load_dump(path: str | os.PathLike[str]) -> Any:
    """The content of a file of torch.save, stand-ins in place of upstream's objects.

    Raises:
        FileNotFoundError: no such file.
        InputError: damaged, or it names anything else.
    """
    # Not at the top: scoring other files needs no torch.
    import torch

    names = [(cls, f"{module}.{name}") for name, cls in _STAND_INS.items() for module in _MODULES]
    with open(path, "rb") as file, torch.serialization.safe_globals(names):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            raise InputError(
                f"{path}: not a dump of chart-based predictions by torch.save, or damaged"
                f" ({_reason(error)})"
            ) from error


def _reason(error: Exception) -> str:
    """What is wrong with a file, without torch's advice to read it unsafely."""
    if name := re.search(r"GLOBAL (\S+)", str(error)):
        return f"asks for {name[1]}, which may run code"
    return "its pickle is broken" if "weights_only" in str(error) else str(error)


def _of_apply_net(entry: dict[str, Any], image_id: int, truth: GroundTruth) -> ImagePrediction:
    scores, boxes = _array(entry["scores"]), _array(entry["pred_boxes_XYXY"])
    found = entry.get("pred_densepose")
    if isinstance(found, (list, tuple)):
        people = [_maps(one) for one in found]
    elif len(scores):
        raise InputError("no pred_densepose that can be read; is it of a chart-based model?")
    else:
        people = []
    if not len(scores) == len(boxes) == len(people):
        raise InputError(f"{len(scores)} scores, {len(boxes)} boxes, {len(people)} people")
    return ImagePrediction(
        image_id=image_id,
        image_size=truth.image_size(image_id),
        boxes_xyxy_px=boxes.astype(np.float32).reshape(-1, 4),
        scores=scores.astype(np.float32),
        labels=tuple(labels for labels, _ in people),
        uv=tuple(uv for _, uv in people),
    )


def _of_evaluator(
    content: list[dict[str, Any]], truth: GroundTruth, path: str, skipped: Counter[str]
) -> Iterator[ImagePrediction]:
    for image_id, numbers in entries_by_image(path, content, truth, skipped).items():
        people: list[Person] = []
        for number in numbers:
            try:
                box = np.asarray(content[number]["bbox"], np.float64)
                people.append((box, *_maps(content[number]["densepose"])))
            except _BROKEN as error:
                raise InputError(f"{path}: entry {number}: {error}") from error
        scores = [float(content[number]["score"]) for number in numbers]
        yield prediction_of_people(image_id, people, scores, truth)


def _maps(found: Any) -> Maps:
    name = type(found).__name__
    if name in _MAPS:
        labels, uv = _array(found.labels), _array(found.uv)
        steps = np.clip(uv.astype(np.float32) * np.float32(UV_STEPS), 0, UV_STEPS)
        return labels.astype(np.uint8), steps.astype(np.uint8)
    if name == _QUANTIZED:
        planes = _array(found.labels_uv_uint8)
        return planes[0], planes[1:]
    if name == _COMPRESSED:
        planes = decoded_png(found.labels_uv_str)
        if planes.shape != tuple(found.shape_chw):
            raise InputError(f"maps should be {tuple(found.shape_chw)}, the PNG is {planes.shape}")
        return planes[0], planes[1:]
    raise InputError(f"a {name} is not a chart-based prediction; expected one of {_CLASSES}")


def _array(value: Any) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"expected a tensor, got a {type(value).__name__}")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        # Numbers that are shown more than once could fill the memory from a small file.
        raise InputError(f"a tensor of {tuple(value.shape)} is larger than what is stored of it")
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


class _ImageNames:
    """Finds images by the last folders and the file of a path."""

    def __init__(self, truth: GroundTruth) -> None:
        self._source = truth.source
        self._images: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
        for image in truth.images:
            parts = _parts(image["file_name"])
            if parts:
                self._images[parts[-1]].append((parts, int(image["id"])))

    def image_id(self, name: str, source: str) -> int:
        parts = _parts(name)
        same_file = self._images.get(parts[-1], []) if parts else []
        if len(same_file) == 1:
            return same_file[0][1]
        fits = [image_id for known, image_id in same_file if parts[-len(known) :] == known]
        if len(fits) == 1:
            return fits[0]
        problem = (
            f"{len(same_file)} images have this name" if same_file else "no image of that name"
        )
        raise InputError(f"{source}: {name!r}: {problem} in {self._source}")


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(str(name).replace("\\", "/")).parts
