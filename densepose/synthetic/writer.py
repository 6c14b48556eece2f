"""Write a synthetic DensePose-COCO set: several workers, resumable, equal settings, equal bytes.

Layout below the root:
    annotations/densepose_{train,val}.json      DensePose-COCO
    images/{train,val}/000000000001.jpg         numbers are image ids, 1-based in each split
    truth/{train,val}/000000000001_iuv.png      RGB = part, U * 255, V * 255
    truth/{train,val}/000000000001_instance.png 0 nobody, else 1 + place of the person in the scene
    manifest.json                               settings, counts, hash of all files
    records/                                    one file per finished image, only while the set is
    being made
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from densepose.surface.charts import load_template_atlas

from . import manifest
from .anatomy import load_anatomy
from .annotate import CATEGORIES
from .manifest import DatasetSettings
from .picture import PictureSettings, make_picture
from .seeds import SPLITS

_BATCH = 4
# Each worker computes alone; threads of libraries inside it only get in each other's way.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class SyntheticDataset:
    """A finished set on disk."""

    root: Path
    counts: dict[str, dict[str, int]]  # split -> images, people, annotated_people, points
    files_sha256: str  # over the names and hashes of all files


def make_synthetic_dataset(
    root: str | Path,
    *,
    seed: int = 0,
    num_train: int,
    num_val: int,
    image_size: int = 320,
    workers: int = 1,
    people: tuple[int, int] = (1, 3),
    noise_m: float = 0.0,
    backgrounds: str | Path | None = None,
    photo_share: float = 1.0,
    camera: str = "photo",
    on_progress: Callable[[int, int], None] | None = None,
) -> SyntheticDataset:
    """Make a set, or go on with one that was interrupted.

    Workers are started afresh (spawn): a script that calls this needs ``if __name__ ==
    "__main__"``.

    Args:
        root: folder of the set; new, empty, or written by this function with the same settings.
        seed: of everything random, at least 0.
        num_train: images of the training split.
        num_val: images of the held-out split; other bodies, poses, clothes and backgrounds.
        image_size: side of the square images in px.
        workers: processes; the result does not depend on it.
        people: fewest and most people in a scene.
        noise_m: standard deviation of annotators along the surface, metres; the paper has 0.02 to
            0.07.
        backgrounds: folder of photos, split disjointly; None generates backgrounds.
        photo_share: of the images that have a photo as background; the others a generated one.
        camera: "photo", or "night" for grey and grainy pictures in the light of an infrared lamp.
        on_progress: called with (finished, all) after every image.

    Raises:
        ValueError: settings out of range; the folder holds something else or a set with other
            settings.
    """
    root = Path(root)
    photos = str(backgrounds) if backgrounds else None
    picture = PictureSettings(seed, image_size, tuple(people), noise_m, photos, photo_share, camera)
    settings = DatasetSettings(picture, num_train, num_val)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    manifest.check_settings(settings)
    state = manifest.open_folder(root, settings)
    jobs = _open_jobs(root, settings, complete=state.complete)
    total = num_train + num_val
    finished = total - len(jobs)
    report = on_progress or (lambda done, of: None)
    report(finished, total)
    for count in _run(root, picture, jobs, workers):
        finished += count
        report(finished, total)
    if not state.complete:
        hashes, counts = _assemble(root, settings)
        state = manifest.close_folder(root, settings, hashes, counts)
    shutil.rmtree(root / "records", ignore_errors=True)
    return SyntheticDataset(root, state.counts, state.files_sha256)


def image_paths(split: str, index: int) -> dict[str, str]:
    """Files of an image (0-based) relative to the root."""
    name = f"{index + 1:012d}"
    return {
        "image": f"images/{split}/{name}.jpg",
        "iuv": f"truth/{split}/{name}_iuv.png",
        "instance": f"truth/{split}/{name}_instance.png",
    }


def _record_path(root: Path, split: str, index: int) -> Path:
    return root / "records" / split / f"{index + 1:012d}.json"


def _open_jobs(root: Path, settings: DatasetSettings, *, complete: bool) -> list[tuple[str, int]]:
    """Split and index of the images that are not there; a finished set needs no records."""
    jobs = []
    for split in SPLITS:
        for index in range(settings.num_images(split)):
            files = [root / path for path in image_paths(split, index).values()]
            if not complete:
                files.append(_record_path(root, split, index))
            if not all(file.is_file() for file in files):
                jobs.append((split, index))
    return jobs


def _run(
    root: Path, settings: PictureSettings, jobs: list[tuple[str, int]], workers: int
) -> Iterator[int]:
    """Make the images of ``jobs``; yields how many more are finished."""
    if workers == 1 or len(jobs) <= 1:
        for job in jobs:
            yield _make_batch(root, settings, [job])
        return
    batches = [jobs[i : i + _BATCH] for i in range(0, len(jobs), _BATCH)]
    context = multiprocessing.get_context("spawn")
    with (
        _single_threaded(),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool,
    ):
        futures = [pool.submit(_make_batch, root, settings, batch) for batch in batches]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started inside read thread counts of 1 from their environment."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker() -> None:
    # An interrupt reaches all processes; the parent stops the workers when their images are whole.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    load_anatomy()
    load_template_atlas()


def _make_batch(root: Path, settings: PictureSettings, batch: list[tuple[str, int]]) -> int:
    for split, index in batch:
        try:
            _make_image(root, settings, split, index)
        except (ValueError, OSError) as error:
            raise ValueError(f"{split} image {index + 1}: {error}") from error
        except Exception as error:
            name = f"{split} image {index + 1} of seed {settings.seed}"
            raise RuntimeError(f"{name} failed: {error!r}") from error
    return len(batch)


def _make_image(root: Path, settings: PictureSettings, split: str, index: int) -> None:
    """Write the files of one image, its record last."""
    picture = make_picture(settings, split, index)
    paths = image_paths(split, index)
    content = {"image": picture.jpeg, "iuv": picture.iuv_png, "instance": picture.instance_png}
    for kind, data in content.items():
        write_atomically(root / paths[kind], data)
    record = {
        "image": {
            "id": index + 1,
            "file_name": Path(paths["image"]).name,
            "width": picture.width,
            "height": picture.height,
        },
        "annotations": [{**a, "image_id": index + 1} for a in picture.annotations],
        "sha256": {paths[kind]: hashlib.sha256(data).hexdigest() for kind, data in content.items()},
    }
    data = json.dumps(record, separators=(",", ":")).encode()
    write_atomically(_record_path(root, split, index), data)


def write_atomically(path: Path, data: bytes) -> None:
    """A file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _assemble(
    root: Path, settings: DatasetSettings
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Join the records to the annotation files -> hashes by file name, counts by split."""
    hashes: dict[str, str] = {}
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        path = root / "annotations" / f"densepose_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        counts[split] = dict.fromkeys(("images", "people", "annotated_people", "points"), 0)
        digest = hashlib.sha256()
        with temporary.open("wb") as file:
            for piece in _annotation_file(root, split, settings, hashes, counts[split]):
                digest.update(piece.encode())
                file.write(piece.encode())
        os.replace(temporary, path)
        hashes[str(path.relative_to(root).as_posix())] = digest.hexdigest()
    return hashes, counts


def _annotation_file(
    root: Path,
    split: str,
    settings: DatasetSettings,
    hashes: dict[str, str],
    counts: dict[str, int],
) -> Iterator[str]:
    """Pieces of the JSON of one split, image by image, so memory does not grow with the set."""
    images: list[dict[str, Any]] = []
    yield '{"info":{"description":"synthetic DensePose-COCO","split":' + json.dumps(split) + "},"
    yield f'"licenses":[],"categories":{json.dumps(CATEGORIES)},"annotations":['
    for index in range(settings.num_images(split)):
        record = json.loads(_record_path(root, split, index).read_bytes())
        images.append(record["image"])
        hashes.update(record["sha256"])
        for annotation in record["annotations"]:
            comma = "," if counts["people"] else ""
            counts["people"] += 1
            counts["annotated_people"] += "dp_x" in annotation
            counts["points"] += len(annotation.get("dp_x", ()))
            yield comma + json.dumps({"id": counts["people"], **annotation}, separators=(",", ":"))
    counts["images"] = len(images)
    yield '],"images":' + json.dumps(images, separators=(",", ":")) + "}"
