from __future__ import annotations

import numpy as np
import pytest

from densepose.surface.raycast import RayCaster
from densepose.synthetic.anatomy import load_anatomy
from densepose.synthetic.appearance import clothed_surface, paint_body, sample_appearance
from densepose.synthetic.backgrounds import random_background
from densepose.synthetic.camera import look_at
from densepose.synthetic.materials import FLOOR_KINDS, KINDS, contrasting, random_pattern
from densepose.synthetic.noise import cloud_image, fractal_noise, smooth_noise
from densepose.synthetic.objects import ball, box, chair, cylinder, random_object
from densepose.synthetic.photograph import develop, encode_jpeg, sample_photograph


def test_noise_is_smooth_centred_and_of_unit_deviation():
    points = np.random.default_rng(0).uniform(-40, 40, (200_000, 3)).astype(np.float32)
    values = smooth_noise(points)
    assert abs(values.mean()) < 0.05 and abs(values.std() - 1) < 0.1
    step = smooth_noise(points + np.float32(0.01)) - values
    assert np.abs(step).max() < 0.2  # a hundredth of a feature further nothing has happened yet
    assert abs(fractal_noise(points, 3).std() - 1) < 0.1


def test_noise_of_far_away_or_no_points():
    far = np.array([[1e5, -3e5, 2e5]], np.float32)
    assert np.isfinite(smooth_noise(far)).all()
    assert smooth_noise(np.zeros((0, 3), np.float32)).shape == (0,)


def test_clouds_fill_their_range():
    clouds = cloud_image(np.random.default_rng(0), 30, 50)
    assert clouds.shape == (30, 50) and clouds.min() == 0 and clouds.max() == 1


@pytest.mark.parametrize("kind", KINDS + FLOOR_KINDS)
def test_patterns_stay_within_the_colours_of_light(kind):
    rng = np.random.default_rng(0)
    pattern = random_pattern(rng, (kind,))
    points = rng.uniform(-1, 1, (500, 3)).astype(np.float32)
    color = pattern.paint(points)
    assert color.shape == (500, 3) and color.dtype == np.float32
    assert color.min() >= 0 and color.max() <= 1
    if kind != "plain":
        assert color.std(axis=0).max() > 0.003
    assert pattern.paint(points[:0]).shape == (0, 3)


def test_contrasting_colours_differ():
    rng = np.random.default_rng(0)
    first = np.full(3, 0.2, np.float32)
    apart = [np.abs(contrasting(rng, first) ** 0.45 - first**0.45).max() for _ in range(50)]
    assert np.mean(np.array(apart) > 0.25) > 0.9


@pytest.mark.parametrize(
    "mesh",
    [
        box(np.array([1.0, 2.0, 0.5]), np.zeros(3)),
        cylinder(0.5, 1.0, np.zeros(3)),
        ball(0.5, np.zeros(3)),
    ],
    ids=["box", "cylinder", "ball"],
)
def test_things_are_closed_and_face_outwards(mesh):
    vertices, faces = mesh
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    signed = np.einsum("fk,fk->", a, np.cross(b, c)) / 6
    expected = {8: 1.0, 50: np.pi / 4, 231: np.pi / 6}[len(vertices)]
    assert signed == pytest.approx(expected, rel=0.07)


def test_a_chair_carries_at_the_height_asked_for():
    vertices, _ = chair(0.5, 0.43, 0.45, 0.0)
    assert vertices[:, 1].max() == pytest.approx(0.43)
    assert vertices[:, 1].min() == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(12))
def test_random_objects_stand_on_the_floor_where_they_were_put(seed):
    thing = random_object(np.random.default_rng(seed), np.array([3.0, 0.0, -2.0]))
    assert thing.vertices[:, 1].min() > -1e-5
    middle = (thing.vertices.min(axis=0) + thing.vertices.max(axis=0)) / 2
    assert np.abs(middle[[0, 2]] - [3.0, -2.0]).max() < 0.3
    assert thing.faces.max() < len(thing.vertices) == len(thing.local)


