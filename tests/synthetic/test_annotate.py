from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from densepose.data.coco import _annotation
from densepose.structures.annotated_regions import MAX_POINTS_PER_REGION
from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import load_template_atlas
from densepose.surface.mesh import face_normals
from densepose.synthetic.annotate import (
    annotate_person,
)
from densepose.synthetic.annotator_noise import SurfaceNoise, SurfaceWalker
from densepose.synthetic.objects import box
from densepose.synthetic.truth import Truth


def block_truth() -> Truth:
    """Person 1: torso front above the left hand, 30 x 40 px at (10, 5). Person 2: a speck."""
    instance, part = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    uv = np.zeros((64, 64, 2), np.float32)
    instance[5:45, 10:40] = 1
    part[5:30, 10:40], part[30:45, 10:40] = 2, 4
    uv[5:45, 10:40, 0] = np.linspace(0, 1, 30)
    uv[5:45, 10:40, 1] = np.linspace(0, 1, 40)[:, None]
    instance[60:62, 60:62], part[60:62, 60:62] = 2, 23
    keypoints = np.tile([12.345, 20.0], (2, 17, 1))
    visibility = np.zeros((2, 17), int)
    visibility[0, :3] = [2, 1, 2]
    return Truth(instance, part, uv, keypoints, visibility)


def decoded_regions(masks: list) -> np.ndarray:
    grid = np.zeros((256, 256), np.uint8)
    for number, mask in enumerate(masks, 1):
        if mask:
            grid[coco_mask.decode(mask) > 0] = number
    return grid


def test_a_person_is_annotated_in_the_format_of_the_real_set():
    truth = block_truth()
    record = annotate_person(truth, 0, np.random.default_rng(0))
    assert record["bbox"] == [10.0, 5.0, 30.0, 40.0]
    assert record["area"] == 1200.0
    assert (coco_mask.decode(record["segmentation"]) == (truth.instance == 1)).all()
    # 12.345 and 20 px from the border; COCO counts pixels from the centre of the first one.
    assert record["keypoints"][:9] == [11.85, 19.5, 2, 11.85, 19.5, 1, 11.85, 19.5, 2]
    assert record["keypoints"][9:] == [0] * 42
    assert record["num_keypoints"] == 3
    assert [i for i, mask in enumerate(record["dp_masks"], 1) if mask] == [1, 3]
    assert len(record["dp_masks"]) == 14 and record["dp_masks"][0]["size"] == [256, 256]


