"""The manifest of a synthetic set: how it was made, whether it is finished, what it contains.

``manifest.json`` is written when the first image is started, so an interrupted set is recognised,
and again at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import densepose
from densepose.surface import body as template
from densepose.surface import charts

from .photo_background import photo_files
from .picture import CAMERAS, PictureSettings
from .seeds import SPLITS

SCHEMA = 1
KIND = "densepose synthetic dataset"
# Counts up whenever equal settings give other images or annotations than before.
GENERATOR = 2
NAME = "manifest.json"
_SMALLEST_IMAGE = 48
_LARGEST_IMAGE = 2048
_MOST_PEOPLE = 8


@dataclass(frozen=True)
class DatasetSettings:
    """Everything the bytes of a set depend on."""

    picture: PictureSettings
    num_train: int
    num_val: int

    def num_images(self, split: str) -> int:
        """Images of a split."""
        return {"train": self.num_train, "val": self.num_val}[split]

    def describe(self) -> dict[str, Any]:
        """As kept in the manifest; a folder of photos counts by its content."""
        described = asdict(self.picture) | {"num_train": self.num_train, "num_val": self.num_val}
        described["people"] = list(self.picture.people)
        if self.picture.backgrounds is not None:
            described["backgrounds"] = _photos_sha256(self.picture.backgrounds)
        # As before there was a choice: sets that were made then are recognised.
        if self.picture.photo_share == 1:
            del described["photo_share"]
        if self.picture.camera == "photo":
            del described["camera"]
        return described


@dataclass(frozen=True)
class FolderState:
    """What a folder holds already."""

    complete: bool
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    files_sha256: str = ""


def _photos_sha256(folder: str) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        for path in photo_files(folder, split):
            digest.update(f"{split} {path.relative_to(folder).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def check_settings(settings: DatasetSettings) -> None:
    """Refuse settings no set can be made with.

    Raises:
        ValueError: names the setting, its value and what is allowed.
    """
    picture = settings.picture
    fewest, most = picture.people
    rules = (
        (picture.seed >= 0, f"seed must be at least 0, got {picture.seed}"),
        (settings.num_train >= 0, f"num_train must be at least 0, got {settings.num_train}"),
        (settings.num_val >= 0, f"num_val must be at least 0, got {settings.num_val}"),
        (
            settings.num_train + settings.num_val > 0,
            "num_train and num_val are both 0: nothing to make",
        ),
        (
            _SMALLEST_IMAGE <= picture.image_size <= _LARGEST_IMAGE,
            f"image_size must be {_SMALLEST_IMAGE} to {_LARGEST_IMAGE} px,"
            f" got {picture.image_size}",
        ),
        (
            1 <= fewest <= most <= _MOST_PEOPLE,
            f"people must be FEWEST-MOST within 1 to {_MOST_PEOPLE}, got {fewest}-{most}",
        ),
        (0 <= picture.noise_m <= 0.5, f"noise_m must be 0 to 0.5 metres, got {picture.noise_m}"),
        (
            picture.camera in CAMERAS,
            f"camera must be one of {', '.join(CAMERAS)}, got {picture.camera!r}",
        ),
        (0 < picture.photo_share <= 1, f"photo_share must be in (0, 1], got {picture.photo_share}"),
        (
            picture.photo_share == 1 or picture.backgrounds is not None,
            f"photo_share {picture.photo_share} needs backgrounds, a folder of photos",
        ),
    )
    for holds, message in rules:
        if not holds:
            raise ValueError(message)
    if picture.backgrounds is not None:
        for split in SPLITS:
            photo_files(picture.backgrounds, split)


def _identity(settings: DatasetSettings) -> dict[str, Any]:
    body = hashlib.sha256(template.ASSET.read_bytes() + charts.ASSET.read_bytes()).hexdigest()
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "generator": GENERATOR,
        "settings": settings.describe(),
        "template_sha256": body,
    }


def open_folder(root: Path, settings: DatasetSettings) -> FolderState:
    """Take possession of a folder, or recognise the set in it.

    Raises:
        ValueError: the folder is not empty and holds no set of ours, or one made with other
            settings.
    """
    path = root / NAME
    identity = _identity(settings)
    if path.is_file():
        return _recognise(path, identity)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(
            f"{root}: not empty and without a {NAME} of a synthetic set: nothing is written;"
            " give a new folder with --out, or remove this one yourself"
        )
    root.mkdir(parents=True, exist_ok=True)
    _write(path, identity | {"package_version": densepose.__version__, "complete": False})
    return FolderState(complete=False)


def _recognise(path: Path, identity: dict[str, Any]) -> FolderState:
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: not valid JSON ({error}); remove the folder to make the set anew"
        ) from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise ValueError(f"{path}: not written by this program; give another folder with --out")
    changed = [
        f"{name} was {found.get(name)!r}, is {value!r}"
        for name, value in identity.items()
        if name != "settings" and found.get(name) != value
    ]
    before, now = found.get("settings", {}), identity["settings"]
    changed += [
        f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(set(before) | set(now))
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise ValueError(
            f"{path.parent}: holds a set made otherwise ({'; '.join(changed)});"
            " use the same settings, give another folder with --out, or remove this one yourself"
        )
    if not found.get("complete"):
        return FolderState(complete=False)
    return FolderState(True, found["counts"], found["files_sha256"])


def close_folder(
    root: Path, settings: DatasetSettings, hashes: dict[str, str], counts: dict[str, dict[str, int]]
) -> FolderState:
    """Mark the set finished. ``hashes``: sha256 by file name; ``counts``: by split.

    Raises:
        ValueError: the body or the photos were changed while the set was being made.
    """
    _recognise(root / NAME, _identity(settings))
    listing = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    files_sha256 = hashlib.sha256(listing.encode()).hexdigest()
    content = _identity(settings) | {
        "package_version": densepose.__version__,
        "complete": True,
        "counts": counts,
        "num_files": len(hashes),
        "files_sha256": files_sha256,
    }
    _write(root / NAME, content)
    return FolderState(True, counts, files_sha256)


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)