def test_rays_hit_the_nearest_box_where_expected():
    near, far = (box(np.ones(3), np.array([0, 0, z])) for z in (-3.0, -6.0))
    caster = RayCaster([far, near])
    directions = np.array([[0, 0, -1.0], [0.9, 0, -1.0]], np.float32)
    hits = caster.first_hits(np.zeros(3), directions)
    assert hits.mesh.tolist() == [1, -1]
    assert hits.depth[0] == pytest.approx(2.5) and np.isinf(hits.depth[1])
    vertices, faces = near
    point = hits.barycentric[0] @ vertices[faces[hits.face[0]]]
    np.testing.assert_allclose(point, [0, 0, -2.5], atol=1e-6)
    skipped = caster.first_hits(np.zeros(3), directions, np.array([1]))
    assert skipped.mesh.tolist() == [-1, -1]
    lit = caster.in_shadow(
        np.array([[0, 0, -1.0], [0, 0, -4.5]]), np.array([[0, 0, 1.0]] * 2), np.array([0, 0, 1.0])
    )
    assert lit.tolist() == [False, True]


@pytest.mark.parametrize("seed", range(8))
def test_every_outfit_paints_the_whole_body(seed):
    anatomy = load_anatomy()
    rng = np.random.default_rng(seed)
    look = sample_appearance(rng, rng.uniform(-1, 1), rng.uniform(-1, 1.6))
    paint = paint_body(look, anatomy.vertices())
    assert np.isfinite(paint.color).all() and paint.color.min() >= 0
    assert paint.color.max() <= 1.6  # lit creases and seams may be a little brighter than white
    surface = clothed_surface(look, anatomy, anatomy.template.mesh.vertices_m)
    assert np.isfinite(surface).all()


def test_front_and_back_of_an_outfit_differ():
    """Mirrored from front to back, the trunk of a person must not look the same."""
    anatomy = load_anatomy()
    points = anatomy.vertices()
    differing = 0
    for seed in range(10):
        look = sample_appearance(np.random.default_rng(seed), 0.0, 0.0)
        color = paint_body(look, points).color
        front = color[points.on("torso") & ~points.on("back")]
        back = color[points.on("torso") & points.on("back")]
        bins = [np.histogramdd(side, bins=[np.linspace(0, 1, 6)] * 3)[0] for side in (front, back)]
        share = [counts / counts.sum() for counts in bins]
        differing += np.abs(share[0] - share[1]).sum() > 0.05
    assert differing >= 9


@pytest.mark.parametrize("seed", range(10))
def test_backgrounds_are_pictures_with_a_floor_below_the_horizon(seed):
    camera = look_at(np.array([0, 1.4, 4.0]), np.array([0, 1.0, 0]), 0.0, 60.0, 64, 48)
    background = random_background(np.random.default_rng(seed), camera)
    assert background.color.shape == (48, 64, 3) and background.color.dtype == np.float32
    assert np.isfinite(background.color).all()
    assert background.color.min() >= 0 and background.color.max() <= 1.01
    if background.floor_depth is not None:
        floor = np.isfinite(background.floor_depth)
        points = camera.position + camera.rays(camera.pixel_centres()) * np.where(
            floor, background.floor_depth, 0
        ).reshape(-1, 1)
        np.testing.assert_allclose(points[floor.reshape(-1), 1], 0, atol=2e-2)


def test_a_photograph_is_eight_bit_and_survives_extremes():
    rng = np.random.default_rng(0)
    for light in (np.zeros((20, 30, 3)), np.full((20, 30, 3), 50.0)):
        image = develop(light, sample_photograph(rng), rng)
        assert image.dtype == np.uint8 and image.shape == (20, 30, 3)
    assert encode_jpeg(image, 80)[:2] == b"\xff\xd8"
