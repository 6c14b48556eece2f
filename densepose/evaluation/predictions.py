"""Predictions on disk: a folder with one NPZ file an image, and results of the COCO challenge.

A folder of predictions holds ``densepose_predictions.json`` (what the folder is) and one file
``<image id, 12 digits>.npz`` for each image:

==============  ===================  =========================================================
key             shape, dtype         meaning
==============  ===================  =========================================================
schema          () int64             number of this layout
image_id        () int64
image_size      (2,) int64           height, width in px
boxes_xyxy_px   (N, 4) float32       best score first
scores          (N,) float32
map_sizes       (N, 2) int64         rows, columns of each person's maps
labels          (L,) uint8           label maps of all people, row by row; L pixels together
uv              (2 L,) uint8         of each person all U, then all V, in steps of 1 / 255
mask_counts     (M,) uint8           COCO run lengths of the image-sized masks of all people
mask_lengths    (N,) int64           bytes of each person's mask
keypoints_px    (N, K, 3) float32    x, y, score; pixel centres at half numbers
part_names      (25,) string         of the numbers in the label maps, 0 is the background
file_name       () string            of the photo
==============  ===================  =========================================================

Masks and keypoints are there only where a branch of the model has made them. ``file_name`` is there
where the photo is known by its name, as ``densepose predict`` writes it; its ``image_id`` is then
a running number.

Results of the challenge are a JSON list of objects with the keys image_id, category_id, bbox
[x, y, w, h], score, uv_shape [3, h, w] and uv_data: a base64 PNG whose red, green and blue are the
part, U and V in steps of 1 / 255.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import reprlib
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from PIL import Image, UnidentifiedImageError

from densepose.errors import InputError
from densepose.files import atomic, to_json, write_text
from densepose.ops.run_lengths import runs_fill
from densepose.structures.body_parts import PART_NAMES
from densepose.structures.prediction import (
    MOST_MAP_PIXELS,
    ImagePrediction,
    check_map_sizes,
    check_prediction,
)
from densepose.structures.records import MOST_PIXELS, Finite, Side, Whole, expectation, read_json

from .ground_truth import GroundTruth

SCHEMA = 1
MARKER = "densepose_predictions.json"
# Name -> dtype and number of dimensions, see above.
_ARRAYS = {
    "schema": (np.int64, 0),
    "image_id": (np.int64, 0),
    "image_size": (np.int64, 1),
    "boxes_xyxy_px": (np.float32, 2),
    "scores": (np.float32, 1),
    "map_sizes": (np.int64, 2),
    "labels": (np.uint8, 1),
    "uv": (np.uint8, 1),
    "mask_counts": (np.uint8, 1),
    "mask_lengths": (np.int64, 1),
    "keypoints_px": (np.float32, 3),
    "part_names": (np.str_, 1),
    "file_name": (np.str_, 0),
}
_NEEDED = ("image_id", "image_size", "boxes_xyxy_px", "scores", "map_sizes", "labels", "uv")
# An archive of more unpacked bytes has maps that are refused, or is meant to fill the memory.
_MOST_BYTES = 4 * MOST_MAP_PIXELS
# What reading an archive raises on damaged bytes; the last three where they ask for a password, for
# another kind of compression, or for arrays that fit into no memory.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    MemoryError,
)


class PredictionWriter:
    """Writes predictions into a folder of their own.

    Several processes may write into one folder. A file of the same image is replaced.
    """

    def __init__(self, folder: str | Path) -> None:
        """Make the folder, or take one that was made by this class.

        Raises:
            InputError: the folder holds other things.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / MARKER).is_file():
            other = next((p.name for p in self.folder.iterdir() if not _is_ours(p.name)), None)
            if other is not None:
                raise InputError(
                    f"{self.folder}: is not a folder of predictions ({MARKER} is missing) and holds"
                    f" {other!r}; name a new folder, or empty this one"
                )
            note = {"format": "DensePose predictions, one NPZ an image", "schema": SCHEMA}
            write_text(self.folder / MARKER, to_json(note, indent=None))

    def write(self, prediction: ImagePrediction) -> Path:
        """Write the file of one image, whole or not at all; its path."""
        path = self.folder / f"{prediction.image_id:012d}.npz"
        write_prediction(path, prediction)
        return path

    def clear(self) -> int:
        """Delete the predictions in the folder; how many there were."""
        files = [path for path in self.folder.glob("*.npz") if _is_ours(path.name)]
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)


def write_prediction(path: str | os.PathLike[str], prediction: ImagePrediction) -> None:
    """Write the file of one image, whole or not at all.

    Raises:
        ValueError: its arrays are of other shapes or types.
    """
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **_arrays(prediction))


