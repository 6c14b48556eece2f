"""``densepose texture``: take and put from the command line, and what it says to mistakes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from densepose.cli.__main__ import main
from densepose.evaluation.predictions import PredictionWriter
from densepose.structures.prediction import ImagePrediction
from densepose.vis.iuv_image import write_iuv_png
from densepose.vis.texture import read_texture

PART = 12


@pytest.fixture
def files(tmp_path):
    """A red person of 8 x 8 px (the best) and a green one, as photo, IUV picture and prediction."""
    photo = np.zeros((20, 30, 3), np.uint8)
    iuv = np.zeros_like(photo)
    step = np.arange(8, dtype=np.uint8) * 36
    person = np.stack([np.full((8, 8), PART, np.uint8), *np.meshgrid(step, step[::-1])], axis=-1)
    iuv[4:12, 2:10] = iuv[4:12, 20:28] = person
    photo[4:12, 2:10], photo[4:12, 20:28] = (200, 0, 0), (0, 200, 0)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    write_iuv_png(tmp_path / "iuv.png", iuv)
    labels, uv = person[..., 0], person[..., 1:].transpose(2, 0, 1)
    prediction = ImagePrediction(
        image_id=7,
        image_size=(20, 30),
        boxes_xyxy_px=np.array([[2, 4, 10, 12], [20, 4, 28, 12]], np.float32),
        scores=np.array([0.9, 0.6], np.float32),
        labels=(labels, labels),
        uv=(uv, uv),
        keypoints_px=np.zeros((2, 17, 3), np.float32),
    )
    PredictionWriter(tmp_path / "predictions").write(prediction)
    return tmp_path


def texture(files, *words: str) -> int:
    return main(["texture", *(str(files / w) if "." in w else w for w in words)])


NPZ = "predictions/000000000007.npz"


def test_the_best_person_is_taken_and_put_on_the_others(files, capsys):
    assert texture(files, "take", "photo.png", NPZ, "--out", "a/texture.png") == 0
    assert "texture of 1 of 24 parts" in capsys.readouterr().out
    tiles = read_texture(files / "a" / "texture.png")
    known = tiles[PART - 1, ..., 3] > 0
    assert known.mean() > 0.9 and (tiles[PART - 1][known][:, :3] == (200, 0, 0)).all()
    words = ("put", "photo.png", NPZ, "--texture", "a/texture.png", "--out", "b/dressed.png")
    assert texture(files, *words) == 0
    dressed = np.asarray(Image.open(files / "b" / "dressed.png"))
    assert (dressed[4:12, 20:28] == (200, 0, 0)).all() and not dressed[:4].any()


def test_another_person_by_number_and_a_smaller_tile(files):
    words = ("--person", "2", "--tile", "20", "--fill", "--surface", "template")
    assert texture(files, "take", "photo.png", NPZ, "--out", "t.png", *words) == 0
    tiles = read_texture(files / "t.png")
    assert tiles.shape == (24, 20, 20, 4)
    assert (tiles[PART - 1] == (0, 200, 0, 255)).all()


@pytest.mark.parametrize("order", ["iuv", "vui"])
def test_an_iuv_picture_of_either_order(files, order):
    if order == "vui":
        stored = np.asarray(Image.open(files / "iuv.png"))[..., ::-1]
        Image.fromarray(stored).save(files / "iuv.png")
    assert texture(files, "take", "photo.png", "iuv.png", "--out", "t.png") == 0
    # Two people in one picture are averaged.
    middle = read_texture(files / "t.png")[PART - 1, 100, 100]
    assert middle.tolist() == [100, 100, 0, 255]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("take", "photo.png", NPZ, "--person", "3"), "no person 3; there are 2"),
        (("take", "photo.png", "iuv.png", "--person", "1"), "--person chooses from a prediction"),
        (("take", "small.png", NPZ), "made for a photo of 30 x 20 px, but .*small.png has 10 x 5"),
        (("take", "photo.png", "black.png"), "shows no instance"),
        (("put", "photo.png", NPZ), "put needs --texture"),
        (("put", "photo.png", NPZ, "--texture", "photo.png"), "a texture holds 6 x 4"),
        (("take", "photo.png", NPZ, "--texture", "t.png"), "--texture is for put"),
        (("take", "text.png", NPZ), "text.png: not a picture that can be read"),
        (("take", "absent.png", NPZ), "absent.png"),
    ],
)
def test_mistakes_are_told_in_one_line(files, capsys, words, complaint):
    Image.new("RGB", (10, 5)).save(files / "small.png")
    Image.new("RGB", (30, 20)).save(files / "black.png")
    (files / "text.png").write_text("no picture")
    assert texture(files, *words, "--out", "out.png") == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert re.search(complaint, message), message
    assert not (files / "out.png").exists()
