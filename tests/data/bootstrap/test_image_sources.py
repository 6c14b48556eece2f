from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from densepose.data.bootstrap.image_sources import (
    ImageSource,
    ReadImage,
    list_images,
    resize_images,
)
from densepose.errors import InputError


def write(path: Path, height: int = 20, width: int = 30) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_an_image_file_is_read_and_resized(tmp_path: Path):
    pixels = write(tmp_path / "a.png")
    item = ImageSource([tmp_path / "a.png"], ReadImage("BGR"), min_size=40, max_size=100)[0]
    assert item.path.endswith("a.png") and item.problem == ""
    (image,) = item.images
    assert image.shape == (3, 40, 60) and image.dtype == torch.float32
    bgr = torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    want = F.interpolate(bgr, (40, 60), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(image, want)
    (rgb,) = ImageSource([tmp_path / "a.png"], ReadImage("RGB"), min_size=40)[0].images
    torch.testing.assert_close(rgb, image.flip(0))


@pytest.mark.parametrize(
    ("size", "want"), [((20, 30), (40, 60)), ((20, 100), (20, 100)), ((30, 10), (100, 33))]
)
def test_the_longer_side_is_limited(size: tuple[int, int], want: tuple[int, int]):
    got = resize_images(torch.zeros(2, 3, *size, dtype=torch.uint8), 40, 100)
    assert got.shape == (2, 3, *want) and got.dtype == torch.float32


def test_a_damaged_file_says_so_and_gives_no_image(tmp_path: Path):
    (tmp_path / "b.jpg").write_bytes(b"no image")
    write(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:100])
    for name in ("b.jpg", "c.png", "missing.jpg"):
        item = ImageSource([tmp_path / name], ReadImage("BGR"))[0]
        assert item.images == [] and item.problem


def test_a_file_without_frames_says_so(tmp_path: Path):
    item = ImageSource([tmp_path / "x"], lambda index, path: [])[0]
    assert item.problem == "no frames"


def test_images_of_a_folder(tmp_path: Path):
    write(tmp_path / "b" / "2.JPG")
    write(tmp_path / "a" / "1.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert [path.name for path in list_images(tmp_path)] == ["1.png", "2.JPG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        list_images(tmp_path / "empty")
    with pytest.raises(InputError, match="the folder of images is missing"):
        list_images(tmp_path / "nowhere")