def prediction_paths(folder: str | os.PathLike[str]) -> list[Path]:
    """The prediction files of a folder, by image id.

    Args:
        folder: of predictions, or what ``densepose evaluate --save-predictions`` or ``densepose
            predict --save npz`` wrote, which has them in ``predictions``.

    Raises:
        InputError: no such folder, or it is not a folder of predictions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of predictions")
    if not (folder / MARKER).is_file() and (folder / "predictions" / MARKER).is_file():
        folder = folder / "predictions"
    if not (folder / MARKER).is_file():
        raise InputError(
            f"{folder}: is not a folder of predictions, {MARKER} is missing; name the folder that"
            " `densepose evaluate --save-predictions` or `densepose predict --save npz` wrote"
        )
    return sorted(folder.glob("*.npz"))


def read_prediction(path: str | os.PathLike[str]) -> ImagePrediction:
    """Read the file of one image.

    Raises:
        FileNotFoundError: no such file.
        InputError: damaged, of another schema, or its arrays do not fit together.
    """
    try:
        arrays = _unpacked(path)
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged ({error}); delete it and predict again") from error
    if "schema" not in arrays:
        raise InputError(f"{path}: not a prediction file: it has no key 'schema'")
    if arrays["schema"].tolist() != SCHEMA:
        raise InputError(
            f"{path}: schema {arrays['schema']}, this version reads schema {SCHEMA};"
            " predict again, or use the version that wrote the file"
        )
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise InputError(f"{path}: incomplete, key {missing[0]!r} is missing")
    for name, array in arrays.items():
        kind, ndim = _ARRAYS.get(name, (None, 0))
        if kind is None or not np.issubdtype(array.dtype, kind) or array.ndim != ndim:
            expected = "no such key" if kind is None else f"{ndim} dimensions of {kind.__name__}"
            raise InputError(
                f"{path}: {name}: expected {expected}, got {array.ndim} of {array.dtype}; predict"
                " again"
            )
    prediction = _prediction(arrays, str(path))
    check_prediction(prediction)
    return prediction


def _unpacked(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file; np.load would read an archive of any size."""
    # From memory: damaged places raise ValueError, so that an OSError is one of the disk.
    with zipfile.ZipFile(io.BytesIO(Path(path).read_bytes())) as archive:
        members = archive.infolist()
        if any(m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for m in members):
            raise ValueError("compressed in a way that NumPy does not use")
        if (total := sum(member.file_size for member in members)) > _MOST_BYTES:
            raise ValueError(f"{total:,} bytes unpacked; at most {_MOST_BYTES:,} are read")
        arrays = {}
        for member in members:
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def _arrays(prediction: ImagePrediction) -> dict[str, np.ndarray]:
    count, name = len(prediction), f"image {prediction.image_id}"
    for index, (label, uv) in enumerate(zip(prediction.labels, prediction.uv, strict=True)):
        if uv.shape != (2, *label.shape) or label.dtype != np.uint8 or uv.dtype != np.uint8:
            raise ValueError(
                f"{name}, person {index}: labels (h, w) and uv (2, h, w) must be uint8, got"
                f" {label.shape} {label.dtype} and {uv.shape} {uv.dtype}"
            )
    empty = [np.zeros(0, np.uint8)]
    arrays = {
        "schema": np.int64(SCHEMA),
        "image_id": np.int64(prediction.image_id),
        "image_size": np.array(prediction.image_size, np.int64),
        "boxes_xyxy_px": np.asarray(prediction.boxes_xyxy_px, np.float32).reshape(count, 4),
        "scores": np.asarray(prediction.scores, np.float32).reshape(count),
        "map_sizes": np.array([m.shape for m in prediction.labels], np.int64).reshape(count, 2),
        "labels": np.concatenate([label.ravel() for label in prediction.labels] or empty),
        "uv": np.concatenate([uv.ravel() for uv in prediction.uv] or empty),
        "part_names": np.array(PART_NAMES),
    }
    if prediction.file_name:
        arrays["file_name"] = np.array(prediction.file_name)
    if prediction.masks is not None:
        size = list(prediction.image_size)
        wrong = [mask["size"] for mask in prediction.masks if list(mask["size"]) != size]
        if wrong:
            raise ValueError(f"{name}: masks must be {size} px as the image, got {wrong[0]}")
        counts = [mask["counts"] for mask in prediction.masks]
        arrays["mask_counts"] = np.frombuffer(b"".join(counts), np.uint8)
        arrays["mask_lengths"] = np.array([len(each) for each in counts], np.int64)
    if prediction.keypoints_px is not None:
        keypoints = np.asarray(prediction.keypoints_px, np.float32)
        if keypoints.ndim != 3 or keypoints.shape[2] != 3:
            raise ValueError(f"{name}: keypoints must be (N, K, 3), got {keypoints.shape}")
        arrays["keypoints_px"] = keypoints
    return arrays


