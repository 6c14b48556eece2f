"""Methods between annotated points: baselines, the body, and a network with the points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from densepose.inpainting.cells import Cells, Points, cells_and_points, parts_of_region
from densepose.inpainting.methods import (
    SMOOTHINGS,
    BodyPlaces,
    Scores,
    choose_smoothing,
    nearest_point,
    on_surface,
    refine_in_charts,
    refine_on_surface,
    smooth_in_part,
)
from densepose.structures.body_parts import COARSE_OF_PART
from densepose.surface.charts import load_template_atlas
from densepose.synthetic.annotator_noise import SurfaceNoise
from tests.support.inpainting_scenes import people, scene, truth


@pytest.fixture(scope="module")
def body() -> BodyPlaces:
    return BodyPlaces(load_template_atlas())


def leg_seen_from_the_side(body: BodyPlaces, num_points: int = 25, seed: int = 0):
    """A right lower leg of which front and back are seen: height and depth are x and y in px.

    Places on one side of the leg, so that what is seen is a smooth function of the image.
    """
    rng = np.random.default_rng(seed)
    region = int(COARSE_OF_PART[9])
    own = parts_of_region()[region]
    part = rng.choice(own, 20_000)
    uv = rng.uniform(0.02, 0.98, (20_000, 2))
    place_m = body.points_m(part, uv)
    outside = place_m[:, 0] < np.quantile(place_m[:, 0], 0.35)  # one layer of the surface
    part, uv, place_m = part[outside], uv[outside], place_m[outside]
    place_px = 200 * place_m[:, [2, 1]]
    chosen = rng.permutation(len(part))
    known, asked = chosen[:num_points], chosen[num_points : num_points + 400]
    zeros, size_px = np.zeros(len(part), np.int64), np.full(len(part), 100.0)

    def places(chosen):
        return zeros[chosen], zeros[chosen], place_px[chosen], size_px[chosen]

    points = Points(*places(known), part[known], uv[known], np.zeros(num_points))
    cells = Cells(*places(asked), zeros[asked] + region, np.array([[1, 1]]))
    return cells, points, part[asked], uv[asked], place_m[asked]


def scores(part: np.ndarray, uv: np.ndarray, region: np.ndarray, sure: float = 9.0) -> Scores:
    """A network that says this."""
    second = part == parts_of_region()[region, 1]
    both = np.repeat(uv[:, None], 2, axis=1)
    return Scores(np.where(second, sure, -sure), both, np.zeros((len(part), 2)))


def error_m(body: BodyPlaces, guess, place_m: np.ndarray) -> np.ndarray:
    return np.linalg.norm(body.points_m(guess.part, guess.uv) - place_m, axis=1)


def test_it_goes_on_where_splines_in_parts_stop(body):
    cells, points, part, _, place_m = leg_seen_from_the_side(body)
    on_body = on_surface(cells, points, body)
    in_parts = smooth_in_part(cells, points)
    assert (on_body.part == part).mean() > (in_parts.part == part).mean()
    assert error_m(body, on_body, place_m).mean() < 0.8 * error_m(body, in_parts, place_m).mean()
    assert np.median(error_m(body, on_body, place_m)) < 0.01


def test_points_are_what_they_are_where_they_lie(body):
    _, points, *_ = leg_seen_from_the_side(body)
    places = points.person, points.index, points.place_px, points.size_px
    at = Cells(*places, points.region, np.array([[1, 1]]))
    guess = on_surface(at, points, body)
    known_m = body.points_m(points.part, points.uv)
    assert error_m(body, guess, known_m).max() < 1e-3
    network = scores(points.part, points.uv * 0.5, points.region)
    taught = refine_on_surface(at, points, network, network, body)
    assert error_m(body, taught, known_m).max() < 1e-3


def test_far_from_points_the_network_counts(body):
    cells, points, part, uv, place_m = leg_seen_from_the_side(body, num_points=6, seed=2)
    right = scores(part, uv, cells.region), scores(points.part, points.uv, points.region)
    alone = error_m(body, on_surface(cells, points, body), place_m)
    before = np.inf
    for reach in (10.0, 0.1, 1e-6):
        guess = refine_on_surface(cells, points, *right, body, reach=reach)
        here = error_m(body, guess, place_m).mean()
        assert here < before
        before = here
    assert before < 1e-3 < alone.mean()


def test_an_error_of_the_network_at_points_is_taken_off_around_them(body):
    cells, points, part, uv, place_m = leg_seen_from_the_side(body)
    shifted = [
        scores(p, (q + [0.0, 0.06]).clip(0, 1), r)
        for p, q, r in ((part, uv, cells.region), (points.part, points.uv, points.region))
    ]
    guess = refine_on_surface(cells, points, *shifted, body, reach=1e-9)
    untaught = np.linalg.norm(body.points_m(part, shifted[0].uv[:, 0]) - place_m, axis=1)
    assert error_m(body, guess, place_m).mean() < 0.5 * untaught.mean()


def test_a_region_without_points_is_the_networks(body):
    cells, points, part, uv, place_m = leg_seen_from_the_side(body)
    elsewhere = replace(points, part=np.full_like(points.part, 3), uv=points.uv)
    there = scores(elsewhere.part, elsewhere.uv, elsewhere.region)
    says = scores(part, uv, cells.region)
    guess = refine_on_surface(cells, elsewhere, says, there, body)
    assert error_m(body, guess, place_m).max() < 1e-3
    nothing = on_surface(cells, elsewhere, body)
    assert not nothing.part.any()
    assert not nothing.confidence.any()


def test_confidence_is_lower_where_network_and_points_disagree(body):
    cells, points, part, uv, _ = leg_seen_from_the_side(body)
    at_points = scores(points.part, points.uv, points.region)
    agreed = scores(part, uv, cells.region)
    other = scores(part, (uv + 0.4) % 1, cells.region)
    sure, doubtful = (
        refine_on_surface(cells, points, said, at_points, body).confidence
        for said in (agreed, other)
    )
    for confidence in (sure, doubtful):
        assert ((confidence > 0) & (confidence <= 1)).all()
    assert doubtful.mean() < 0.8 * sure.mean()


def test_the_worse_the_annotators_the_more_is_smoothed(body):
    chosen, errors = [], []
    for metres in (0.0, 0.01, 0.04):
        scenes = [leg_seen_from_the_side(body, num_points=30, seed=seed) for seed in range(12)]
        noise = SurfaceNoise(load_template_atlas(), metres) if metres else None
        known = []
        for seed, (_, points, *_) in enumerate(scenes):
            if noise:
                part, uv = noise(points.part, points.uv, np.random.default_rng(seed))
                points = replace(points, part=part, uv=uv)
            known.append(points)
        smoothing = choose_smoothing(known, body)
        chosen.append(smoothing)
        mean_m = {
            s: np.mean(
                [
                    error_m(body, on_surface(cells, p, body, s), place_m).mean()
                    for (cells, *_, place_m), p in zip(scenes, known, strict=True)
                ]
            )
            for s in SMOOTHINGS
        }
        errors.append(mean_m[smoothing] / min(mean_m.values()))
    assert chosen == sorted(chosen)
    assert chosen[0] < 1e-4 < chosen[2]
    assert max(errors) < 1.2  # near the best by the truth, which was not asked


def test_smoothing_without_anything_to_choose_by(body):
    _, _, points = scene(boxes=())
    assert choose_smoothing([points], body) == 0
    assert choose_smoothing([], body) == 0


BOXES = ((10.0, 20.0, 58.0, 84.0), (60.0, 5.0, 120.0, 45.0))


def test_nearest_equals_the_definition_written_as_a_loop():
    someone, cells, points = scene(boxes=BOXES, points=12)
    guess = nearest_point(cells, points)
    for k in range(0, len(cells.person), 97):
        own = np.flatnonzero(
            (points.person == cells.person[k]) & (points.region == cells.region[k])
        )
        distance = np.linalg.norm(points.place_px[own] - cells.place_px[k], axis=1)
        best = own[distance.argmin()]
        assert guess.part[k] == points.part[best]
        assert np.array_equal(guess.uv[k], points.uv[best])


@pytest.mark.parametrize("method", [nearest_point, smooth_in_part])
def test_a_region_without_points_stays_unknown(method):
    someone = people()
    hands = someone.part == 4
    without = replace(
        someone,
        points_grid=someone.points_grid[~hands],
        part=someone.part[~hands],
        uv=someone.uv[~hands],
        owner=someone.owner[~hands],
    )
    cells, points = cells_and_points(without)
    guess = method(cells, points)
    assert np.array_equal(guess.part > 0, cells.region == 1)
    assert np.array_equal(guess.confidence > 0, guess.part > 0)


def test_splines_find_linear_charts_and_nearly_the_border_between_parts():
    someone, cells, points = scene(boxes=BOXES, points=60)
    guess = smooth_in_part(cells, points)
    for person, box in enumerate(BOXES):
        own = cells.person == person
        part, uv = truth(cells.place_px[own], np.array(box))
        right = guess.part[own] == part
        assert right.mean() > 0.97
        np.testing.assert_allclose(guess.uv[own][right], uv[right], atol=1e-4)


def wild(count: int) -> Scores:
    """A network that says anything."""
    rng = np.random.default_rng(0)
    uv = rng.normal(size=(count, 2, 2))
    return Scores(rng.normal(size=count) * 9, uv, rng.random((count, 2)))


@pytest.mark.parametrize("boxes", [BOXES, ()], ids=["two people", "nobody"])
def test_cells_stay_in_their_region_and_charts_whatever_the_network_says(body, boxes):
    _, cells, points = scene(boxes=boxes)
    network = wild(len(cells.person)), wild(len(points.person))
    for guess in (
        nearest_point(cells, points),
        smooth_in_part(cells, points),
        on_surface(cells, points, body),
        refine_in_charts(cells, points, *network),
        refine_on_surface(cells, points, *network, body),
    ):
        assert np.array_equal(COARSE_OF_PART[guess.part], cells.region)
        assert ((guess.uv >= 0) & (guess.uv <= 1)).all()
        assert ((guess.confidence > 0) & (guess.confidence <= 1)).all()
