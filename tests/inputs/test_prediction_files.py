"""Broken files of predictions: a message with the file, never a traceback, a crash or a hang."""

from __future__ import annotations

import base64
import copy
import io
import json
import struct
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from densepose.errors import InputError
from densepose.evaluation.evaluate import evaluate_densepose, opened_predictions
from densepose.evaluation.ground_truth import GroundTruth
from densepose.evaluation.predictions import (
    read_prediction,
    write_challenge_results,
    write_prediction,
)
from densepose.structures.prediction import ImagePrediction
from tests.support.upstream_dumps import CHART_CLASSES, apply_net, evaluators
from tools.upstream.generated import generated_set, generated_surface

MADE = generated_set("noisy", num_images=3)
TRUTH = GroundTruth(MADE.ground_truth, "truth.json")
NAN = float("nan")
pytestmark = pytest.mark.usefixtures("upstreams_module")


def with_branches(prediction: ImagePrediction) -> ImagePrediction:
    """With masks and keypoints, as models with such branches have them."""
    square = np.zeros(prediction.image_size, np.uint8, order="F")
    square[50:100, 60:90] = 1
    count = len(prediction)
    keypoints = np.ones((count, 17, 3), np.float32)
    return replace(prediction, masks=(coco_mask.encode(square),) * count, keypoints_px=keypoints)


FULL = with_branches(MADE.predictions[0])


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    write_prediction(path, FULL)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def refusal(path: Path) -> str:
    """Why a file cannot be scored; empty where it can."""
    try:
        found = list(opened_predictions(path, TRUTH, Counter()))
        evaluate_densepose(MADE.ground_truth, found, SURFACE)
    except InputError as error:
        return str(error)
    return ""


def is_clear(message: str, path: Path) -> bool:
    """Whether a refusal names the file and is neither a word nor a page."""
    return str(path) in message and 5 <= len(message.split()) < 200


SURFACE = generated_surface(vertices_per_part=20)
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD_ARRAYS = (
    *(lambda a: a[:-1] if a.ndim else a[None], lambda a: np.concatenate([a.ravel(), a.ravel()])),
    *(lambda a: a[None], lambda a: a.T, lambda a: a.ravel(), lambda a: np.zeros(0, a.dtype)),
    *(lambda a: a.astype("U9"), lambda a: a.astype(np.float64), lambda a: a.astype(np.uint8)),
    *(lambda a: np.zeros_like(a), lambda a: np.full(a.shape, 2**31 - 1), lambda a: a.astype("?")),
    *(lambda a: np.array([{}], object), lambda a: np.array(NAN), lambda a: np.full(a.shape, NAN)),
    *(lambda a: np.full(a.shape, -(2**62)), lambda a: np.full(a.shape, NAN, np.float32)),
)


@SETTINGS
@given(key=st.integers(0, 99), change=st.sampled_from(ODD_ARRAYS))
def test_any_array_may_be_anything(key: int, change: Any, tmp_path: Path):
    path = tmp_path / "000000000001.npz"
    arrays = arrays_of(path)
    name = sorted(arrays)[key % len(arrays)]
    value = arrays[name]
    arrays[name] = change(value if value.dtype.kind != "U" else np.arange(value.size))
    np.savez(path, **arrays)
    try:
        assert len(read_prediction(path)) == len(arrays["scores"])
    except InputError as error:
        assert str(path) in str(error)


@SETTINGS
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1))
def test_any_byte_may_be_damaged(changes: list[tuple[int, int]], tmp_path: Path):
    path = tmp_path / "000000000001.npz"
    write_prediction(path, FULL)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(bytes(content))
    try:
        read_prediction(path)
    except InputError as error:
        assert str(path) in str(error)


