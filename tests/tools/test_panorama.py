"""Photos out of panoramas: directions, brightness, and broken pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tools.assets.panorama import fill_broken, perspective_photo, tone_map

ROWS, COLUMNS = 64, 128


def world(direction: np.ndarray) -> np.ndarray:
    """A smooth colour of (..., 3) directions: right at yaw 90 degrees, up, ahead at yaw 0."""
    return 1.5 + direction


@pytest.fixture(scope="module")
def panorama() -> np.ndarray:
    """``world`` as an equirectangular picture."""
    yaw = (np.arange(COLUMNS) + 0.5) / COLUMNS * 2 * np.pi
    height = np.pi / 2 - (np.arange(ROWS) + 0.5) / ROWS * np.pi
    yaw, height = np.meshgrid(yaw, height)
    flat = np.cos(height)
    directions = np.stack([flat * np.sin(yaw), np.sin(height), flat * np.cos(yaw)], axis=-1)
    return world(directions).astype(np.float32)


def slow_photo(yaw: float, pitch: float, view: float, height: int, width: int) -> np.ndarray:
    """Ray by ray: turn the camera up by ``pitch``, then to the right by ``yaw``."""
    focal = max(height, width) / 2 / math.tan(view / 2)
    photo = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            ray = np.array([column + 0.5 - width / 2, height / 2 - row - 0.5, focal])
            ray /= np.linalg.norm(ray)
            right, up, ahead = ray
            up, ahead = (
                up * math.cos(pitch) + ahead * math.sin(pitch),
                ahead * math.cos(pitch) - up * math.sin(pitch),
            )
            turned = [
                right * math.cos(yaw) + ahead * math.sin(yaw),
                up,
                ahead * math.cos(yaw) - right * math.sin(yaw),
            ]
            photo[row, column] = world(np.array(turned))
    return photo


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (1.0, -0.3), (3.1, 0.5), (6.2, 1.2)])
def test_every_pixel_shows_what_its_ray_meets(panorama: np.ndarray, yaw: float, pitch: float):
    given = {"yaw": yaw, "pitch": pitch, "view": 1.4, "height": 18, "width": 24}
    np.testing.assert_allclose(perspective_photo(panorama, **given), slow_photo(**given), atol=5e-3)


def test_a_turn_of_some_columns_shifts_the_panorama(panorama: np.ndarray):
    given = {"pitch": 0.2, "view": 1.0, "height": 8, "width": 8}
    turned = perspective_photo(panorama, yaw=5 * 2 * np.pi / COLUMNS, **given)
    shifted = perspective_photo(np.roll(panorama, -5, axis=1), yaw=0.0, **given)
    np.testing.assert_allclose(turned, shifted, atol=1e-4)


def test_a_lamp_leaves_no_dark_ring(panorama: np.ndarray):
    with_lamp = np.ones_like(panorama)
    with_lamp[30:33, 60:63] = 5000.0
    photo = perspective_photo(with_lamp, yaw=np.pi, pitch=0, view=1.0, height=64, width=64)
    assert photo.max() > 20 and photo.min() > 0.3


@pytest.mark.parametrize(
    "changes",
    [{"panorama": np.zeros((8, 8, 3))}, {"view": 3.2}, {"view": 0.0}, {"pitch": 1.6}],
)
def test_what_is_no_panorama_and_no_lens_is_refused(changes: dict):
    given = {"panorama": np.zeros((8, 16, 3)), "yaw": 0, "pitch": 0, "view": 1}
    with pytest.raises(ValueError, match="equirectangular|view must be"):
        perspective_photo(**{**given, **changes}, height=4, width=4)


def test_broken_pixels_are_filled_from_their_neighbours(panorama: np.ndarray):
    broken = panorama.copy()
    broken[20:26, 40:46] = (-5.0, 0.0, 300.0)
    filled = fill_broken(broken)
    assert np.abs(filled - panorama).max() < 0.2
    whole = np.ones((ROWS, COLUMNS), bool)
    whole[20:26, 40:46] = False
    np.testing.assert_array_equal(filled[whole], panorama[whole])
    assert (fill_broken(-panorama) == 0).all()


def test_the_middle_is_exposed_alike_and_order_is_kept():
    ramp = np.repeat(np.linspace(0.5, 2, 100, dtype=np.float32)[None, :, None], 3, axis=2)
    mapped = tone_map(ramp)
    np.testing.assert_array_equal(mapped, tone_map(ramp * 1000))
    assert (np.diff(mapped[0, :, 0].astype(int)) >= 0).all()
    # 0.19 in sRGB: 1.055 * 0.19 ** (1 / 2.4) - 0.055 = 0.473
    assert np.median(mapped) == pytest.approx(0.473 * 255, abs=1.5)


def test_lamps_are_white_and_darkness_is_black():
    scene = np.full((10, 10, 3), 0.2, np.float32)
    scene[0, 0] = 1e4
    mapped = tone_map(scene)
    assert mapped[0, 0].min() > 250 and mapped[5, 5].max() < 140
    assert (tone_map(np.zeros((4, 4, 3), np.float32)) == 0).all()
