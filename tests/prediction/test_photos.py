"""Reading photos whatever their format, mode, orientation and depth."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from densepose.errors import InputError
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


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("color", [False, True])
def test_more_than_eight_bits_are_stretched_to_their_depth(
    tmp_path: Path, bits: int, ending: str, color: bool
):
    """A picture of 12 bits in a file of 16 is not read almost black."""
    pixels = np.rint(SCENE.astype(float) / 250 * (2**bits - 1)).astype(np.uint16)
    path = tmp_path / f"a{ending}"
    if color:  # Pillow writes none of these
        pixels = pixels * np.array([1, 0.5, 0.25])
        cv2.imwrite(str(path), np.rint(pixels).astype(np.uint16)[..., ::-1])
    else:
        Image.fromarray(pixels[..., 0]).save(path)
    expected = SCENE / 250 * 255 * (np.array([1, 0.5, 0.25]) if color else 1)
    np.testing.assert_allclose(read_photo(path), expected, atol=1 + 128 // 2 ** (bits - 8) // 2)


def test_sixteen_bits_keep_transparency_and_orientation(tmp_path: Path):
    pixels = np.dstack([SCENE.astype(np.uint16) * 257, np.full(SCENE.shape[:2], 65535, np.uint16)])
    pixels[:, :3, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    image = read_photo(tmp_path / "a.png")
    assert (image[:, :3] == 255).all()
    np.testing.assert_array_equal(image[:, 3:], SCENE[:, 3:])


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int, ending: str):
    # How the file has to be turned, from the text of the standard: row 0 is at the visual ...
    upright = {
        1: lambda a: a,  # top, column 0 left
        2: lambda a: a[:, ::-1],  # top, right
        3: lambda a: a[::-1, ::-1],  # bottom, right
        4: lambda a: a[::-1],  # bottom, left
        5: lambda a: a.swapaxes(0, 1),  # left, top
        6: lambda a: a[::-1].swapaxes(0, 1),  # right, top
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: lambda a: a[:, ::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a{ending}", Image.fromarray(SCENE), exif=exif, quality=100)
    np.testing.assert_allclose(read_photo(path).astype(int), upright(SCENE).astype(int), atol=6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # of Pillow
def test_damaged_exif_entries_cost_no_photo(tmp_path: Path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(40))
    path = saved(tmp_path / "a.png", Image.fromarray(SCENE), exif=exif)
    np.testing.assert_array_equal(read_photo(path), SCENE)


def test_the_first_picture_of_an_animation_is_used(tmp_path: Path, caplog):
    caplog.set_level("INFO")
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (read_photo(path) == (255, 0, 0)).all()
    assert "a.gif: the first of 2 pictures" in caplog.text


@pytest.mark.filterwarnings("ignore")  # of Pillow, about damage
def test_a_damaged_photo_is_read_or_named_and_nothing_else(tmp_path: Path):
    """Bytes changed, cut off and put in, in files of all formats."""
    rng = random.Random(0)
    seeds = []
    for ending in ("jpg", "png", "gif", "webp", "avif", "bmp", "tif", "jp2", "ppm", "ico", "qoi"):
        path = saved(tmp_path / f"seed.{ending}", Image.fromarray(SCENE))
        seeds.append((ending, path.read_bytes()))
    deep = cv2.imencode(".png", SCENE.astype(np.uint16) * 16)[1].tobytes()
    for _ in range(120):
        ending, content = rng.choice([*seeds, ("png", deep)])
        data = bytearray(content)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path = tmp_path / f"photo.{ending}"
        path.write_bytes(data)
        try:
            image = read_photo(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


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
