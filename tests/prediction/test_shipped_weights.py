"""The weights that come with the package: there, small, complete, and able to find somebody."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from densepose.config import check_config, find_config, load_config
from densepose.engine.predictor import Predictor, load_predictor
from densepose.model_zoo.files import SHIPPED_FOLDER, find_shipped_model
from densepose.synthetic.picture import PictureSettings, make_picture

MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """With all weights from the file: ``load_predictor`` refuses one that lacks any."""
    config, weights = find_shipped_model()
    cfg = load_config(find_config(config), ["MODEL.WEIGHTS", str(weights), "MODEL.DEVICE", "cpu"])
    check_config(cfg)
    return load_predictor(cfg)


def test_the_file_is_small_and_has_a_card():
    _, weights = find_shipped_model()
    assert weights.stat().st_size <= MOST_BYTES
    assert weights.name in (SHIPPED_FOLDER / "README.md").read_text(encoding="utf-8")


def test_fine_tuning_starts_from_the_same_model():
    own, _ = find_shipped_model()
    shipped, fine_tuned = (load_config(find_config(name)) for name in (own, "cpu/fine_tune"))
    assert fine_tuned.MODEL.WEIGHTS == "shipped://"
    for key in ("BACKBONE", "FPN", "ROI_BOX_HEAD", "TIMM", "PIXEL_MEAN"):
        assert fine_tuned.MODEL[key] == shipped.MODEL[key], key


def test_rendered_people_are_found_with_most_parts_right(predictor: Predictor):
    """People of a seed that nothing was trained on or chosen by."""
    right = seen = found = 0
    for index in range(4):
        picture = make_picture(PictureSettings(4321, 320, (1, 1), 0.0, None), "val", index)
        image = np.asarray(Image.open(io.BytesIO(picture.jpeg)).convert("RGB"))
        truth = np.asarray(Image.open(io.BytesIO(picture.iuv_png)))[..., 0]
        predicted = np.zeros_like(truth)
        people = predictor(image)
        for box, label in zip(people.boxes_xyxy_px[::-1], people.labels[::-1], strict=True):
            x, y = np.floor(box[:2]).astype(int).clip(0)
            window = predicted[y : y + label.shape[0], x : x + label.shape[1]]
            window[...] = label[: window.shape[0], : window.shape[1]]
        found += len(people) > 0
        both = (truth > 0) & (predicted > 0)
        right, seen = right + (predicted == truth)[both].sum(), seen + both.sum()
    assert found >= 3
    assert right / seen > 0.4  # guessing: 0.04
