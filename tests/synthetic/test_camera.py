from __future__ import annotations

import numpy as np
import pytest

from densepose.synthetic.camera import Camera, look_at
from tests.support.mirrored_scene import mirrored_camera


def test_projection_worked_by_hand():
    # 100 px focal length, 4 m in front of the point: 1 m to the right is 25 px, 0.5 m up 12.5 px.
    camera = look_at(np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.0, 0.0]), 0.0, 100.0, 80, 60)
    pixels, depth = camera.project(np.array([[0.0, 1.0, 0.0], [1.0, 1.5, 0.0], [0.0, 1.0, 2.0]]))
    np.testing.assert_allclose(pixels, [[40, 30], [65, 17.5], [40, 30]], atol=1e-9)
    np.testing.assert_allclose(depth, [4, 4, 2])


def test_rays_go_through_what_projects_to_their_pixel():
    rng = np.random.default_rng(0)
    camera = look_at(np.array([1.0, 2.0, 3.0]), np.array([0.2, 1.0, 0.1]), 0.3, 210.0, 96, 64)
    pixels = rng.uniform(0, 64, (50, 2))
    depth = rng.uniform(0.5, 5, 50)
    points = camera.position + camera.rays(pixels) * depth[:, None]
    again, depth_again = camera.project(points)
    np.testing.assert_allclose(again, pixels, atol=1e-3)
    np.testing.assert_allclose(depth_again, depth, rtol=1e-5)


def test_mirrored_camera_sees_the_mirrored_world_flipped():
    camera = look_at(np.array([1.0, 2.0, 3.0]), np.array([0.2, 1.0, 0.1]), 0.2, 210.0, 96, 64)
    points = np.random.default_rng(1).normal(0, 0.5, (20, 3))
    pixels, depth = camera.project(points)
    flipped, depth_flipped = mirrored_camera(camera).project(points * [-1, 1, 1])
    np.testing.assert_allclose(flipped[:, 0], 96 - pixels[:, 0], atol=1e-9)
    np.testing.assert_allclose(flipped[:, 1], pixels[:, 1], atol=1e-9)
    np.testing.assert_allclose(depth_flipped, depth)


def test_pixel_centres_lie_at_half_numbers_row_by_row():
    camera = Camera(np.zeros(3), np.eye(3), 10.0, 3, 2)
    assert camera.pixel_centres().tolist() == [
        *([0.5, 0.5], [1.5, 0.5], [2.5, 0.5]),
        *([0.5, 1.5], [1.5, 1.5], [2.5, 1.5]),
    ]


def test_a_camera_cannot_look_straight_down():
    with pytest.raises(ValueError, match="no way is up"):
        look_at(np.array([0.0, 3.0, 0.0]), np.array([0.0, 1.0, 0.0]), 0.0, 100.0, 8, 8)
