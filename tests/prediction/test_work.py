"""Errors of reading, predicting and writing stay apart; names, cameras and what is read ahead."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from densepose.config import get_densepose_cfg
from densepose.errors import InputError
from densepose.prediction.model import Model
from densepose.prediction.predict import Summary, predict
from densepose.prediction.results_folder import LOG
from densepose.prediction.work import read_ahead
from densepose.prediction.writing import Wanted
from densepose.structures.body_parts import PART_NAMES
from densepose.structures.prediction import ImagePrediction
from densepose.vis.styles import PART_COLORS
from tests.support.fake_camera import FakeCamera
from tests.support.predictions import prediction


class OnePerson:
    """Stands for the network: one person in the upper left corner."""

    device, min_score, largest, half = torch.device("cpu"), 0.5, None, False

    def batch(self, images: Sequence[np.ndarray], ids: Sequence[int]) -> list[ImagePrediction]:
        return [prediction(((0, 0, 2, 3), 0.9, 5), size=i.shape[:2]) for i in images]


@pytest.fixture
def model() -> Model:
    return Model(get_densepose_cfg(), "fake", OnePerson(), batch_size=2)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.new("RGB", (6, 5)).save(path)
    return paths


def run(model: Model, paths: list[Path], out: Path, *save: str, **options: object) -> Summary:
    return predict(model, paths, out, Wanted(save=save or ("iuv",)), **options)


def entries(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


def test_what_cannot_be_read_is_listed_with_its_path(model, photos, tmp_path):
    photos[1].write_bytes(b"no picture")
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
    gone, folder = tmp_path / "gone.png", tmp_path / "folder.png"
    folder.mkdir()
    done = run(model, [gone, *photos, tmp_path / "cut.mp4", folder], tmp_path / "out")
    assert done.images == 2 and len(done.failed) == 4
    for path, why in (
        (gone, "No such file"),
        (photos[1], "not a picture"),
        (tmp_path / "cut.mp4", "cannot be read as a video"),
        (folder, "Is a directory"),
    ):
        assert any(str(path) in text and why in text for text in done.failed), done.failed
    again = run(model, [gone, *photos], tmp_path / "out")
    assert again.skipped == 2 and len(again.failed) == 2


def test_a_fault_of_the_network_is_not_shown_as_a_bad_photo(model, photos, tmp_path):
    model.predictor = SimpleNamespace(**{n: getattr(OnePerson, n) for n in ("min_score", "half")})
    model.predictor.largest = None
    with pytest.raises(AttributeError, match="batch"):
        run(model, photos, tmp_path / "out")


def test_an_error_of_writing_ends_the_call_at_once(model, photos, tmp_path):
    (tmp_path / "out").mkdir()
    run(model, photos[:1], tmp_path / "out")
    (tmp_path / "out" / "iuv").rename(tmp_path / "moved")
    (tmp_path / "out" / "iuv").write_text("a file in place of the folder")
    with pytest.raises(InputError, match="iuv.*cannot be written"):
        run(model, photos, tmp_path / "out")
    assert [entry["file"] for entry in entries(tmp_path / "out")] == [str(photos[0])]


def test_names_that_are_too_long_or_no_text_are_replaced(model, tmp_path):
    names = [b"x" * 250 + b".png", b"caf\xe9.png", "\u00fc".encode() * 120 + b".png"]
    paths = [Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)) for name in names]
    for path in paths:
        Image.new("RGB", (6, 5)).save(path)
    done = run(model, paths, tmp_path / "out", "page", "iuv", "npz", "json")
    assert done.failed == [] and done.images == 3
    found = sorted(path.stem for path in (tmp_path / "out" / "iuv").iterdir())
    assert found == ["caf\ufffd", "x" * 200, "\u00fc" * 100]
    assert "caf\ufffd.png" in (tmp_path / "out" / "index.html").read_text()
    assert run(model, paths, tmp_path / "out", "page", "iuv", "npz", "json").skipped == 3


def test_a_camera_becomes_a_video(model, tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    for count in (1, 2):
        done = run(model, [], tmp_path / "out", "video", "npz", camera="0")
        assert done.images == 5 and done.people == 5
        assert len(list((tmp_path / "out" / "videos").glob("camera 0 at *.mp4"))) == count
        monkeypatch.setattr("time.strftime", lambda _: "later")
    with pytest.raises(InputError, match="camera 3: no picture"):
        run(model, [], tmp_path / "out", "video", "npz", camera="3")


def test_an_interrupt_ends_a_camera_and_keeps_its_video(model, tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    batch, calls = model.predictor.batch, []

    def interrupted(images: list, ids: list) -> list:
        calls.append(ids)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return batch(images, ids)

    model.predictor.batch = interrupted
    assert run(model, [], tmp_path / "out", "video", camera="0").images == 4
    (path,) = (tmp_path / "out" / "videos").iterdir()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


def test_one_item_is_read_ahead_and_no_more():
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number
        raise InputError("the last one")

    ahead = read_ahead(items())
    assert next(ahead) == 0 and next(ahead) == 1
    assert made[:2] == [0, 1] and len(made) <= 3
    with pytest.raises(InputError, match="the last one"):
        list(ahead)


def test_new_folders_are_numbered(model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in "12":
        folder = predict(model, photos[:1], None, Wanted(save=("iuv",))).folder
        assert folder == Path("output/predict") / number


def test_two_calls_into_one_folder_are_refused(model, photos, tmp_path):
    batch = model.predictor.batch

    def while_predicting(images: list, ids: list) -> list[ImagePrediction]:
        with pytest.raises(InputError, match="out: process .* is writing into this"):
            run(Model(model.config, "fake", OnePerson()), photos, tmp_path / "out")
        return batch(images, ids)

    model.predictor.batch = while_predicting
    assert run(model, photos, tmp_path / "out").images == 3
    assert run(model, photos, tmp_path / "out").skipped == 3


def test_every_form_has_exact_values(model, photos, tmp_path):
    """One person of part 5 in the upper left 2 x 3 pixels of a black photo of 6 x 5."""
    forms = ("iuv", "parts", "mask", "overlay", "npz", "json")
    out = tmp_path / "out"
    wanted = Wanted(save=forms, style="parts", background="black")
    predict(model, photos[:1], out, wanted)
    body = np.zeros((5, 6), bool)
    body[:3, :2] = True
    for folder, mode, inside in (
        ("iuv", "RGB", (5, 50, 100)),
        ("parts", "P", 5),
        ("mask", "1", True),
        ("overlay", "RGB", PART_COLORS[5]),
    ):
        with Image.open(out / folder / "a.png") as picture:
            assert picture.mode == mode
            pixels = np.asarray(picture)
        assert not pixels[~body].any()
        assert (pixels[body] == inside).all()
    names = json.loads((out / "part_names.json").read_text())
    assert names["5"] == PART_NAMES[5] == np.load(out / "predictions" / "a.npz")["part_names"][5]
    (result,) = json.loads((out / "json" / "a.json").read_text())
    assert result["bbox"] == [0, 0, 2, 3] and result["score"] == pytest.approx(0.9)
    assert result["image_id"] == 1 and result["category_id"] == 1