def _prediction(arrays: Mapping[str, np.ndarray], source: str) -> ImagePrediction:
    boxes, scores, sizes = arrays["boxes_xyxy_px"], arrays["scores"], arrays["map_sizes"]
    keypoints, image_size = arrays.get("keypoints_px"), arrays["image_size"].tolist()
    count = len(scores)
    if len(image_size) != 2 or min(image_size) < 1 or math.prod(image_size) > MOST_PIXELS:
        raise InputError(
            f"{source}: image_size {reprlib.repr(image_size)}; expected height and width in px"
        )
    if boxes.shape != (count, 4) or sizes.shape != (count, 2):
        raise InputError(
            f"{source}: {count} scores, but boxes {boxes.shape} and map sizes {sizes.shape}"
        )
    if keypoints is not None and (len(keypoints) != count or not np.isfinite(keypoints).all()):
        raise InputError(
            f"{source}: keypoints_px {keypoints.shape}; expected finite ones of {count} people"
        )
    check_map_sizes(sizes, image_size, source)
    pixels = sizes.prod(axis=1)
    labels, uv = arrays["labels"], arrays["uv"]
    if len(labels) != pixels.sum() or len(uv) != 2 * pixels.sum():
        raise InputError(
            f"{source}: map sizes ask for {pixels.sum()} pixels, there are {len(labels)} labels and"
            f" {len(uv)} uv values"
        )
    ends = np.cumsum(pixels)[:-1]
    flat_labels = np.split(labels, ends) if count else []
    flat_uv = np.split(uv, 2 * ends) if count else []
    return ImagePrediction(
        image_id=int(arrays["image_id"]),
        image_size=(image_size[0], image_size[1]),
        boxes_xyxy_px=boxes,
        scores=scores,
        labels=tuple(flat.reshape(size) for flat, size in zip(flat_labels, sizes, strict=True)),
        uv=tuple(flat.reshape(2, *size) for flat, size in zip(flat_uv, sizes, strict=True)),
        masks=_masks(arrays, count, source) if "mask_lengths" in arrays else None,
        keypoints_px=keypoints,
        file_name=str(arrays.get("file_name", "")),
        source=source,
    )


