"""A synthetic set on disk: made by several workers, resumed after an interruption.

Equal settings give equal bytes, whatever the number of workers.

Layout below the root:
    annotations/densepose_{train,val}.json      DensePose-COCO
    images/{train,val}/000000000001.jpg         numbers are image ids, 1-based in each split
    truth/{train,val}/000000000001_iuv.png      RGB = part, U * 255, V * 255
    truth/{train,val}/000000000001_instance.png 0 no person, else 1 + its index in the scene
    manifest.json                               settings, counts, whether the set is complete
    records/                                    a file per finished image, until all are finished
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from densepose.errors import InputError
from densepose.files import LOCK, atomic, held, sha256
from densepose.surface import body, charts
from densepose.workers import end_with_parent

from .anatomy import load_anatomy
from .annotate import CATEGORIES
from .library import library_files, open_library
from .photo_background import photo_files
from .picture import CAMERAS, SPLITS, PictureSettings, make_picture

KIND = "densepose synthetic dataset"
# Counts up whenever equal settings give other images or annotations than before.
GENERATOR = 3
MANIFEST = "manifest.json"
_SMALLEST_IMAGE, _LARGEST_IMAGE = 48, 2048
_MOST_PEOPLE = 10
_MOST_NOISE_M = 0.5
_BATCH = 4
# Each worker computes alone; threads of libraries inside it only get in each other's way.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class SyntheticDataset:
    """A finished set on disk."""

    root: Path
    counts: dict[str, dict[str, int]]  # split -> images, people, annotated_people, points


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
    assets: str | Path | None = None,
    empty_share: float = 0.0,
    on_progress: Callable[[int, int], object] = lambda done, of: None,
) -> SyntheticDataset:
    """Make a set, or resume one that was interrupted.

    A script needs ``if __name__ == "__main__"`` around it, since workers are spawned.

    Args:
        root: folder of the set; new, empty, or written by this function with the same settings.
        seed: of everything random, at least 0.
        num_train: images of the training split.
        num_val: images of the held-out split, which shares nothing with the other.
        image_size: side of the square images in px.
        workers: processes; the result does not depend on it.
        people: fewest and most people in a scene.
        noise_m: standard deviation of annotators along the surface; the paper has 0.02 to 0.07.
        backgrounds: folder of photos, split disjointly; None generates backgrounds.
        photo_share: fraction of the images with a photo as background, not a generated one.
        camera: "photo", or "night" for grey and grainy pictures in the light of an infrared lamp.
        assets: folder of MakeHuman items, motions and panoramas, see docs/synthetic.md.
        empty_share: fraction of the images without people.
        on_progress: called with (finished, all) after every image.

    Raises:
        InputError: settings out of range; the folder holds other things, or of other settings.
    """
    root = Path(root)
    photos = str(backgrounds) if backgrounds else None
    picture = PictureSettings(
        *(seed, image_size, tuple(people), noise_m, photos, photo_share, camera),
        assets=str(assets) if assets else None,
        empty_share=empty_share,
    )
    sizes = {"train": num_train, "val": num_val}
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    check_settings(picture, sizes)
    with held(root):
        manifest = _open_folder(root, _identity(picture, sizes))
        complete = manifest["complete"] and _has_annotations(root, sizes)
        jobs = _open_jobs(root, sizes, complete=complete)
        _make(root, picture, jobs, workers, num_train + num_val, on_progress)
        if not complete:
            manifest = _complete(root, picture, sizes)
        shutil.rmtree(root / "records", ignore_errors=True)
    return SyntheticDataset(root, manifest["counts"])


def _make(
    root: Path,
    picture: PictureSettings,
    jobs: list[tuple[str, int]],
    workers: int,
    total: int,
    report: Callable[[int, int], object],
) -> None:
    """Make the images of ``jobs``, the last of ``total``."""
    finished = total - len(jobs)
    report(finished, total)
    for count in _run(root, picture, jobs, workers):
        finished += count
        report(finished, total)


def check_settings(picture: PictureSettings, sizes: dict[str, int]) -> None:
    """Refuse settings no set can be made with.

    Args:
        picture: what the content of images depends on.
        sizes: number of images by split.

    Raises:
        InputError: names the setting, its value and what is allowed; too few photos for
            backgrounds.
    """
    fewest, most = picture.people
    size, fraction = picture.image_size, picture.photo_share
    rules = [(picture.seed >= 0, f"seed must be at least 0, got {picture.seed}")]
    rules += [(n >= 0, f"num_{split} must be at least 0, got {n}") for split, n in sizes.items()]
    rules += [
        (any(sizes.values()), "num_train and num_val are both 0: nothing to make"),
        (
            _SMALLEST_IMAGE <= size <= _LARGEST_IMAGE,
            f"image_size must be {_SMALLEST_IMAGE} to {_LARGEST_IMAGE} px, got {size}",
        ),
        (
            1 <= fewest <= most <= _MOST_PEOPLE,
            f"people must be FEWEST-MOST within 1 to {_MOST_PEOPLE}, got {fewest}-{most}",
        ),
        (
            0 <= picture.noise_m <= _MOST_NOISE_M,
            f"noise_m must be 0 to {_MOST_NOISE_M} metres, got {picture.noise_m}",
        ),
        (
            picture.camera in CAMERAS,
            f"camera must be one of {', '.join(CAMERAS)}, got {picture.camera!r}",
        ),
        (0 < fraction <= 1, f"photo_share must be in (0, 1], got {fraction}"),
        (
            0 <= picture.empty_share <= 1,
            f"empty_share must be in [0, 1], got {picture.empty_share}",
        ),
        (
            fraction == 1 or picture.backgrounds is not None,
            f"photo_share {fraction} needs backgrounds, a folder of photos",
        ),
    ]
    for holds, message in rules:
        if not holds:
            raise InputError(message)
    if picture.backgrounds is not None:
        photo_files(picture.backgrounds, "train")
    if picture.assets is not None:
        open_library(picture.assets, "train")


def _identity(picture: PictureSettings, sizes: dict[str, int]) -> dict[str, Any]:
    """Everything the bytes of a set depend on; folders count by the names and sizes of files."""
    settings = asdict(picture) | {f"num_{split}": count for split, count in sizes.items()}
    settings["people"] = list(picture.people)
    if picture.backgrounds is not None:
        files = [path for split in SPLITS for path in photo_files(picture.backgrounds, split)]
        settings["backgrounds"] = _names_and_sizes(picture.backgrounds, files)
    for name, usual in (("assets", None), ("empty_share", 0.0)):
        if settings[name] == usual:
            del settings[name]  # sets that were made before it was a setting stay what they are
    if picture.assets is not None:
        settings["assets"] = _names_and_sizes(picture.assets, library_files(picture.assets))
    baked = [sha256(asset) for asset in (body.ASSET, charts.ASSET)]
    return {"kind": KIND, "generator": GENERATOR, "body_sha256": baked, "settings": settings}


def _names_and_sizes(folder: str, files: list[Path]) -> str:
    names = [f"{path.relative_to(folder)} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _open_folder(root: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a folder: a new one, or that of the set in it.

    Raises:
        InputError: the folder is not empty and holds no set, or one made with other settings.
    """
    path = root / MANIFEST
    if path.is_file():
        return _read_manifest(path, identity)
    if root.exists() and (not root.is_dir() or _strange(root)):
        raise InputError(
            f"{root}: not empty and without a {MANIFEST} of a synthetic set: nothing is written;"
            " give a new folder with --out, or remove this one yourself"
        )
    manifest = identity | {"complete": False, "counts": {}}
    _write_json(path, manifest, indent=2)
    return manifest