def damaged_masks(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    text = b"b'oPP1'"
    lengths = np.zeros_like(arrays["mask_lengths"])
    lengths[0] = len(text)
    return arrays | {"mask_counts": np.frombuffer(text, np.uint8), "mask_lengths": lengths}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged_masks, "the mask of person 0 does not fill"),
        (lambda a: a | {"keypoints_px": a["keypoints_px"] * NAN}, "keypoints_px .*finite"),
        (lambda a: a | {"boxes_xyxy_px": a["boxes_xyxy_px"] * NAN}, "is not a finite number"),
        (lambda a: a | {"boxes_xyxy_px": a["boxes_xyxy_px"] + [0, 0, 9, 0]}, "asks for maps of"),
        (lambda a: a | {"labels": a["labels"] + np.uint8(99)}, r"label \d+; parts are 0 to 24"),
        (lambda a: a | {"map_sizes": a["map_sizes"] * 10**6}, "2 times the image"),
        (lambda a: a | {"image_size": np.array([2**40, 2**40])}, "image_size"),
        (lambda a: a | {"schema": np.array([1])}, "schema"),
        (lambda a: a | {"extra": np.array([1])}, "extra: expected no such key"),
    ],
)
def test_arrays_that_would_break_later_are_refused(change: Any, message: str, tmp_path: Path):
    path = tmp_path / "000000000001.npz"
    arrays = change(arrays_of(path))
    arrays["boxes_xyxy_px"] = arrays["boxes_xyxy_px"].astype(np.float32)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=f"{path.name}.*{message}"):
        read_prediction(path)


def test_an_archive_that_fills_the_memory_is_not_unpacked(tmp_path: Path):
    path = tmp_path / "000000000001.npz"
    write_prediction(path, FULL)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # of the directory; the unpacked size is 24 bytes on
    content[entry + 24 : entry + 28] = struct.pack("<I", 3 * 10**9)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"damaged \(3,\d+,\d+,\d+ bytes unpacked"):
        read_prediction(path)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of everything in a value, fields of upstream's objects included."""
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value[:3])
    elif hasattr(value, "__dict__") and not isinstance(value, torch.Tensor):
        inner = vars(value).items()
    else:
        return []
    return [p for key, entry in inner for p in [(*path, key), *places(entry, (*path, key))]]


def put(content: Any, path: tuple, change: Any) -> None:
    for step in path[:-1]:
        content = (
            getattr(content, step)
            if isinstance(step, str) and not isinstance(content, dict)
            else content[step]
        )
    old = content[path[-1]] if isinstance(content, (dict, list)) else getattr(content, path[-1])
    value = change(old) if callable(change) else copy.deepcopy(change)
    if isinstance(content, (dict, list)):
        content[path[-1]] = value
    else:
        setattr(content, path[-1], value)


ODD = (
    *(None, True, 0, -1, 1, 2, 7.0, 0.5, 10**400, 2**62, 1e300, NAN, "", "1", "x", [], {}, [1]),
    *([1e9] * 4, [0, 0, 1e5, 1e5], [3, 10**5, 10**5], [[[]]], (3, 2, 2)),
    *(lambda old: [old], lambda old: str(old), lambda old: old[:-1] if hasattr(old, "len") else 1),
)
ODD_TENSORS = (
    *(lambda t: t[:-1], lambda t: t[None], lambda t: t.long(), lambda t: t.float() * NAN),
    *(lambda t: t.to(torch.bool), lambda t: t.to(torch.complex64), lambda t: t.to(torch.bfloat16)),
    *(lambda t: t[:1].expand(10**6, *t.shape[1:]), lambda t: t.tolist(), lambda t: torch.zeros(0)),
)


def spoiled(content: list, changes: list[tuple[int, int]]) -> list:
    content = copy.deepcopy(content)
    for place, value in changes:
        where = places(content)
        path = where[place % len(where)]
        found = content
        try:
            for step in path:
                found = getattr(found, step) if hasattr(found, "__dict__") else found[step]
            odd = ODD_TENSORS if isinstance(found, torch.Tensor) else ODD
            put(content, path, odd[value % len(odd)])
        except (TypeError, IndexError, KeyError, AttributeError):
            continue
    return content


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=2)


