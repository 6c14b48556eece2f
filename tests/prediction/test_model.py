"""``densepose.load`` and what a model gives: every line of the documented Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import densepose
from densepose.config import load_config
from densepose.engine.checkpoint import SafeCheckpointer
from densepose.engine.predictor import model_config
from densepose.errors import InputError
from densepose.vis.iuv_image import read_iuv_png

QUICK = str(Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml")
# Plain operators: compiling the faster ones takes longer than these photos.
SMALL = {"INPUT.MIN_SIZE_TEST": 64, "MODEL.CPU_OPS": "off"}


@pytest.fixture(scope="module")
def model(random_weights: Path) -> densepose.Model:
    return densepose.load(random_weights, QUICK, SMALL, device="cpu", min_score=0.0, batch_size=2)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)


@pytest.fixture
def photo(pixels: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def people(model: densepose.Model, pixels: np.ndarray) -> densepose.People:
    found = model(pixels)
    assert len(found) > 2
    return found


def test_importing_the_package_loads_neither_torch_nor_detectron2():
    code = (
        "import sys, densepose; densepose.People; densepose.evaluate; dir(densepose);"
        "sys.exit(bool({'torch', 'detectron2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert {"load", "evaluate", "train", "read_predictions"} <= set(dir(densepose))
    with pytest.raises(AttributeError, match="no attribute 'predcit'"):
        densepose.predcit  # noqa: B018  # the access is the test


def test_a_path_an_image_and_an_array_give_the_same_people(model, people, photo, pixels):
    for given in (str(photo), photo, Image.fromarray(pixels), pixels):
        found = model(given)
        # Blocked sums of floats depend on where memory lies.
        np.testing.assert_allclose(found.boxes_xyxy_px, people.boxes_xyxy_px, atol=1e-3)
        assert (found.iuv() == people.iuv()).mean() > 0.99
    assert model(photo).file_name == "photo.png" and people.file_name == ""


def test_a_list_gives_a_list_whatever_the_batches(model, people, pixels):
    several = model([pixels, pixels[:, :32], pixels])
    assert [each.image_size for each in several] == [(48, 64), (48, 32), (48, 64)]
    # The second photo is padded to the size of the first, which moves its people a little.
    assert len(several[2]) == len(people)
    np.testing.assert_allclose(several[2].boxes_xyxy_px, people.boxes_xyxy_px, atol=1e-3)
    assert model([]) == []


def test_one_person_and_some_people(people):
    person = people[0]
    assert person.score == people.scores.max()
    height, width = person.part.shape
    assert person.uv.shape == (2, height, width) and person.uv.dtype == np.float32
    assert 0 <= person.uv.min() and person.uv.max() <= 1
    assert not person.uv[:, person.part == 0].any()
    np.testing.assert_array_equal(people[-1].box_xyxy_px, people.boxes_xyxy_px[-1])
    assert len(people[:2]) == 2 and len(list(people)) == len(people)
    with pytest.raises(IndexError):
        people[len(people)]


def test_full_frames_agree_with_one_another_and_with_the_person(people):
    best = people[:1]
    iuv, person = best.iuv(), best[0]
    assert iuv.shape == (48, 64, 3) and iuv.dtype == np.uint8
    np.testing.assert_array_equal(best.part_map(), iuv[..., 0])
    np.testing.assert_array_equal(best.mask(), iuv[..., 0] > 0)
    x, y = np.floor(person.box_xyxy_px[:2]).astype(int).clip(0)
    window = iuv[y : y + person.part.shape[0], x : x + person.part.shape[1]]
    shown = person.part[: window.shape[0], : window.shape[1]]
    np.testing.assert_array_equal(window[..., 0], shown)
    uv = np.rint(255 * person.uv[:, : window.shape[0], : window.shape[1]]).transpose(1, 2, 0)
    np.testing.assert_array_equal(window[..., 1:], uv)


def test_what_is_saved_is_read_again(people, tmp_path):
    people.save(tmp_path / "deep" / "photo.npz")
    again = densepose.read_predictions(tmp_path / "deep" / "photo.npz")
    np.testing.assert_array_equal(again.iuv(), people.iuv())
    assert again.photo is None
    with np.load(tmp_path / "deep" / "photo.npz") as file:
        assert file["part_names"][2] == "torso front"
    people.save(tmp_path / "iuv.png")
    np.testing.assert_array_equal(read_iuv_png(tmp_path / "iuv.png"), people.iuv())
    people.save(tmp_path / "photo.json")
    assert (tmp_path / "photo.json").read_text().count('"uv_data"') == len(people)
    with pytest.raises(InputError, match=r"photo\.jpg: people are saved as \.npz, \.json, \.png"):
        people.save(tmp_path / "photo.jpg")


def test_drawing(people, tmp_path):
    people.draw(style="parts").save(tmp_path / "parts.png")
    with Image.open(tmp_path / "parts.png") as drawn:
        assert drawn.size == (64, 48)
    people.save(tmp_path / "a.npz")
    again = densepose.read_predictions(tmp_path / "a.npz")
    black = np.asarray(again.draw("parts", "black"))
    np.testing.assert_array_equal(black[~people.mask()], 0)
    np.testing.assert_array_equal(black, np.asarray(people.draw("parts", "#000")))
    with pytest.raises(ValueError, match="needs the photo"):
        again.draw("parts")
    with pytest.raises(ValueError, match="did you mean 'parts'"):
        people.draw("part")
    with pytest.raises(ValueError, match="neither photo, grey nor a colour"):
        people.draw("parts", "rainbow")


def test_confidence_is_drawn_where_it_was_asked_for(random_weights, pixels, people):
    with pytest.raises(ValueError, match="confidence"):
        people.draw("confidence")
    sure = densepose.load(
        random_weights, QUICK, SMALL, device="cpu", min_score=0.0, confidence=True
    )
    assert sure(pixels)[:2].draw("confidence", "black").size == (64, 48)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"must be \(H, W, 3\) uint8 RGB, got \(4, 4\) uint8"),
        (np.zeros((4, 4, 3)), "got .* float64"),
        ("none.jpg", "none.jpg: no such photo"),
    ],
)
def test_what_is_no_photo_is_refused(model, photo, message):
    with pytest.raises(InputError, match=message):
        model(photo)


def test_a_checkpoint_of_a_run_needs_no_config(random_weights, tmp_path, pixels):
    cfg = load_config(QUICK, ["INPUT.MIN_SIZE_TEST", "64", "OUTPUT_DIR", str(tmp_path)])
    module = densepose.load(random_weights, QUICK, SMALL, device="cpu").predictor.model
    SafeCheckpointer.from_config(cfg, module).save("model_final")
    loaded = densepose.load(tmp_path / "model_final.pth", options={"MODEL.CPU_OPS": "off"})
    assert loaded.config.INPUT.MIN_SIZE_TEST == 64
    assert loaded.source == str(tmp_path / "model_final.pth")
    loaded(pixels)


def test_weights_of_detectron2_take_the_config_beside_them(random_weights, tmp_path):
    (tmp_path / "model.pth").write_bytes(random_weights.read_bytes())
    with pytest.raises(InputError, match="does not say which model .*--config-file"):
        model_config(str(tmp_path / "model.pth"))
    (tmp_path / "config.yaml").write_text(load_config(QUICK, ["SEED", "7"]).dump())
    source, cfg = model_config(str(tmp_path / "model.pth"))
    assert source == str(tmp_path / "config.yaml") and cfg.SEED == 7


@pytest.mark.parametrize("name", ["R_101_FPN_s1x", "zoo://R_101_FPN_s1x"])
def test_a_released_model_has_its_config(name):
    source, cfg = model_config(name, opts=["TEST.DETECTIONS_PER_IMAGE", "7"])
    assert "R_101_FPN_s1x" in source
    assert cfg.MODEL.WEIGHTS == "zoo://R_101_FPN_s1x" and cfg.MODEL.RESNETS.DEPTH == 101
    assert cfg.TEST.DETECTIONS_PER_IMAGE == 7


def test_nothing_named_is_the_package_s_model_and_a_key_beats_an_option():
    assert model_config()[1].MODEL.WEIGHTS == "shipped://"
    opts = ["MODEL.WEIGHTS", "shipped://"]
    assert model_config("other.pth", opts=opts)[1].MODEL.WEIGHTS == "shipped://"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_half_precision_needs_a_gpu(random_weights):
    with pytest.raises(InputError, match="half precision needs a GPU"):
        densepose.load(random_weights, QUICK, SMALL, half=True)
