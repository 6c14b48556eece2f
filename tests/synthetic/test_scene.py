from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densepose.surface.charts import load_template_atlas
from densepose.surface.symmetry import template_symmetry
from densepose.synthetic import appearance
from densepose.synthetic.anatomy import Anatomy, load_anatomy
from densepose.synthetic.backgrounds import Background
from densepose.synthetic.camera import Camera, look_at
from densepose.synthetic.materials import random_pattern
from densepose.synthetic.objects import Thing, box, place, turn_about_y
from densepose.synthetic.person import Person, make_person, moved, sample_person
from densepose.synthetic.picture import compose
from densepose.synthetic.poses import Pose, upright
from densepose.synthetic.render import render
from densepose.synthetic.scene import Light, Scene
from densepose.synthetic.truth import SceneGeometry, Truth
from tests.support.mirrored_scene import mirrored_scene

SIZE = 96


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return load_anatomy()


def plain_look(seed: int = 0) -> appearance.Appearance:
    """Trousers, no hat, no backpack, short hair: nothing but the skin counts."""
    look = appearance.sample_appearance(np.random.default_rng(seed), 0.0, 0.0)
    head = replace(look.head, hat="none", cut="short")
    top = replace(look.top, kind="tee", skirt=0.0)
    bottom = replace(look.bottom, kind="trousers")
    shoes = replace(look.shoes, kind="sneakers")
    return replace(look, head=head, top=top, bottom=bottom, shoes=shoes, backpack=None)


def standing(anatomy: Anatomy, *, heading: float = 0.0, **angles: float) -> Person:
    shape = np.zeros(anatomy.template.num_shapes, np.float32)
    pose = Pose(upright() | angles, "stand")
    return make_person(shape, pose, plain_look(), turn_about_y(heading), anatomy)


def front_camera(distance: float = 4.0) -> Camera:
    return look_at(
        np.array([0, 0.9, distance]), np.array([0, 0.9, 0.0]), 0.0, 1.9 * SIZE, SIZE, SIZE
    )


def scene_of(*people: Person, objects: tuple[Thing, ...] = (), camera=None) -> Scene:
    lamp = Light(np.array([0.0, 0.6, 0.8]), np.full(3, 0.6), np.full(3, 0.5), np.full(3, 0.3), 0.8)
    return Scene(tuple(people), objects, camera or front_camera(), lamp)


def truth_of(scene: Scene, anatomy: Anatomy) -> Truth:
    return SceneGeometry(scene, anatomy).truth(load_template_atlas())


def mean_x(truth: Truth, part: int) -> float:
    return float(np.nonzero(truth.part == part)[1].mean())


def test_seen_from_the_front_the_left_hand_is_on_the_right_of_the_image(anatomy):
    truth = truth_of(scene_of(standing(anatomy)), anatomy)
    assert mean_x(truth, 4) > mean_x(truth, 3) + 10  # hands
    assert mean_x(truth, 5) > mean_x(truth, 6)  # feet
    assert mean_x(truth, 24) > mean_x(truth, 23)  # halves of the head
    left_shoulder, right_shoulder = truth.keypoints_px[0, 5], truth.keypoints_px[0, 6]
    assert left_shoulder[0] > right_shoulder[0]


def test_front_and_back_parts_show_from_their_side(anatomy):
    front = truth_of(scene_of(standing(anatomy)), anatomy)
    back = truth_of(scene_of(standing(anatomy, heading=np.pi)), anatomy)
    assert (front.part == 2).sum() > 20 * (front.part == 1).sum()
    assert (back.part == 1).sum() > 20 * (back.part == 2).sum()
    assert mean_x(back, 4) < mean_x(back, 3)


def test_mirroring_the_scene_flips_image_parts_and_coordinates(anatomy):
    shape = np.random.default_rng(5).normal(0, 0.3, anatomy.template.num_shapes)
    angles = {
        "l_shoulder_elevation": 80.0,
        "r_elbow": 70.0,
        "spine_turn": 25.0,
        "r_hip_flexion": 30.0,
    }
    pose = Pose(upright() | angles, "stand")
    person = make_person(shape.astype(np.float32), pose, plain_look(), turn_about_y(0.6), anatomy)
    scene = scene_of(person, camera=front_camera(3.4))
    truth = truth_of(scene, anatomy)
    mirrored = truth_of(mirrored_scene(scene, anatomy), anatomy)
    symmetry = template_symmetry()
    part = symmetry.part[truth.part[:, ::-1]]
    same = part == mirrored.part
    assert same.mean() > 0.995  # rays along the border of two parts may decide otherwise
    body = same & (part > 0)
    flipped_uv = symmetry.flip_uv(truth.part[:, ::-1][body], truth.uv[:, ::-1][body])
    error = np.abs(flipped_uv - mirrored.uv[body]).max(axis=1)
    assert np.quantile(error, 0.98) < 5e-3
    swap = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    flipped_x = SIZE - truth.keypoints_px[0, swap, 0]
    np.testing.assert_allclose(mirrored.keypoints_px[0, :, 0], flipped_x, atol=0.05)
    assert (mirrored.keypoint_visibility[0] == truth.keypoint_visibility[0, swap]).mean() > 0.9


