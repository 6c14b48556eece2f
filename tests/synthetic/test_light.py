"""Photos behind people and the light that fits them; light from all sides; folds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from densepose.surface.raycast import RayCaster, even_directions
from densepose.synthetic.anatomy import load_anatomy
from densepose.synthetic.camera import facing, fit_camera, look_at
from densepose.synthetic.objects import box
from densepose.synthetic.person import moved, sample_person
from densepose.synthetic.photo_background import (
    light_of_photo,
    photo_background,
    photo_files,
)
from densepose.synthetic.render import _wrinkled
from densepose.synthetic.scene import Light, sample_light


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_photos_of_one_place_are_either_trained_on_or_held_out(tmp_path: Path):
    places = [f"place{number:02d}" for number in range(15)]
    touch(tmp_path, *(f"{place}/{i}.jpg" for place in places for i in range(3)), "zoo.png")
    train, val = (photo_files(tmp_path, split) for split in ("train", "val"))
    assert len(train) + len(val) == 46
    held_out = {path.parent.name for path in val}
    assert held_out == {"place00", "place10"} and len(val) == 6
    assert not held_out & {path.parent.name for path in train}


def test_the_photos_of_the_only_subfolder_are_divided(tmp_path: Path):
    touch(tmp_path, *(f"all/{number}.jpg" for number in range(5)))
    train, val = (photo_files(tmp_path, split) for split in ("train", "val"))
    assert [path.name for path in val] == ["0.jpg"] and len(train) == 4


def photo(top: tuple[float, ...], bottom: tuple[float, ...]) -> np.ndarray:
    color = np.zeros((30, 20, 3), np.float32)
    color[:15], color[15:] = top, bottom
    return color


GREY = Light(np.array([0, 1.0, 0]), np.full(3, 0.6), np.full(3, 0.5), np.full(3, 0.3), 0.8)


def test_a_grey_photo_of_usual_brightness_changes_nothing():
    lit = light_of_photo(GREY, photo((0.2, 0.2, 0.2), (0.2, 0.2, 0.2)))
    for name in ("lamp", "sky", "ground"):
        np.testing.assert_allclose(getattr(lit, name), getattr(GREY, name), rtol=1e-5)


def test_sky_and_ground_take_half_the_colour_of_the_photo():
    lit = light_of_photo(GREY, photo((0.1, 0.2, 0.3), (0.3, 0.2, 0.1)))
    # Top: 0.1, 0.2, 0.3 of a mean of 0.2 is 0.5, 1, 1.5; half of the way from 1.
    np.testing.assert_allclose(lit.sky, 0.5 * np.array([0.75, 1.0, 1.25]), rtol=0.01)
    np.testing.assert_allclose(lit.ground, 0.3 * np.array([1.25, 1.0, 0.75]), rtol=0.01)
    assert lit.shadow == GREY.shadow and (lit.to_lamp == GREY.to_lamp).all()


def test_a_darker_photo_gives_less_light_but_not_none():
    light = sample_light(np.random.default_rng(0))
    totals = [
        light_of_photo(light, np.full((9, 9, 3), level, np.float32)).sky.sum()
        for level in (0.0, 0.1, 0.2, 0.4, 10.0)
    ]
    assert totals == sorted(totals) and totals[0] > 0.5 * totals[2] and totals[4] < 1.5 * totals[2]


def test_a_photo_keeps_its_colours(tmp_path: Path):
    path = tmp_path / "blue.png"
    cv2.imwrite(str(path), np.full((40, 60, 3), (255, 0, 0), np.uint8))  # OpenCV has blue first
    camera = look_at(np.array([0, 1.5, 3.0]), np.array([0, 1.0, 0]), 0.0, 40.0, 32, 32)
    for seed in range(6):
        background = photo_background(np.random.default_rng(seed), camera, [path])
        np.testing.assert_allclose(background.color, np.tile([0, 0, 1.0], (32, 32, 1)), atol=1e-5)


def test_the_floor_is_where_rays_meet_it():
    camera = look_at(np.array([0, 1.5, 3.0]), np.array([0, 1.0, 0]), 0.1, 40.0, 32, 24)
    depth = camera.floor_depth()
    below = np.isfinite(depth).ravel()
    hit = camera.position + camera.rays(camera.pixel_centres())[below] * depth.ravel()[below, None]
    assert 0 < below.sum() < below.size
    np.testing.assert_allclose(hit[:, 1], 0, atol=1e-4)
    assert (camera.rays(camera.pixel_centres())[~below, 1] >= 0).all()


def test_a_plain_is_open_a_box_inside_is_dark_and_a_corner_is_half_open():
    floor, wall = box([40, 0.1, 40], [0, -0.05, 0]), box([0.1, 40, 40], [-0.05, 20, 0])
    directions = even_directions(400)
    up = np.array([[0, 1.0, 0]], np.float32)
    at = np.array([[0.05, 0.0, 0]], np.float32)
    assert RayCaster([floor]).open_fraction(at, up, directions)[0] == pytest.approx(1.0)
    assert RayCaster([floor, wall]).open_fraction(at, up, directions)[0] == pytest.approx(
        0.5, abs=0.03
    )
    assert RayCaster([box([4, 4, 4], [0, 1, 0])]).open_fraction(at, up, directions)[0] == 0


def test_directions_are_even():
    directions = even_directions(1000)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    assert (directions[:, 1] > 0).all()
    # Over a half sphere the mean is half-way up, and along its axis alone.
    np.testing.assert_allclose(directions.mean(axis=0), [0, 0.5, 0], atol=0.01)


def test_no_folds_leave_normals_and_light_and_stronger_ones_bend_more():
    rng = np.random.default_rng(0)
    normal = np.tile(np.array([0, 0, 1.0], np.float32), (500, 1))
    points = rng.random((500, 3)).astype(np.float32) * 2
    flat, light = _wrinkled(normal, points, np.zeros(500, np.float32))
    np.testing.assert_allclose(flat, normal, atol=1e-6)
    assert (light == 1).all()
    upright = []
    for fold in (0.1, 0.4):
        bent, light = _wrinkled(normal, points, np.full(500, fold, np.float32))
        np.testing.assert_allclose(np.linalg.norm(bent, axis=1), 1, rtol=1e-5)
        assert (light > 0.3).all() and (light <= 1).all() and light.min() < 0.97
        upright.append(bent[:, 2].mean())
    assert upright[1] < upright[0] < 1


def test_portraits_face_somebody_more_often_than_chance_and_no_camera_is_inside_a_body():
    anatomy = load_anatomy()
    rng = np.random.default_rng(3)
    person = moved(sample_person(rng, anatomy)[0], np.array([1.0, 0, -2.0]))
    ahead = np.array([np.sin(facing(person)), 0, np.cos(facing(person))])
    across = person.keypoints[5] - person.keypoints[6]  # from the right shoulder to the left
    assert np.dot(np.cross(ahead, across * [1, 0, 1]), [0, 1, 0]) > 0
    cameras = [fit_camera(rng, [person], 64, 64) for _ in range(60)]
    middle = person.shell.mean(axis=0)
    towards = np.array([(camera.position - middle) * [1, 0, 1] for camera in cameras])
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    assert (towards @ ahead > 0.7).mean() > 0.3  # a quarter of all directions
    nearest = [np.linalg.norm(person.shell - c.position, axis=1).min() for c in cameras]
    assert min(nearest) > 0.2