@SETTINGS
@given(changes=CHANGES)
def test_any_entry_of_results_may_be_anything(changes: list[tuple[int, int]], tmp_path: Path):
    path = tmp_path / "results.json"
    write_challenge_results(path, MADE.predictions[:1])
    path.write_text(json.dumps(spoiled(json.loads(path.read_text())[:2], changes)))
    message = refusal(path)
    assert not message or is_clear(message, path)


@SETTINGS
@given(changes=CHANGES, kind=st.sampled_from([*CHART_CLASSES, "evaluator"]))
def test_any_entry_of_a_dump_may_be_anything(
    changes: list[tuple[int, int]], kind: str, tmp_path: Path
):
    path = tmp_path / "dump.pkl"
    entries = evaluators(MADE)[:2] if kind == "evaluator" else apply_net(MADE, kind)[:1]
    torch.save(spoiled(entries, changes), path)
    message = refusal(path)
    assert not message or is_clear(message, path)


def results_with(**fields: Any) -> list[dict[str, Any]]:
    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, "PNG")
    entry = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 30, 20], "score": 0.5}
    png = base64.b64encode(stream.getvalue()).decode()
    return [{**entry, "uv_shape": [3, 20, 30], "uv_data": png, **fields}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, ""),
        ({"image_id": "1", "category_id": 1.0}, ""),
        ({"image_id": [1]}, r"entry 0: is \[1\] at .image_id"),
        ({"score": NAN}, "score"),
        ({"score": "high"}, "score"),
        ({"bbox": [0, 0, 30, NAN]}, "bbox"),
        ({"category_id": 5}, r"has the category ids \[5\]; expected those of"),
        ({"bbox": [0, 0, 40, 20], "uv_shape": [3, 20, 40]}, r"PNG is RGB of \[20, 30\] px"),
        ({"bbox": [0, 0, 9e4, 9e4], "uv_shape": [3, 90000, 90000]}, "2 times the image"),
    ],
)
def test_results_of_the_challenge(fields: dict, message: str, tmp_path: Path):
    path = tmp_path / "results.txt"  # recognised by its content
    path.write_text(json.dumps(results_with(**fields)))
    if not message:
        assert len(next(iter(opened_predictions(path, TRUTH)))) == 1
        return
    with pytest.raises(InputError, match=f"{path.name}.*{message}"):
        list(opened_predictions(path, TRUTH))


def test_dumps_that_fill_the_memory_are_not_unpacked(tmp_path: Path):
    stored, packed = tmp_path / "stored.pth", tmp_path / "packed.pth"
    torch.save(evaluators(MADE), stored)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match="compressed, which torch.save never does"):
        list(opened_predictions(packed, TRUTH))
    nested: list = [1.0]
    for _ in range(60):
        nested = [nested, nested]
    for entries in (evaluators(MADE)[:1], apply_net(MADE)[:1]):
        for key in entries[0]:
            torch.save([entries[0] | {key: nested}], stored)
            assert is_clear(refusal(stored), stored)


def test_class_numbers_of_a_dump_are_those_of_upstream(tmp_path: Path):
    """Upstream's evaluator saves 0 for the first category, whatever its id."""
    path, skipped = tmp_path / "coco_densepose_predictions.pth", Counter()
    content = MADE.ground_truth | {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "cat"}]
    }
    entries = evaluators(MADE)
    entries[0]["category_id"] = 1  # a cat
    torch.save(entries, path)
    found = list(opened_predictions(path, GroundTruth(content, "truth.json"), skipped))
    assert sum(map(len, found)) == len(entries) - 1
    assert skipped == {"their category is not evaluated": 1}
    result = evaluate_densepose(content, path, SURFACE)
    assert result.coverage.endswith("1 entries skipped: their category is not evaluated")