def test_keypoints_are_read_back_where_the_truth_has_them():
    truth = block_truth()
    record = {"id": 1, **annotate_person(truth, 0, np.random.default_rng(0))}
    loaded = np.array(_annotation(record, 0)["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(loaded[:3, :2], truth.keypoints_px[0, :3], atol=0.0051)


def test_points_carry_the_truth_under_them():
    truth = block_truth()
    record = annotate_person(truth, 0, np.random.default_rng(0))
    x0, y0, width, height = record["bbox"]
    assert len(record["dp_x"]) == 2 * MAX_POINTS_PER_REGION
    points = zip(*(record[f"dp_{name}"] for name in "xyIUV"), strict=True)
    for x, y, part, u, v in points:
        column, row = int(x0 + x * width / 256), int(y0 + y * height / 256)
        assert truth.part[row, column] == part
        np.testing.assert_allclose(truth.uv[row, column], [u, v], atol=1e-5)


def test_part_masks_equal_a_loop_over_the_grid():
    truth = block_truth()
    record = annotate_person(truth, 0, np.random.default_rng(0))
    grid = decoded_regions(record["dp_masks"])
    for i in range(0, 256, 17):
        for j in range(0, 256, 17):
            row, column = int(5 + (i + 0.5) / 256 * 40), int(10 + (j + 0.5) / 256 * 30)
            assert grid[i, j] == COARSE_OF_PART[truth.part[row, column]]


def test_a_speck_gets_a_box_but_no_points_and_a_hidden_person_nothing():
    truth = block_truth()
    speck = annotate_person(truth, 1, np.random.default_rng(0))
    assert speck["bbox"] == [60.0, 60.0, 2.0, 2.0]
    assert not any(name.startswith("dp_") for name in speck)
    truth.instance[truth.instance == 2] = 0
    assert annotate_person(truth, 1, np.random.default_rng(0)) is None


HANDS, FEET, TORSO = (3, 4), (5, 6), (1, 2)


def displaced(noise_m: float, parts: tuple[int, ...], count: int = 3000):
    """Points of some parts before and after: metres moved (P, 3), cosine between normals (P,)."""
    atlas = load_template_atlas()
    rng = np.random.default_rng(0)
    face = rng.choice(np.flatnonzero(np.isin(atlas.face_part, parts)), count)
    part, uv = atlas.from_surface(face, rng.dirichlet([1, 1, 1], count).astype(np.float32))
    noisy_part, noisy_uv = SurfaceNoise(atlas, noise_m)(part, uv, rng)
    assert (COARSE_OF_PART[noisy_part] == COARSE_OF_PART[part]).all()
    assert (noisy_uv >= 0).all() and (noisy_uv <= 1).all()
    normal = face_normals(atlas.mesh.vertices_m, atlas.mesh.faces)
    before, after = (atlas.locate(*at)[0] for at in ((part, uv), (noisy_part, noisy_uv)))
    moved = atlas.to_points(noisy_part, noisy_uv) - atlas.to_points(part, uv)
    return moved, (normal[before] * normal[after]).sum(axis=1)


@pytest.mark.parametrize("parts", [HANDS, FEET])
@pytest.mark.parametrize("noise_m", [0.02, 0.05])
def test_annotator_noise_stays_on_its_side_of_hands_and_feet(noise_m, parts):
    moved, cosine = displaced(noise_m, parts)
    assert (cosine < 0).mean() < 0.01
    assert np.sqrt((moved**2).sum(axis=1).mean()) > 0.4 * noise_m


@pytest.mark.parametrize("noise_m", [0.005, 0.02])
def test_annotator_noise_has_the_deviation_asked_for_where_there_is_room(noise_m):
    moved, _ = displaced(noise_m, TORSO)
    distance = np.linalg.norm(moved, axis=1)
    # Two directions of deviation noise_m: Rayleigh, less where an edge of the region ends it.
    assert np.sqrt((distance**2).mean()) == pytest.approx(np.sqrt(2) * noise_m, rel=0.12)
    assert np.median(distance) == pytest.approx(np.sqrt(2 * np.log(2)) * noise_m, rel=0.12)


def test_a_walk_on_a_box_goes_straight_over_its_edges():
    vertices, faces = box(np.array([2.0, 2.0, 2.0]), np.zeros(3))
    walker = SurfaceWalker(vertices, faces)
    top = np.flatnonzero(walker.normal[:, 1] > 0.9)[:1]
    middle = vertices[faces[top[0]]].mean(axis=0)

    def end(x: float, z: float, allowed: bool = True) -> np.ndarray:
        face, place = walker.walk(
            top,
            np.full((1, 3), 1 / 3),
            np.array([[x, 0.0, z]]),
            lambda point, face: np.full(len(point), allowed),
        )
        return np.einsum("pck,pc->pk", vertices[faces[face]], place)[0]

    x, _, z = middle
    np.testing.assert_allclose(end(1.5 - x, 0.25), [1, 0.5, z + 0.25], atol=1e-6)
    np.testing.assert_allclose(end(6.0 - x, 0.0), [-1, 0, z], atol=1e-6)  # under it and up
    np.testing.assert_allclose(end(0.1, -0.1), middle + [0.1, 0, -0.1], atol=1e-6)
    stopped = end(6.0 - x, 0.0, allowed=False)
    assert stopped[1] == 1 and x <= stopped[0] <= 1 and stopped[2] == pytest.approx(z, abs=1e-6)