def _strange(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.name != LOCK]


def _read_manifest(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: not valid JSON ({error}); remove the folder to make the set anew"
        ) from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{path}: not written by this program; give another folder with --out")
    before, now = ({**m, **m.get("settings", {}), "settings": 0} for m in (found, identity))
    changed = [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(set(before) | set(now))
        if name not in ("complete", "counts") and before.get(name) != now.get(name)
    ]
    if changed:
        raise InputError(
            f"{path.parent}: holds a set made otherwise ({'; '.join(changed)});"
            " use the same settings, give another folder with --out, or remove this one yourself"
        )
    return found


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


def _annotation_path(root: Path, split: str) -> Path:
    return root / "annotations" / f"densepose_{split}.json"


def _has_annotations(root: Path, sizes: dict[str, int]) -> bool:
    """Whether the annotation files of a finished set are there, with all of their images."""
    for split, count in sizes.items():
        try:
            content = json.loads(_annotation_path(root, split).read_bytes())
            if len(content["images"]) != count:
                return False
        except (OSError, ValueError, KeyError, TypeError):  # gone or damaged: it is made anew
            return False
    return True


def _open_jobs(root: Path, sizes: dict[str, int], *, complete: bool) -> list[tuple[str, int]]:
    """Split and index of the images that are not there; a finished set needs no records."""
    jobs = []
    for split in SPLITS:
        for index in range(sizes[split]):
            files = [root / path for path in image_paths(split, index).values()]
            if not complete:
                files.append(_record_path(root, split, index))
            # A power failure leaves files without content.
            if not all(file.is_file() and file.stat().st_size for file in files):
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
    end_with_parent()
    # An interrupt reaches all processes; the parent stops the workers when their images are whole.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.WARNING)  # the parent has read the same assets and said it once
    cv2.setNumThreads(0)
    load_anatomy()
    charts.load_template_atlas()