def test_keypoints_are_visible_hidden_or_outside(anatomy):
    person = standing(anatomy)
    facing = truth_of(scene_of(person), anatomy)
    assert (facing.keypoint_visibility[0, :3] == 2).all()  # nose and eyes
    assert (facing.keypoint_visibility[0, 5:] == 2).all()  # shoulders to ankles
    turned = truth_of(scene_of(standing(anatomy, heading=np.pi)), anatomy)
    assert (turned.keypoint_visibility[0, :3] == 1).all()
    rng = np.random.default_rng(0)
    board = place(box([2, 1.0, 0.02], [0, 0.5, 0]), np.array([0, 0, 0.8]), 0.0, random_pattern(rng))
    behind = truth_of(scene_of(person, objects=(board,)), anatomy)
    assert (behind.keypoint_visibility[0, 13:] == 1).all()  # knees and ankles
    assert (behind.keypoint_visibility[0, :5] == 2)[:3].all()
    close = front_camera(1.2)
    cut = truth_of(scene_of(person, camera=close), anatomy)
    assert (cut.keypoint_visibility[0, 15:] == 0).all()
    inside = ((cut.keypoints_px[0] >= 0) & (cut.keypoints_px[0] < SIZE)).all(axis=1)
    assert ((cut.keypoint_visibility[0] > 0) == inside).all()


def test_the_nearer_person_hides_the_other(anatomy):
    near, far = moved(standing(anatomy), np.array([0, 0, 0.8])), standing(anatomy)
    truth = truth_of(scene_of(near, far), anatomy)
    alone = truth_of(scene_of(far), anatomy)
    assert (truth.instance == 1).sum() > (alone.instance == 1).sum()
    assert (truth.instance == 2).sum() < 0.5 * (alone.instance == 1).sum()
    assert ((truth.part > 0) == (truth.instance > 0)).all()


def test_truth_is_where_the_surface_projects(anatomy):
    person = replace(standing(anatomy), shell=standing(anatomy).skin)
    scene = scene_of(person)
    truth = truth_of(scene, anatomy)
    atlas = load_template_atlas()
    rows, columns = np.nonzero(truth.part)
    points = atlas.to_points(truth.part[rows, columns], truth.uv[rows, columns], person.skin)
    pixels, _ = scene.camera.project(points)
    error = np.linalg.norm(pixels - np.stack([columns, rows], axis=1) - 0.5, axis=1)
    assert np.quantile(error, 0.99) < 0.3


def test_a_skirt_belongs_to_the_person_and_shows_the_legs_under_it(anatomy):
    look = plain_look()
    dressed = replace(look, top=replace(look.top, kind="dress", skirt=0.9, loose_m=0.02))
    shape = np.zeros(anatomy.template.num_shapes, np.float32)
    pose = Pose(upright() | {"l_hip_spread": 14.0, "r_hip_spread": 14.0}, "stand")
    trousers, skirt = (
        truth_of(scene_of(make_person(shape, pose, each, np.eye(3), anatomy)), anatomy)
        for each in (look, dressed)
    )
    assert (skirt.instance == 1).sum() > (trousers.instance == 1).sum() + 40
    gained = (skirt.part > 0) & (trousers.part == 0)
    upper_legs_and_hips = (1, 2, 7, 8, 9, 10, 13, 14)
    assert np.isin(skirt.part[gained], upper_legs_and_hips).mean() > 0.8


def test_clothes_and_hair_stand_out_from_the_skin(anatomy):
    person = standing(anatomy)
    outwards = (person.shell - person.skin).astype(np.float64)
    assert np.linalg.norm(outwards, axis=1).max() < 0.08
    feet = np.isin(anatomy.vertex_part, (5, 6))
    assert np.linalg.norm(outwards[feet], axis=1).mean() > 0.003


def test_people_stand_on_the_floor_and_sit_on_their_seat(anatomy):
    seats = 0
    for seed in range(20):
        person, seat = sample_person(np.random.default_rng(seed), anatomy)
        assert abs(person.shell[:, 1].min()) < 1e-4
        if seat:
            seats += 1
            bottom = person.shell[np.isin(anatomy.vertex_part, (1, 2)), 1].min()
            top_of_seat = np.sort(np.unique(seat[0].vertices[:, 1].round(3)))
            assert np.abs(top_of_seat - bottom).min() < 0.005
    assert seats > 1


def test_the_picture_shows_people_where_the_truth_has_them(anatomy):
    scene = scene_of(standing(anatomy))
    geometry = SceneGeometry(scene, anatomy)
    green = np.zeros((SIZE, SIZE, 3), np.float32)
    green[..., 1] = 1.0
    image = render(geometry, Background(green, None))
    assert image.shape == (SIZE, SIZE, 3) and np.isfinite(image).all()
    nobody = truth_of(scene, anatomy).instance == 0
    unchanged = (image == green).all(axis=2)
    assert unchanged[nobody].mean() > 0.9  # all but the outline, which is mixed
    assert not unchanged[~nobody].any()


def test_composed_scenes_show_somebody_and_no_specks(anatomy):
    for seed in range(6):
        _, geometry = compose(np.random.default_rng(seed), anatomy, SIZE, (1, 3))
        visible = geometry.visible_pixels()
        least = 120 / 320**2 * SIZE**2
        assert visible.max() >= least
        assert not ((visible > 0) & (visible < least)).any()
