"""Predictions on disk: one NPZ file an image, written as the images come.

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
==============  ===================  =========================================================

The last three are there only where a mask or a keypoint branch has made them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from densepose.structures.prediction import ImagePrediction

from .array_archive import read_arrays
from .branch_arrays import branch_arrays, branch_outputs

logger = logging.getLogger(__name__)

SCHEMA = 1
MARKER = "densepose_predictions.json"
_KEYS = ("image_id", "image_size", "boxes_xyxy_px", "scores", "map_sizes", "labels", "uv")
# What reading an archive raises on damaged bytes; the last two where they ask for a password or for
# another kind of compression.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError)
# Level 1 is several times faster than the default and the files grow by a third.
_COMPRESSION_LEVEL = 1
# A fixed date in the archive: the same prediction gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


class PredictionWriter:
    """Writes predictions into a folder of their own.

    Several processes may write into one folder. A file of the same image is replaced.
    """

    def __init__(self, folder: str | Path) -> None:
        """Make the folder, or take one that was made by this class.

        Raises:
            FileExistsError: the folder holds other things.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / MARKER).is_file():
            strange = next((p.name for p in self.folder.iterdir() if not _is_ours(p.name)), None)
            if strange is not None:
                raise FileExistsError(
                    f"{self.folder}: is no folder of predictions ({MARKER} is missing) and holds"
                    f" {strange!r}; name a new folder, or empty this one"
                )
            note = {"format": "DensePose predictions, one NPZ an image", "schema": SCHEMA}
            _write_whole(self.folder / MARKER, json.dumps(note).encode())

    def write(self, prediction: ImagePrediction) -> Path:
        """Write the file of one image, whole or not at all; its path."""
        path = self.folder / f"{prediction.image_id:012d}.npz"
        temporary = _temporary(path)
        try:
            with zipfile.ZipFile(
                temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
            ) as archive:
                for name, array in _arrays(prediction).items():
                    entry = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    with archive.open(entry, "w", force_zip64=True) as stream:
                        rows_first = np.asarray(array, order="C")
                        np.lib.format.write_array(stream, rows_first, allow_pickle=False)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        return path

    def clear(self) -> int:
        """Delete the predictions (and half-written files) in the folder; how many files went."""
        gone = 0
        for path in self.folder.iterdir():
            if path.name != MARKER and _is_ours(path.name):
                path.unlink(missing_ok=True)
                gone += 1
        return gone


def prediction_paths(folder: str | Path) -> list[Path]:
    """The prediction files of a folder, by image id.

    Args:
        folder: of predictions, or what an evaluation or ``densepose predict --save-predictions``
            wrote, which has them in ``predictions``.

    Raises:
        FileNotFoundError: no such folder, or it is no folder of predictions.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of predictions")
    if not (folder / MARKER).is_file() and (folder / "predictions" / MARKER).is_file():
        folder = folder / "predictions"
    if not (folder / MARKER).is_file():
        raise FileNotFoundError(
            f"{folder}: is no folder of predictions, {MARKER} is missing; name the folder that the"
            " evaluator or `densepose predict` wrote into"
        )
    return sorted(folder.glob("*.npz"))


def read_predictions(folder: str | Path) -> Iterator[ImagePrediction]:
    """The predictions of a folder one after another, by image id.

    Raises:
        FileNotFoundError: see ``prediction_paths``.
        ValueError: see ``read_prediction``.
    """
    for path in prediction_paths(folder):
        yield read_prediction(path)


def read_prediction(path: str | Path) -> ImagePrediction:
    """Read the file of one image.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, of another schema, or its arrays do not fit together.
    """
    path = Path(path)
    try:
        arrays = read_arrays(path)
    except _DAMAGE as error:
        raise ValueError(f"{path}: damaged ({error}); delete it and predict again") from error
    if "schema" not in arrays:
        raise ValueError(f"{path}: no prediction file: it has no key 'schema'")
    if int(arrays["schema"]) != SCHEMA:
        raise ValueError(
            f"{path}: schema {int(arrays['schema'])}, this version reads schema {SCHEMA};"
            " predict again, or use the version that wrote the file"
        )
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise ValueError(f"{path}: incomplete, key {missing[0]!r} is missing")
    return _prediction(arrays, str(path))


def _arrays(prediction: ImagePrediction) -> dict[str, np.ndarray]:
    count = len(prediction)
    sizes = np.array([label.shape for label in prediction.labels], np.int64).reshape(count, 2)
    for index, (label, uv) in enumerate(zip(prediction.labels, prediction.uv, strict=True)):
        if uv.shape != (2, *label.shape) or label.dtype != np.uint8 or uv.dtype != np.uint8:
            raise ValueError(
                f"image {prediction.image_id}, person {index}: labels (h, w) and uv (2, h, w) must"
                f" be uint8, got {label.shape} {label.dtype} and {uv.shape} {uv.dtype}"
            )
    empty = [np.zeros(0, np.uint8)]
    return {
        "schema": np.int64(SCHEMA),
        "image_id": np.int64(prediction.image_id),
        "image_size": np.array(prediction.image_size, np.int64),
        "boxes_xyxy_px": np.asarray(prediction.boxes_xyxy_px, np.float32).reshape(count, 4),
        "scores": np.asarray(prediction.scores, np.float32).reshape(count),
        "map_sizes": sizes,
        "labels": np.concatenate([label.ravel() for label in prediction.labels] or empty),
        "uv": np.concatenate([uv.ravel() for uv in prediction.uv] or empty),
        **branch_arrays(prediction),
    }


def _prediction(arrays: dict[str, np.ndarray], source: str) -> ImagePrediction:
    boxes, scores, sizes = arrays["boxes_xyxy_px"], arrays["scores"], arrays["map_sizes"]
    count = len(scores)
    if boxes.shape != (count, 4) or sizes.shape != (count, 2):
        raise ValueError(
            f"{source}: {count} scores, but boxes {boxes.shape} and map sizes {sizes.shape}"
        )
    pixels = sizes.prod(axis=1)
    labels, uv = arrays["labels"], arrays["uv"]
    if len(labels) != pixels.sum() or len(uv) != 2 * pixels.sum():
        raise ValueError(
            f"{source}: map sizes ask for {pixels.sum()} pixels, there are {len(labels)} labels and"
            f" {len(uv)} uv values"
        )
    if (sizes < 1).any():
        raise ValueError(f"{source}: a map has no pixels; every map is at least 1 x 1")
    ends = np.cumsum(pixels)[:-1]
    flat_labels = np.split(labels, ends) if count else []
    flat_uv = np.split(uv, 2 * ends) if count else []
    return ImagePrediction(
        image_id=int(arrays["image_id"]),
        image_size=(int(arrays["image_size"][0]), int(arrays["image_size"][1])),
        boxes_xyxy_px=boxes,
        scores=scores,
        labels=tuple(flat.reshape(size) for flat, size in zip(flat_labels, sizes, strict=True)),
        uv=tuple(flat.reshape(2, *size) for flat, size in zip(flat_uv, sizes, strict=True)),
        **branch_outputs(arrays, source),
    )


def _is_ours(name: str) -> bool:
    stem = name.split(".")[0]
    complete = name == f"{stem}.npz" and stem.isdigit() and len(stem) >= 12
    return name == MARKER or complete or name.endswith(".densepose-part")


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.densepose-part")


def _write_whole(path: Path, content: bytes) -> None:
    temporary = _temporary(path)
    temporary.write_bytes(content)
    os.replace(temporary, path)
