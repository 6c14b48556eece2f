"""People in MakeHuman items: they follow the body, and the label is the body below them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from densepose.errors import InputError
from densepose.surface.body import load_template
from densepose.surface.charts import load_template_atlas
from densepose.synthetic import make_synthetic_dataset
from densepose.synthetic.anatomy import load_anatomy
from densepose.synthetic.base_mesh import load_base_mesh
from densepose.synthetic.camera import look_at
from densepose.synthetic.dressing import Outfit, dress, sample_outfit
from densepose.synthetic.environment import read_environment, turned_light
from densepose.synthetic.library import open_library
from densepose.synthetic.light import Light
from densepose.synthetic.materials import Pattern
from densepose.synthetic.mocap import read_motions
from densepose.synthetic.person import Person, make_person
from densepose.synthetic.poses import Pose, upright
from densepose.synthetic.scene import Scene
from densepose.synthetic.texture import NUM_REGIONS, Texture, read_picture
from densepose.synthetic.truth import SceneGeometry, Truth
from densepose.synthetic.wardrobe import read_wardrobe
from tests.support.makehuman import SCALE, write_item, write_motion

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
SIZE = 96


def grey(value: int, alpha: int = 255) -> np.ndarray:
    return np.full((32, 32, 4), (value, value, value, alpha), np.uint8)


def chest_rows(offset_z: float) -> list[str]:
    """Binding of a square before the chest, its offsets in units of the z scale."""
    base = load_base_mesh().vertices_m
    skin = np.arange(13380)
    rows = []
    for x, y in ((-0.2, 1.0), (0.2, 1.0), (0.2, 1.4), (-0.2, 1.4)):
        at = skin[np.linalg.norm(base[skin] - [0.6 * x, y, 0.1], axis=1).argmin()]
        rows.append(f"{at} {at} {at} 1 0 0 0 0 {offset_z}")
    return rows


def write_vest(folder: Path, **options: object) -> Path:
    options = {"texture": grey(150)} | options
    return write_item(folder, chest_rows(0.6), SQUARE, [[0, 1, 2, 3]], **options)


def linear_motion(shape: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    template = load_template()
    return template.joint_motions(template.shaped(shape)[1], rotations)


def test_the_base_mesh_moves_as_the_template_does():
    template, base = load_template(), load_base_mesh()
    skin_m = base.vertices_m[base.skin_vertex]
    distance, twin = cKDTree(skin_m).query(template.mesh.vertices_m)
    same = np.flatnonzero(distance < 1e-5)
    assert len(same) > 500
    rng = np.random.default_rng(0)
    shape = rng.uniform(0.6 * template.shape_low, 0.6 * template.shape_high).astype(np.float32)
    rotations = rng.normal(0, 0.3, (template.num_joints, 3))
    outfit = Outfit((), Pattern("plain", np.ones((3, 3)), 1.0, np.eye(3), 0.0))
    skin, _ = dress(outfit, shape, *linear_motion(shape, rotations))
    moved = skin.vertices[twin[same]]
    expected = template.posed(shape, rotations)[same]
    assert np.median(np.linalg.norm(moved - expected, axis=1)) < 1e-3
    assert np.linalg.norm(moved - expected, axis=1).max() < 0.02


def test_offsets_are_in_the_units_that_the_scales_give(tmp_path):
    write_item(
        tmp_path / "clothes" / "patch",
        ["100 200 300 0.5 0.25 0.25 0.1 -0.2 0.3", "7"],
        SQUARE[:2],
        [[0, 1, 0]],
        words=SCALE,
    )
    (item,) = read_wardrobe(tmp_path).items["clothes"]
    base = load_base_mesh().vertices_m * 1.1
    unit = [
        abs(base[5399, 0] - base[11998, 0]) / 1.4,
        abs(base[791, 1] - base[881, 1]) / 2.4,
        abs(base[962, 2] - base[5320, 2]) / 2.0,
    ]
    bound = 0.5 * base[100] + 0.25 * base[200] + 0.25 * base[300]
    expected = bound + np.array([0.1, -0.2, 0.3]) * unit
    np.testing.assert_allclose(item.resting(base), [expected, base[7]], atol=1e-6)
    # MakeHuman counts decimetres: of its mean body a unit is about one.
    assert 0.05 < unit[0] < 0.2


def dressed(folder: Path) -> Person:
    """A person of mean shape who wears all there is."""
    wardrobe = read_wardrobe(folder)
    plain = Pattern("plain", np.full((3, 3), 0.3), 1.0, np.eye(3), 0.0)
    worn = tuple(
        (item, kind, Texture(read_picture(item.textures[0]), 0.4, np.ones(3)))
        for kind, items in wardrobe.items.items()
        for item in items
    )
    anatomy = load_anatomy()
    shape = np.zeros(anatomy.template.num_shapes, np.float32)
    return make_person(shape, Pose(upright(), "stand"), Outfit(worn, plain), np.eye(3), anatomy)


def geometry_of(person: Person) -> SceneGeometry:
    camera = look_at(np.array([0, 1.0, 4.0]), np.array([0, 1.0, 0.0]), 0.0, 1.9 * SIZE, SIZE, SIZE)
    lamp = Light(np.array([0.0, 0.6, 0.8]), np.full(3, 0.6), np.full(3, 0.5), np.full(3, 0.3), 0.8)
    return SceneGeometry(Scene((person,), (), camera, lamp), load_anatomy())


def truth_of(person: Person) -> Truth:
    return geometry_of(person).truth(load_template_atlas())


def test_cloth_is_hit_first_and_the_label_is_the_body_below(tmp_path):
    write_vest(tmp_path / "near")
    write_vest(tmp_path / "hole" / "vest", texture=grey(150, alpha=0))
    covered, bare = geometry_of(dressed(tmp_path / "near")), geometry_of(dressed(tmp_path / "hole"))
    vest = covered.hits.mesh == 1
    assert vest.sum() > 100 and not (bare.hits.mesh == 1).any()  # holes are seen through
    atlas = load_template_atlas()
    with_vest, without = covered.truth(atlas), bare.truth(atlas)
    body = (without.part > 0).reshape(-1)
    np.testing.assert_array_equal(with_vest.part.reshape(-1)[body], without.part.reshape(-1)[body])
    np.testing.assert_allclose(with_vest.uv[without.part > 0], without.uv[without.part > 0])
    # Where no body is behind the cloth, it counts as the person nevertheless.
    beside = vest & ~body
    assert (with_vest.instance.reshape(-1)[vest] == 1).all()
    assert (with_vest.part.reshape(-1)[beside] > 0).all()


def test_skin_under_an_item_is_not_drawn(tmp_path):
    write_vest(tmp_path / "vest", hidden="0 - 13379")
    person = dressed(tmp_path)
    assert person.bare is not None and len(person.bare.faces) == 0
    write_vest(tmp_path / "vest", hidden="0 - 100 200")
    assert 0 < len(load_base_mesh().skin_faces) - len(dressed(tmp_path).bare.faces) < 400


def test_a_recolored_region_keeps_its_light_and_dark(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = (200, 40, 40)
    image[:16, :32] = (100, 20, 20)  # the same cloth in the shade
    image[:, 32:] = (30, 30, 220)
    cv2.imwrite(str(tmp_path / "cloth.png"), image[..., ::-1])
    picture = read_picture(tmp_path / "cloth.png")
    green = Pattern("plain", np.tile([0.05, 0.5, 0.05], (3, 1)), 1.0, np.eye(3), 0.0)
    places = np.array([[0.25, 0.3], [0.25, 0.9], [0.75, 0.5]])
    plain = Texture(picture, 1.0, np.ones(3)).paint(places, 0.0)
    np.testing.assert_allclose(plain, (image[[40, 6, 32], [16, 16, 48]] / 255) ** 2.2, atol=2e-3)
    color = Texture(picture, 1.0, np.ones(3), (green,) * NUM_REGIONS).paint(places, 0.0)
    assert (color.argmax(axis=1) == 1).all()
    assert color[0, 1] > 1.1 * color[1, 1]  # also where light and shade are regions of their own


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "no items": (lambda folder: (folder / "notes.txt").write_text("-"), "expected MakeHuman items"),
    "missing vertex": (
        lambda folder: write_item(folder / "hat", ["19158"] * 4, SQUARE, [[0, 1, 2]]),
        "refers to vertex 19158, expected 0 to 19157",
    ),
    "missing hidden vertex": (
        lambda folder: write_vest(folder / "vest", hidden="5 20000"),
        "delete_verts: refers to vertex 20000",
    ),
    "endless range": (
        lambda folder: write_vest(folder / "vest", hidden="5 - 999999999"),
        "delete_verts: refers to vertex 19158",
    ),
    "infinite weight": (
        lambda folder: write_item(folder / "hat", ["1 2 3 inf 0 0 0 0 0"], SQUARE, [[0, 0, 0]]),
        "expected numbers, got '1 2 3 inf",
    ),
    "unbound vertex": (
        lambda folder: write_item(folder / "hat", ["100"] * 3, SQUARE, [[0, 1, 3]]),
        "refers to vertex 4, hat.mhclo binds 3",
    ),
    "damaged texture": (
        lambda folder: write_vest(folder / "vest").with_suffix(".png").write_bytes(b"\x89PNG\r\n"),
        "vest.png: not readable as a texture",
    ),
    "cut texture": (
        lambda folder: cut(write_vest(folder / "vest").with_suffix(".png")),
        "vest.png: not readable as a texture",
    ),
    "deep texture": (
        lambda folder: cv2.imwrite(
            str(write_vest(folder / "vest").with_suffix(".png")), np.zeros((9, 9), np.uint16)
        ),
        "expected a texture of 8 bits a channel, got I;16",
    ),
    "no mesh": (
        lambda folder: write_vest(folder / "vest").with_suffix(".obj").unlink(),
        "no such file",
    ),
    "not a number": (
        lambda folder: write_item(folder / "hat", ["1 2 x"] * 3, SQUARE, [[0, 1, 2]]),
        "expected numbers",
    ),
    "wrong scale": (
        lambda folder: write_vest(folder / "vest", words="x_scale 5 6 0\n"),
        "x_scale: expected two vertices",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_cannot_be_worn_is_refused_in_one_line(tmp_path, fault):
    write, message = BROKEN[fault]
    write(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        make_synthetic_dataset(tmp_path / "set", num_train=1, num_val=0, assets=tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_random_changes_of_the_files_are_worn_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    write_vest(tmp_path / "vest", hidden="3 5 - 9")
    write_motion(tmp_path / "motion", "lhumerus 0 0 0\nlradius 0 -90 0")
    files = [p for p in tmp_path.rglob("*") if p.suffix in (".mhclo", ".obj", ".asf", ".amc")]
    refused = 0
    for number in range(120):
        path = files[number % len(files)]
        whole = path.read_bytes()
        broken = bytearray(whole)
        for at in rng.integers(len(broken), size=rng.integers(1, 4)):
            broken[at] = rng.choice(list(b"0123456789 -.naNifx/\n\xff"))
        path.write_bytes(broken[: rng.integers(1, len(broken) + 1)] if number % 3 else broken)
        try:
            read_wardrobe(tmp_path)
            for motion in read_motions(tmp_path):
                assert np.isfinite(motion.rotations(0, load_template())).all()
        except InputError:
            refused += 1
        path.write_bytes(whole)
    assert 20 < refused < 120


def test_the_held_out_split_wears_what_training_does_not(tmp_path):
    for number in range(7):
        write_vest(tmp_path / f"vest{number}")
        write_vest(tmp_path / "hair" / f"hair{number}") if number < 3 else None
    names = {}
    for split in ("train", "val"):
        items = open_library(str(tmp_path), split).wardrobe.items
        names[split] = {item.name for item in items["clothes"]}
        assert len(items["hair"]) == 3  # too few to keep any
    assert len(names["train"]) == 6 and len(names["val"]) == 1
    assert not names["train"] & names["val"]


def test_an_outfit_covers_every_part_once(tmp_path):
    for name in ("vest1", "vest2"):
        write_vest(tmp_path / name)
    wardrobe = read_wardrobe(tmp_path)
    rng = np.random.default_rng(0)
    outfits = [sample_outfit(rng, wardrobe, 0.0, 0.0) for _ in range(20)]
    assert all(len(outfit.worn) == 1 for outfit in outfits)
    assert len({outfit.worn[0][0].name for outfit in outfits}) == 2


def test_a_recorded_pose_lays_the_limbs_along_the_bones(tmp_path):
    template = load_template()
    write_motion(tmp_path, "lhumerus 0 0 0\nlradius 0 -90 0\nrhumerus 0 0 0\nrfemur -90 0 0")
    (motion,) = read_motions(tmp_path)
    rotations = motion.rotations(0, template)
    linear, offset = template.joint_motions(template.joints_m, rotations)
    joints = np.einsum("jik,jk->ji", linear, template.joints_m) + offset
    at = dict(zip(template.joint_names, joints, strict=True))

    def direction(start: str, end: str) -> np.ndarray:
        along = at[end] - at[start]
        return along / np.linalg.norm(along)

    np.testing.assert_allclose(direction("l_shoulder", "l_elbow"), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(direction("r_shoulder", "r_elbow"), [-1, 0, 0], atol=1e-4)
    # A quarter turn of the left forearm about y takes +x to +z, of the right thigh about x, which
    # hangs, to the front.
    np.testing.assert_allclose(direction("l_elbow", "l_wrist"), [0, 0, 1], atol=1e-4)
    assert direction("r_hip", "r_knee")[2] > 0.9
    (tmp_path / "01_02.amc").write_text("1\nlhumerus 1 2\n")
    with pytest.raises(InputError, match="01_02.amc: line 2"):
        read_motions(tmp_path)


def test_even_light_from_all_around_lights_all_sides_alike(tmp_path):
    panorama = np.full((64, 128, 3), (0.2, 0.4, 0.6), np.float32)
    cv2.imwrite(str(tmp_path / "even.hdr"), panorama[..., ::-1])
    environment = read_environment(tmp_path / "even.hdr")
    assert np.abs(environment.lamp).max() < 1e-3
    light = turned_light(np.random.default_rng(0), environment, 1.0)
    normal = np.random.default_rng(1).normal(size=(50, 3))
    ambient = light.ambient(normal / np.linalg.norm(normal, axis=1, keepdims=True))
    np.testing.assert_allclose(ambient, np.broadcast_to(ambient.mean(axis=0), (50, 3)), rtol=0.02)
    panorama[10:14, 30:34] = 500  # a sun
    cv2.imwrite(str(tmp_path / "sun.hdr"), panorama[..., ::-1])
    sunny = read_environment(tmp_path / "sun.hdr")
    polar, around = 12 / 64 * np.pi, 32 / 128 * 2 * np.pi
    expected = [-np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)]
    np.testing.assert_allclose(sunny.to_lamp, expected, atol=0.06)
    solid_angle = np.sin(polar) * (4 * np.pi / 64) ** 2
    np.testing.assert_allclose(sunny.lamp, 500 * solid_angle / np.pi, rtol=0.05)
    turned = turned_light(np.random.default_rng(0), sunny, np.pi / 2)
    np.testing.assert_allclose(turned.to_lamp, [expected[2], expected[1], -expected[0]], atol=0.06)
    cv2.imwrite(str(tmp_path / "square.hdr"), panorama[:, :64])
    with pytest.raises(InputError, match="twice as wide as high, got 64x64"):
        read_environment(tmp_path / "square.hdr")


def test_a_set_with_assets_depends_on_them_alone(tmp_path):
    write_vest(tmp_path / "assets" / "vest")
    write_motion(tmp_path / "assets", "lhumerus 0 0 0")
    panorama = np.random.default_rng(0).uniform(0, 2, (32, 64, 3)).astype(np.float32)
    cv2.imwrite(str(tmp_path / "assets" / "room.hdr"), panorama)
    settings = {"seed": 3, "num_train": 2, "num_val": 0, "image_size": 48, "people": (1, 2)}
    images = []
    for name in ("one", "two"):
        made = make_synthetic_dataset(tmp_path / name, **settings, assets=tmp_path / "assets")
        images.append([p.read_bytes() for p in sorted((tmp_path / name).rglob("*.jpg"))])
    assert images[0] == images[1] and made.counts["train"]["people"] >= 2
    write_vest(tmp_path / "assets" / "vest2")
    with pytest.raises(InputError, match="holds a set made otherwise .assets was"):
        make_synthetic_dataset(tmp_path / "one", **settings, assets=tmp_path / "assets")
