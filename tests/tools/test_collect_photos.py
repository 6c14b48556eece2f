"""Photos out of packages: what is written, and what is refused. No registry is asked."""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densepose.synthetic.photo_background import photo_files
from tools.assets import collect_photos as module
from tools.assets.collect_photos import (
    Package,
    Photo,
    collect_photos,
    decode_panorama,
    photos_of_a_place,
    read_sources,
)

WHEEL = Package("pypi", "pictures", "1.0")
SOURCE = Package("npm", "@some/places", "2.0")


def photo(package: Package, path: str, kind: str, content: bytes) -> Photo:
    return Photo(package, path, kind, "CC0", hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def few_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PHOTOS_OF_A_PLACE", 2)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two packages, as their clients would have left them."""
    wheel = tmp_path / "cache" / "pypi_pictures_1.0" / "pictures.whl"
    source = tmp_path / "cache" / "npm_some_places_2.0" / "places.tgz"
    for path in (wheel, source):
        path.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/wall.png", b"wall")
        archive.writestr("a/crowd.jpg", b"crowd")
    with tarfile.open(source, "w:gz") as archive:
        entry = tarfile.TarInfo("package/park.exr.js")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"park"))
    return tmp_path / "cache"


TABLE = (
    photo(WHEEL, "a/wall.png", "background", b"wall"),
    photo(WHEEL, "a/crowd.jpg", "people", b"crowd"),
    photo(SOURCE, "package/park.exr.js", "panorama", b"park"),
)


def test_photos_and_the_table_of_their_origin(cache, tmp_path, monkeypatch):
    grey = np.full((8, 16, 3), 0.5, np.float32)
    monkeypatch.setattr(module, "decode_panorama", lambda content: grey)
    out = tmp_path / "out"
    assert collect_photos(out, cache, TABLE) == {"backgrounds": 3, "people": 1}
    assert (out / "backgrounds" / "wall.png").read_bytes() == b"wall"
    assert (out / "people" / "crowd.jpg").read_bytes() == b"crowd"
    with (out / "photos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["photo"] for row in rows} == {
        str(path.relative_to(out).as_posix()) for path in out.glob("*/**/*.*")
    }
    assert [row["people"] for row in rows].count("yes") == 1
    assert rows[0]["sha256"] == TABLE[0].sha256 and rows[0]["licence"] == "CC0"
    # A place is either trained on or held out.
    train, val = (photo_files(out / "backgrounds", split) for split in ("train", "val"))
    assert len(train) + len(val) == 3 and min(len(train), len(val)) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(TABLE[0], sha256="0" * 64), "sha256"),
        (replace(TABLE[0], path="a/none.png"), "is not in it"),
        (replace(TABLE[2], path="package/none.js"), "is not in it"),
    ],
)
def test_another_file_than_expected_is_refused(cache, tmp_path, wrong: Photo, message: str):
    with pytest.raises(ValueError, match=message):
        collect_photos(tmp_path / "out", cache, [wrong])


def test_a_client_that_fails_is_quoted(tmp_path, monkeypatch):
    failing = [sys.executable, "-c", "import sys; sys.exit('no such release')"]
    monkeypatch.setattr(Package, "command", property(lambda self: failing))
    with pytest.raises(OSError, match=rf"{sys.executable}.*no such release"):
        collect_photos(tmp_path / "out", tmp_path / "cache", TABLE[:1])


def test_a_place_is_photographed_alike_and_in_all_directions():
    panorama = np.random.default_rng(0).random((32, 64, 3), dtype=np.float32)
    first = photos_of_a_place(panorama, "park")
    for again, picture in zip(photos_of_a_place(panorama, "park"), first, strict=True):
        np.testing.assert_array_equal(again, picture)
        assert min(picture.shape[:2]) >= 512
    assert not np.array_equal(photos_of_a_place(panorama, "hall")[0], first[0])


def test_a_script_without_data_is_refused():
    with pytest.raises(ValueError, match="no data in base64"):
        decode_panorama(b"export default 3")


def test_the_table_has_every_file_once_and_whole():
    photos = read_sources()
    assert len({(photo.package, photo.path) for photo in photos}) == len(photos)
    assert all(len(photo.sha256) == 64 and photo.licence for photo in photos)
    assert {photo.kind for photo in photos} == {"background", "people", "panorama"}
