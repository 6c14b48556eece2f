"""Finding photos, and reading them whatever their mode, orientation and depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densepose.errors import InputError
from densepose.prediction.inputs import find_inputs
from densepose.prediction.photos import read_photo

SCENE = np.zeros((8, 12, 3), np.uint8)
SCENE[:4, :6], SCENE[:4, 6:], SCENE[4:, :6], SCENE[4:, 6:] = 250, 170, 90, 10


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK"])
def test_a_photo_of_any_mode_comes_as_rgb(tmp_path: Path, mode: str):
    image = Image.fromarray(SCENE)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    path = saved(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), image)
    np.testing.assert_allclose(read_photo(path).astype(int), SCENE, atol=1)


def test_sixteen_bits_keep_their_shades(tmp_path: Path):
    # 257 * 255 = 65535: 16-bit white is 8-bit white.
    path = saved(tmp_path / "a.png", Image.fromarray(SCENE[..., 0].astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_photo(path), SCENE)


def test_transparent_pixels_are_white(tmp_path: Path):
    alpha = np.full(SCENE.shape[:2], 255, np.uint8)
    alpha[:, :3] = 0
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack([SCENE, alpha])))
    image = read_photo(path)
    assert (image[:, :3] == 255).all()
    np.testing.assert_array_equal(image[:, 3:], SCENE[:, 3:])


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (3, lambda a: np.rot90(a, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (8, np.rot90),
        (2, np.fliplr),
    ],
)
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(SCENE), exif=exif)
    np.testing.assert_array_equal(read_photo(path), upright(SCENE))


@pytest.mark.parametrize("content", [b"", b"hello", "cut"])
def test_a_broken_photo_is_named(tmp_path: Path, content: bytes | str):
    path = tmp_path / "holiday.png"
    if content == "cut":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
        saved(path, Image.fromarray(noise))
        content = path.read_bytes()[:3000]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holiday.png: .*picture"):
        read_photo(path)


def test_a_picture_without_a_white_is_refused(tmp_path: Path):
    path = saved(tmp_path / "depth.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(ValueError, match="depth.tif: floating-point"):
        read_photo(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "sub/c.jpeg", "sub/clip.mp4", "notes.txt", "pictures/found.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_searched_and_sorted_without_the_results(folder: Path):
    found = find_inputs([str(folder)], results=folder).paths
    assert names(found, folder) == ["a.PNG", "b.jpg", "sub/c.jpeg", "sub/clip.mp4"]


def test_files_come_first_as_given_and_nothing_twice(folder: Path):
    found = find_inputs([str(folder / "sub/c.jpeg"), str(folder / "**/*.jp*g")]).paths
    assert names(found, folder) == ["sub/c.jpeg", "b.jpg", "pictures/found.jpg"]


@pytest.mark.parametrize("word", ["none.jpg", "none*", "empty"])
def test_nothing_there_is_said(folder: Path, word: str):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"(none|empty).*no (such )?photo"):
        find_inputs([str(folder / word)])