def _masks(arrays: Mapping[str, np.ndarray], count: int, source: str) -> tuple[dict[str, Any], ...]:
    lengths, text = arrays["mask_lengths"], arrays.get("mask_counts", np.zeros(0)).tobytes()
    if len(lengths) != count or (lengths < 0).any() or lengths.sum() != len(text):
        raise InputError(
            f"{source}: {len(lengths)} masks of {lengths.sum()} bytes, there are {count} people and"
            f" {len(text)} bytes"
        )
    size, ends = arrays["image_size"].tolist(), np.cumsum(lengths).tolist()
    counts = [text[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]
    # pycocotools crashes on runs that do not fill their image.
    if not (filled := runs_fill(counts, tuple(size))).all():
        raise InputError(f"{source}: the mask of person {filled.argmin()} does not fill {size} px")
    return tuple({"size": size, "counts": each} for each in counts)


def _is_ours(name: str) -> bool:
    stem = name.split(".")[0]
    complete = name == f"{stem}.npz" and stem.isdigit() and len(stem) >= 12
    # Hidden files are those of a process that was killed.
    return name == MARKER or complete or name.startswith(".")


def write_challenge_results(
    path: str | os.PathLike[str], predictions: Iterable[ImagePrediction], category_id: int = 1
) -> int:
    """Write predictions as a result file, person by person, whole or not at all.

    Returns:
        How many people were written.
    """
    count = 0
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        for prediction in predictions:
            for index in range(len(prediction)):
                file.write(",\n" if count else "\n")
                json.dump(_result(prediction, index, category_id), file)
                count += 1
        file.write("\n]\n")
    return count


def read_challenge_results(
    path: str | os.PathLike[str], truth: GroundTruth, skipped: Counter[str]
) -> Iterator[ImagePrediction]:
    """Predictions of a result file, image by image in the order of the file.

    Sizes of images come from ``truth``. Results of categories that it does not evaluate are
    counted in ``skipped``.

    Raises:
        FileNotFoundError: no such file.
        InputError: not a result file, or an entry is damaged; names the entry.
    """
    results = read_json(path)
    if not isinstance(results, list):
        raise InputError(f"{path}: expected a list of results, got a {type(results).__name__}")
    read = typed_entries(results, _Result, str(path))
    for image_id, numbers in entries_by_image(path, read, truth, skipped).items():
        entries = [read[number] for number in numbers]
        names = [f"{path}: entry {number}" for number in numbers]
        sizes = np.array([entry.uv_shape[1:] for entry in entries], np.int64)
        check_map_sizes(sizes, truth.image_size(image_id), f"{names[0]}: image {image_id}")
        people = [_person(entry, name) for entry, name in zip(entries, names, strict=True)]
        yield prediction_of_people(image_id, people, entries, truth, str(path))


class PersonEntry(msgspec.Struct):
    """What every entry of one person has, in files of results and in dumps."""

    image_id: Whole
    bbox: Annotated[list[Finite], Meta(min_length=4, max_length=4)]  # x, y, width, height in px
    score: Finite
    category_id: Whole | None = None


class _Result(PersonEntry, kw_only=True):
    uv_shape: tuple[int, Side, Side]
    uv_data: str


Entry = TypeVar("Entry", bound=msgspec.Struct)
Person = tuple[np.ndarray, np.ndarray, np.ndarray]  # box xywh px (4,), labels (h, w), uv (2, h, w)


def typed_entries(entries: Sequence[Any], kind: type[Entry], source: str) -> list[Entry]:
    """The entries of a file of predictions; whole numbers may be written as 7, 7.0 or "7".

    Raises:
        InputError: an entry lacks a key, or has a value of another type.
    """
    read = []
    for number, entry in enumerate(entries):
        try:
            read.append(msgspec.convert(entry, kind, strict=False))
        except ValueError as error:
            raise InputError(
                f"{source}: entry {number}: {expectation(entry, error)}; expected the keys"
                f" {', '.join(kind.__struct_fields__)}"
            ) from error
    return read


def entries_by_image(
    path: str | os.PathLike[str],
    entries: Sequence[PersonEntry],
    truth: GroundTruth,
    skipped: Counter[str],
    *,
    of_classes: bool = False,
) -> dict[int, list[int]]:
    """Image id -> numbers of the entries whose category is evaluated; see ``class_numbers``.

    Raises:
        InputError: an image or a category is not in the annotation file.
    """
    given = {entry.category_id for entry in entries} - {None}
    evaluated = truth.class_numbers(given, str(path), of_classes=of_classes) | {None}
    by_image: dict[int, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if entry.category_id not in evaluated:
            skipped["their category is not evaluated"] += 1
            continue
        if entry.image_id not in truth:
            raise InputError(
                f"{path}: entry {number}: image {entry.image_id} is not in {truth.source}"
            )
        by_image[entry.image_id].append(number)
    return by_image


def prediction_of_people(
    image_id: int,
    people: Sequence[Person],
    entries: Sequence[PersonEntry],
    truth: GroundTruth,
    source: str,
) -> ImagePrediction:
    """The people of one image, best score first; equal scores keep their order."""
    scores = np.array([entry.score for entry in entries])
    order = np.argsort(-scores, kind="stable").tolist()
    return ImagePrediction(
        image_id=image_id,
        image_size=truth.image_size(image_id),
        boxes_xyxy_px=np.stack([_corners_of_size(*people[i][:2]) for i in order]),
        scores=scores[order].astype(np.float32),
        labels=tuple(people[i][1] for i in order),
        uv=tuple(people[i][2] for i in order),
        source=source,
    )


def _corners_of_size(box_xywh_px: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(4,) box x, y, w, h -> (4,) float32 corners whose float32 differences are w, h again.

    The two roundings of x + w and of the difference can lose some of it, even a whole pixel; the
    far corner then moves by a few of the smallest steps that float32 knows. Where no corner gives
    w and h exactly, the difference floors to the size of the label map.
    """
    size = np.array(label.shape[::-1])
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


def decoded_png(text: str, size: Sequence[int]) -> np.ndarray:
    """(3, h, w) uint8 part, U and V of a base64 PNG.

    Args:
        text: the PNG.
        size: height and width that it must have; others are not decoded.

    Raises:
        InputError: it cannot be decoded, or is not RGB of this size.
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode, got = image.mode, image.size[::-1]
            if (mode, got) == ("RGB", tuple(size)):
                return np.moveaxis(np.asarray(image), -1, 0)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,  # also binascii.Error, and text chunks that are too large
    ) as error:
        raise InputError(f"its PNG cannot be read: {error}") from error
    raise InputError(f"the PNG is {mode} of {list(got)} px, expected RGB of {list(size)} px")


def _result(prediction: ImagePrediction, index: int, category_id: int) -> dict[str, Any]:
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


def _person(result: _Result, name: str) -> Person:
    box = np.array(result.bbox, np.float64)
    height, width = np.maximum(np.floor(box[:1:-1]), 1).astype(int).tolist()
    if result.uv_shape != (3, height, width):
        raise InputError(
            f"{name}: bbox {result.bbox} asks for uv_shape {[3, height, width]}, got"
            f" {list(result.uv_shape)}"
        )
    try:
        planes = decoded_png(result.uv_data, (height, width))
    except InputError as error:
        raise InputError(f"{name}: uv_data: {error}; encode it again") from error
    return box, planes[0], planes[1:]
