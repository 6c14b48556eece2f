"""The look of a night camera: what it changes and what it leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densepose.synthetic.camera import look_at
from densepose.synthetic.photograph import infrared, infrared_light
from densepose.synthetic.picture import PictureSettings, draw_picture

PHOTO = PictureSettings(seed=3, image_size=96, people=(1, 2), noise_m=0.0, backgrounds=None)
NIGHT = replace(PHOTO, camera="night")


@pytest.mark.parametrize("index", [0, 1])
def test_the_people_are_the_same_the_picture_is_grey_and_darker(index):
    by_day, day_truth, _, _ = draw_picture(PHOTO, "train", index)
    at_night, night_truth, _, quality = draw_picture(NIGHT, "train", index)
    assert np.array_equal(day_truth.instance, night_truth.instance)
    assert np.array_equal(day_truth.iuv_image(), night_truth.iuv_image())
    assert at_night.mean() < 0.85 * by_day.mean()
    assert (at_night == at_night[..., :1]).all() and not (by_day == by_day[..., :1]).all()
    assert 40 <= quality < 75


def test_people_are_lit_more_than_what_is_behind():
    image, truth, _, _ = draw_picture(NIGHT, "train", 1)
    on_somebody = truth.instance > 0
    assert image[on_somebody].mean() > 1.2 * image[~on_somebody].mean()


def test_the_lamp_is_beside_the_lens():
    camera = look_at(np.array([0.0, 2.0, 5.0]), np.array([0.0, 1.0, 0.0]), 0.0, 300.0, 96, 96)
    for seed in range(20):
        light = infrared_light(np.random.default_rng(seed), camera)
        assert np.linalg.norm(light.to_lamp) == pytest.approx(1)
        assert light.to_lamp @ -camera.rotation[2] > 0.85
        assert light.lamp.min() > 5 * light.sky.max()


def test_infrared_by_hand():
    linear = np.array([[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]], np.float32)
    assert infrared(linear).tolist() == [[[pytest.approx(0.6)] * 3, [pytest.approx(0.2)] * 3]]