def _make_batch(root: Path, settings: PictureSettings, batch: list[tuple[str, int]]) -> int:
    for split, index in batch:
        try:
            _make_image(root, settings, split, index)
        except (InputError, OSError) as error:
            raise InputError(f"{split} image {index + 1}: {error}") from error
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
        with atomic(root / paths[kind]) as temporary:
            temporary.write_bytes(data)
    image = {"id": index + 1, "file_name": Path(paths["image"]).name}
    image |= {"width": settings.image_size, "height": settings.image_size}
    annotations = [{**record, "image_id": index + 1} for record in picture.annotations]
    record = {"image": image, "annotations": annotations}
    _write_json(_record_path(root, split, index), record)


def _complete(root: Path, picture: PictureSettings, sizes: dict[str, int]) -> dict[str, Any]:
    """Write the annotation files of a set whose images are all there; its manifest."""
    # Compared again, because photos or the body may have been changed in the meantime.
    manifest = _open_folder(root, _identity(picture, sizes))
    counts = {split: _join_records(root, split, sizes[split]) for split in SPLITS}
    manifest |= {"complete": True, "counts": counts}
    _write_json(root / MANIFEST, manifest, indent=2, durable=True)
    return manifest


def _join_records(root: Path, split: str, count: int) -> dict[str, int]:
    """Write the annotation file of a split; returns what is in it."""
    records = [json.loads(_record_path(root, split, i).read_bytes()) for i in range(count)]
    people = [annotation for record in records for annotation in record["annotations"]]
    content = {
        "info": {"description": "synthetic DensePose-COCO", "split": split},
        "licenses": [],
        "categories": CATEGORIES,
        "annotations": [{"id": number, **person} for number, person in enumerate(people, 1)],
        "images": [record["image"] for record in records],
    }
    _write_json(_annotation_path(root, split), content, durable=True)
    points = [len(person["dp_x"]) for person in people if "dp_x" in person]
    return {
        "images": count,
        "people": len(people),
        "annotated_people": len(points),
        "points": sum(points),
    }


def _write_json(
    path: Path, content: dict[str, Any], indent: int | None = None, *, durable: bool = False
) -> None:
    separators = (",", ":") if indent is None else None
    with atomic(path, durable=durable) as temporary:
        temporary.write_text(json.dumps(content, indent=indent, separators=separators), "utf-8")
