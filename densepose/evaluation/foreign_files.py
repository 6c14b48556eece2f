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
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np

from densepose.errors import InputError
from densepose.structures.body_parts import UV_STEPS
from densepose.structures.prediction import ImagePrediction, check_map_sizes
from densepose.structures.records import expectation

from .ground_truth import GroundTruth
from .predictions import (
    Person,
    PersonEntry,
    decoded_png,
    entries_by_image,
    prediction_of_people,
    typed_entries,
)

_MAPS = ("DensePoseChartResult", "DensePoseChartResultWithConfidences")
_QUANTIZED, _COMPRESSED = "DensePoseChartResultQuantized", "DensePoseChartResultCompressed"
_CLASSES = (*_MAPS, _QUANTIZED, _COMPRESSED)
# Where upstream has kept them over the years.
_MODULES = (
    "densepose.structures.chart_result",
    "densepose.structures",
    "densepose.data.structures",
)
# What torch raises on damaged bytes.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OSError,
    IndexError,
    pickle.UnpicklingError,
    EOFError,
    RuntimeError,
    RecursionError,
    MemoryError,
)
Maps = tuple[np.ndarray, np.ndarray]  # labels (h, w) and uv (2, h, w), uint8


class _Plain:
    """Stands for an instance of one of upstream's classes; has its attributes."""


class _OfImage(msgspec.Struct):
    """An entry of ``apply_net.py dump``."""

    file_name: str
    scores: Any
    pred_boxes_XYXY: Any
    pred_densepose: Any = None


class _OfPerson(PersonEntry, kw_only=True):
    """An entry of upstream's evaluator."""

    densepose: Any


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
    if content and "image_id" in content[0]:
        yield from _of_evaluator(typed_entries(content, _OfPerson, str(path)), truth, path, skipped)
        return
    names = _ImageNames(truth)
    for number, entry in enumerate(typed_entries(content, _OfImage, str(path))):
        source = f"{path}: entry {number}"
        image_id = names.image_id(entry.file_name, source)
        yield _of_apply_net(entry, image_id, truth, f"{source} ({entry.file_name})")


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
            if zipfile.is_zipfile(file):
                kinds = {member.compress_type for member in zipfile.ZipFile(file).infolist()}
                if kinds != {zipfile.ZIP_STORED}:  # could fill the memory from a small file
                    raise ValueError("compressed, which torch.save never does")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
        except (*_UNREADABLE, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: not a dump of chart-based predictions by torch.save, or damaged"
                f" ({_reason(error)})"
            ) from error


def _reason(error: Exception) -> str:
    """What is wrong with a file, without torch's advice to read it unsafely."""
    if name := re.search(r"GLOBAL (\S+)", str(error)):
        return f"asks for {name[1]}, which may run code"
    return "its pickle is broken" if "weights_only" in str(error) else str(error)


def _of_apply_net(
    entry: _OfImage, image_id: int, truth: GroundTruth, source: str
) -> ImagePrediction:
    with _named(source):
        scores, boxes = _array(entry.scores, 1), _array(entry.pred_boxes_XYXY, 2)
        found = entry.pred_densepose
        if not isinstance(found, (list, tuple)) and len(scores):
            raise InputError("no pred_densepose that can be read; is it of a chart-based model?")
        found = found if isinstance(found, (list, tuple)) else ()
        if boxes.shape != (len(scores), 4) or len(scores) != len(found):
            raise InputError(f"{len(scores)} scores, boxes {boxes.shape}, {len(found)} people")
    size = truth.image_size(image_id)
    people = _maps_of_image(found, size, [f"{source}: person {n}" for n in range(len(found))])
    return ImagePrediction(
        image_id=image_id,
        image_size=size,
        boxes_xyxy_px=boxes.astype(np.float32),
        scores=scores.astype(np.float32),
        labels=tuple(labels for labels, _ in people),
        uv=tuple(uv for _, uv in people),
        source=source,
    )


def _of_evaluator(
    content: Sequence[_OfPerson],
    truth: GroundTruth,
    path: str | os.PathLike[str],
    skipped: Counter[str],
) -> Iterator[ImagePrediction]:
    # Upstream's evaluator saves numbers of classes.
    images = entries_by_image(path, content, truth, skipped, of_classes=True)
    for image_id, numbers in images.items():
        entries = [content[number] for number in numbers]
        names = [f"{path}: entry {number}" for number in numbers]
        maps = _maps_of_image([e.densepose for e in entries], truth.image_size(image_id), names)
        people: list[Person] = [
            (np.array(entry.bbox, np.float64), *of_person)
            for entry, of_person in zip(entries, maps, strict=True)
        ]
        yield prediction_of_people(image_id, people, entries, truth, str(path))


def _maps_of_image(
    found: Sequence[Any], image_size: tuple[int, int], names: Sequence[str]
) -> list[Maps]:
    """The maps of the people of an image; too large ones are refused before they are copied."""
    sizes, maps = np.zeros((len(names), 2), np.int64), []
    for index, name in enumerate(names):
        with _named(name):
            sizes[index] = _map_size(found[index])
    check_map_sizes(sizes, image_size, names[0] if names else "")
    for index, name in enumerate(names):
        with _named(name):
            maps.append(_maps(found[index]))
    return maps


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _map_size(found: Any) -> tuple[int, int]:
    name = type(found).__name__
    if name in _MAPS:
        shape = _array(_part(found, "labels"), 2).shape
    elif name == _QUANTIZED:
        shape = _array(_part(found, "labels_uv_uint8"), 3).shape[1:]
    elif name == _COMPRESSED:
        given = _part(found, "shape_chw")
        try:
            shape = msgspec.convert(given, tuple[int, int, int], strict=False)[1:]
        except ValueError as error:
            raise InputError(f"shape_chw {expectation(given, error)}") from error
    else:
        raise InputError(f"a {name} is not a chart-based prediction; expected one of {_CLASSES}")
    return shape[0], shape[1]


def _maps(found: Any) -> Maps:
    name = type(found).__name__
    if name in _MAPS:
        labels, uv = _array(found.labels, 2), _array(_part(found, "uv"), 3)
        if not ((labels >= 0) & (labels < 2**8)).all() or not np.isfinite(uv).all():
            raise InputError("labels are not in 0..255, or uv are not finite")
        steps = np.clip(uv.astype(np.float32) * np.float32(UV_STEPS), 0, UV_STEPS)
        return labels.astype(np.uint8), steps.astype(np.uint8)
    if name == _COMPRESSED:
        text = _part(found, "labels_uv_str")
        if not isinstance(text, str):
            raise InputError(f"labels_uv_str: expected text, got a {type(text).__name__}")
        planes = decoded_png(text, _map_size(found))
    else:
        planes = _array(found.labels_uv_uint8, 3)
        if planes.dtype != np.uint8 or len(planes) != 3:
            raise InputError(f"labels_uv_uint8: expected (3, h, w) uint8, got {planes.shape}")
    return planes[0], planes[1:]


def _part(found: Any, name: str) -> Any:
    if not hasattr(found, name):
        raise InputError(f"a {type(found).__name__} without {name!r}")
    return getattr(found, name)


def _array(value: Any, ndim: int) -> np.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"expected a tensor, got a {type(value).__name__}")
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise InputError(f"expected a plain tensor of real numbers, got {value.dtype}")
    if value.ndim != ndim:
        raise InputError(f"expected a tensor of {ndim} dimensions, got {tuple(value.shape)}")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        # Numbers that are shown more than once could fill the memory from a small file.
        raise InputError(f"a tensor of {tuple(value.shape)} is larger than what is stored of it")
    value = value.detach()
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
