from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from densepose.data.inpainted import InpaintedImage
from densepose.errors import InputError
from densepose.inpainting.accuracy import (
    Errors,
    compare,
    distance_m,
    pixels_of,
    read_truth,
    to_table,
    write_accuracy,
)
from densepose.surface.charts import load_template_atlas
from densepose.surface.evaluation_surface import EvaluationSurface


class StraightLines:
    """Distances through the body, which need no cache: enough to tell near from far."""

    def lookup(self, a, b):
        vertices = load_template_atlas().mesh.vertices_m
        return np.linalg.norm(vertices[a] - vertices[b], axis=1)


SURFACE = EvaluationSurface("template", load_template_atlas(), StraightLines())


def test_short_distances_are_between_places_and_long_ones_between_vertices():
    part = np.array([2, 2, 2, 0])
    uv = np.array([[0.5, 0.5]] * 4)
    moved = uv + [[0.0, 0.0], [0.01, 0.0], [0.4, 0.3], [0.0, 0.0]]
    got = distance_m(SURFACE, part, uv, np.array([2, 2, 2, 1]), moved)
    atlas = load_template_atlas()
    near = np.linalg.norm(atlas.to_points([2], uv[:1]) - atlas.to_points([2], moved[1:2]))
    a, b = atlas.nearest_vertex([2], uv[:1]), atlas.nearest_vertex([2], moved[2:3])
    assert got[0] == 0
    assert got[1] == pytest.approx(near)
    assert 0 < near < 0.02
    assert got[2] == pytest.approx(StraightLines().lookup(a, b)[0])
    assert got[3] == np.inf


def test_scores_equal_their_definitions():
    rng = np.random.default_rng(0)
    distance = np.append(rng.gamma(1.0, 0.05, 900), [np.inf] * 30)
    part = rng.integers(1, 25, 930)
    predicted = np.where(rng.uniform(size=930) < 0.8, part, 0)
    pieces = [np.array_split(values, 7) for values in (part, predicted, distance)]
    scores = Errors(*pieces).scores()
    assert scores["pixels"] == 930
    assert scores["part_accuracy"] == pytest.approx(np.mean(predicted == part))
    assert scores["median_m"] == pytest.approx(np.median(distance))
    assert scores["auc10"] == pytest.approx(np.clip(1 - distance / 0.1, 0, 1).mean())
    assert scores["auc30"] == pytest.approx(np.clip(1 - distance / 0.3, 0, 1).mean())
    assert scores["inpainted"] == pytest.approx(np.mean(predicted > 0))
    head = Errors(*pieces).scores(23)
    assert head["pixels"] == (part == 23).sum()
    assert head["auc30"] == pytest.approx(np.clip(1 - distance[part == 23] / 0.3, 0, 1).mean())


def test_scores_of_nothing_and_of_background():
    assert np.isnan(Errors().scores()["median_m"])
    assert (
        Errors([np.array([3])], [np.array([0])], [np.array([np.inf])]).scores()["median_m"]
        == np.inf
    )


def painted(part: int = 2) -> tuple[InpaintedImage, np.ndarray, np.ndarray]:
    """Two people side by side in 12 x 20 px; the second is annotated, with the part given."""
    iuv = np.zeros((12, 20, 3), np.uint8)
    instance = np.zeros((12, 20), np.uint8)
    instance[2:10, 3:9], instance[2:10, 9:17] = 1, 2
    iuv[instance > 0] = (2, 100, 150)
    maps = np.full((8, 10), part, np.uint8)
    image = InpaintedImage(
        image_id=3,
        annotation_ids=np.array([8]),
        boxes_xyxy_px=np.array([[7, 2, 17, 10]], np.float32),
        part=(maps,),
        uv=(np.stack([np.full_like(maps, 100), np.full_like(maps, 150)]),),
        confidence=(maps,),
    )
    return image, iuv, instance


def test_pixels_of_the_person_who_has_most_of_the_cells():
    image, iuv, instance = painted()
    rng = np.random.default_rng(0)
    pixel, cell = pixels_of(image, 0, iuv, instance, rng, 1000)
    assert pixel.shape == cell.shape == (2, 64)  # 8 x 8 of person 2, none of the 2 x 8 of person 1
    assert pixel.min(axis=1).tolist() == [2, 9] and pixel.max(axis=1).tolist() == [9, 16]
    assert cell.min(axis=1).tolist() == [0, 2] and cell.max(axis=1).tolist() == [7, 9]
    assert pixels_of(image, 0, iuv, instance, rng, 10)[0].shape == (2, 10)
    assert pixels_of(image, 0, iuv, np.zeros_like(instance), rng, 10) is None


def write_truth(folder: Path, iuv: np.ndarray, instance: np.ndarray) -> None:
    cv2.imwrite(str(folder / "000000000003_iuv.png"), iuv[..., ::-1])
    cv2.imwrite(str(folder / "000000000003_instance.png"), instance)


def test_methods_are_compared_on_the_same_pixels(tmp_path: Path):
    right, iuv, instance = painted()
    wrong, *_ = painted(part=1)
    write_truth(tmp_path, iuv, instance)
    read = read_truth(tmp_path, 3)
    assert np.array_equal(read[0], iuv)
    assert np.array_equal(read[1], instance)
    methods = {"right": lambda record: right, "wrong": lambda record: wrong}
    errors = compare([{"image_id": 3}], tmp_path, methods, SURFACE)
    best, worst = errors["right"].scores(), errors["wrong"].scores()
    assert best["pixels"] == worst["pixels"] == 64
    assert (best["part_accuracy"], worst["part_accuracy"]) == (1, 0)
    assert best["auc10"] == pytest.approx(1)
    assert worst["auc10"] == 0
    table = to_table(errors, "right")
    assert "AUC10 of a person, right less wrong: +1.0000 +- nan (standard error of 1 " in table
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert ["right", "1.0000", "0.00 cm", "1.0000", "1.0000", "64"] in rows
    write_accuracy(tmp_path / "accuracy.json", errors, "right", {"images": 1})
    written = json.loads((tmp_path / "accuracy.json").read_text())
    assert written["methods"]["right"]["all"]["auc30"] == pytest.approx(1)
    assert written["images"] == 1
    assert written["auc10_of_a_person_less_that_of"]["wrong"]["standard_error"] is None
    assert len(written["methods"]["wrong"]["parts"]) == 24


def test_differences_of_people_equal_their_definition():
    distance = np.random.default_rng(0).uniform(0, 0.1, (2, 40, 5))
    one, two = (Errors([], [], list(people)) for people in distance)
    difference = 10 * (distance[1] - distance[0]).mean(axis=1)
    scores = one.auc10_less(two)
    assert scores["people"] == 40
    assert scores["mean"] == pytest.approx(difference.mean())
    assert scores["standard_error"] == pytest.approx(difference.std(ddof=1) / 40**0.5)
    assert np.isnan(Errors().auc10_less(Errors())["mean"])


def test_missing_truth_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="000000000005_iuv.png: no truth of this image"):
        read_truth(tmp_path, 5)
