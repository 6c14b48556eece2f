from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.evaluation.matching import (
    AREA_RANGES_PX,
    Matches,
    average_precision_table,
    join_matches,
    match_by_box,
    match_images,
    similarity_thresholds,
)
from densepose.evaluation.pairs import ImagePairs
from tests.support import naive_evaluation as naive
from tests.support import packed


def random_image(rng: np.random.Generator) -> dict:
    detections, people = int(rng.integers(0, 7)), int(rng.integers(0, 6))
    # A coarse grid of values makes ties and values on thresholds common.
    similarity = rng.integers(0, 21, (2, detections, people)) / 20
    box_iou = rng.choice([0.0, 0.3, 0.8, 0.85, 0.9], (detections, people))
    return {
        "similarity": similarity,
        "box_iou": box_iou,
        "scores": np.sort(rng.integers(0, 8, detections) / 8)[::-1],
        "detection_areas_px": rng.choice([500.0, 1024.0, 5000.0, 9216.0, 20000.0], detections),
        "ignored_people": rng.uniform(size=people) < 0.4,
        "crowd": rng.uniform(size=people) < 0.2,
        "people_areas_px": rng.choice([500.0, 1024.0, 5000.0, 9216.0, 20000.0], people),
        "annotation_ids": rng.permutation(10)[:people],
    }


def pairs_of(*images: dict) -> ImagePairs:
    """Images as ``random_image`` makes them, packed."""
    sizes = [(len(image["scores"]), len(image["crowd"])) for image in images]
    areas = np.concatenate([image["detection_areas_px"] for image in images])
    joined = {
        name: np.concatenate([image[name] for image in images])
        for name in ("scores", "crowd", "ignored_people", "people_areas_px", "annotation_ids")
    }
    people = packed.people(
        sum(count for _, count in sizes),
        image=np.repeat(np.arange(len(images)), [count for _, count in sizes]),
        num_images=len(images),
        crowd=joined["crowd"],
        has_points=~joined["ignored_people"],
        areas_px=joined["people_areas_px"],
        annotation_ids=joined["annotation_ids"],
    )
    found = packed.detections(
        np.stack([np.zeros_like(areas), np.zeros_like(areas), areas, np.ones_like(areas)], axis=1),
        scores=joined["scores"],
        image=np.repeat(np.arange(len(images)), [count for count, _ in sizes]),
    )
    return ImagePairs(people, found)


def match(*images: dict, **options) -> Matches:
    similarity = [image["similarity"].reshape(len(image["similarity"]), -1) for image in images]
    box_iou = np.concatenate([image["box_iou"].ravel() for image in images])
    return match_images(pairs_of(*images), np.concatenate(similarity, axis=1), box_iou, **options)


def naive_outcome(image: dict, index: int, area: tuple, thresholds, quirks: str) -> naive.Outcome:
    people = [
        naive.Person(int(i), float(a), bool(s), bool(c))
        for i, a, s, c in zip(
            image["annotation_ids"],
            image["people_areas_px"],
            image["ignored_people"],
            image["crowd"],
            strict=True,
        )
    ]
    detections = [
        naive.Detection(float(s), float(a))
        for s, a in zip(image["scores"], image["detection_areas_px"], strict=True)
    ]
    return naive.match(
        detections,
        people,
        lambda d, g: image["similarity"][index, d, g],
        lambda d, g: image["box_iou"][d, g],
        area,
        thresholds.tolist(),
        quirks,
    )


@pytest.mark.parametrize("quirks", ["upstream", "fixed"])
def test_matches_the_rules_written_as_loops(quirks):
    rng = np.random.default_rng(3)
    thresholds = similarity_thresholds()
    for _ in range(150):
        image = random_image(rng)
        got = match(image, thresholds=thresholds, quirks=quirks)
        for index in range(2):
            for a, area in enumerate(AREA_RANGES_PX.values()):
                want = naive_outcome(image, index, area, thresholds, quirks)
                shape = (len(thresholds), len(image["scores"]))
                matched, ignored = (
                    np.array(flags, bool).reshape(shape) for flags in (want.matched, want.ignored)
                )
                is_right = got.matched[index, a] & ~got.ignored[index, a]
                np.testing.assert_array_equal(is_right, matched & ~ignored)
                np.testing.assert_array_equal(got.ignored[index, a], ignored)
                assert got.num_people[a] == want.num_people


@pytest.mark.parametrize("quirks", ["upstream", "fixed"])
def test_average_precision_agrees_with_counting(quirks):
    rng = np.random.default_rng(4)
    thresholds = similarity_thresholds()
    images = [random_image(rng) for _ in range(40)]
    # Distinct scores: with equal ones the curve depends on the order of counting.
    for number, image in enumerate(images):
        image["scores"] = image["scores"] - number * 1e-4 - np.arange(len(image["scores"])) * 1e-6
    got = average_precision_table(
        match(*images, thresholds=thresholds, quirks=quirks), 1, thresholds
    )
    scores = [float(s) for image in images for s in image["scores"]]
    for a, (suffix, area) in enumerate(zip(("", "m", "l"), AREA_RANGES_PX.values(), strict=True)):
        outcomes = [naive_outcome(i, 1, area, thresholds, quirks) for i in images]
        num_people = sum(o.num_people for o in outcomes)
        per_threshold = [
            naive.average_precision(
                scores,
                [flag for o in outcomes for flag in o.matched[t]],
                [flag for o in outcomes for flag in o.ignored[t]],
                num_people,
            )
            for t in range(len(thresholds))
        ]
        assert got[f"AP{suffix}"] == pytest.approx(100 * np.mean([p for p, _ in per_threshold]))
        assert got[f"AR{suffix}"] == pytest.approx(100 * np.mean([r for _, r in per_threshold]))
        if a == 0:
            assert got["AP50"] == pytest.approx(100 * per_threshold[0][0])
            assert got["AR75"] == pytest.approx(100 * per_threshold[5][1])


def one_person(value: float, **changes) -> dict:
    image = {
        "similarity": np.full((1, 1, 1), value),
        "box_iou": np.ones((1, 1)),
        "scores": np.array([0.9]),
        "detection_areas_px": np.array([10000.0]),
        "ignored_people": np.array([False]),
        "crowd": np.array([False]),
        "people_areas_px": np.array([10000.0]),
        "annotation_ids": np.array([7]),
    }
    return image | changes


def table(*images: dict, **options) -> dict[str, float]:
    thresholds = similarity_thresholds(options.pop("minimum", 0.5))
    return average_precision_table(match(*images, thresholds=thresholds, **options), 0, thresholds)


def test_a_similarity_of_0_77_is_right_at_six_of_ten_thresholds():
    row = table(one_person(0.77))
    assert row["AP"] == pytest.approx(60) and row["AR"] == pytest.approx(60)
    assert row["AP50"] == pytest.approx(100) and row["AP75"] == pytest.approx(100)
    assert row["APl"] == pytest.approx(60) and np.isnan(row["APm"])


def test_names_and_order_of_the_published_table():
    assert list(table(one_person(1.0))) == [
        *("AP", "AP50", "AP75", "APm", "APl"),
        *("AR", "AR50", "AR75", "ARm", "ARl"),
    ]
    assert list(table(one_person(1.0), minimum=0.2))[:6] == [
        *("AP", "AP20", "AP30", "AP40", "AP50", "AP75")
    ]


def test_raising_a_similarity_never_lowers_the_score():
    row = [table(one_person(s))["AP"] for s in np.linspace(0, 1, 41)]
    assert row == sorted(row) and row[0] == 0 and row[-1] == pytest.approx(100)


def test_without_people_there_is_nothing_to_score():
    nobody = {
        "similarity": np.zeros((1, 1, 0)),
        "box_iou": np.zeros((1, 0)),
        **dict.fromkeys(("ignored_people", "crowd"), np.zeros(0, bool)),
        **dict.fromkeys(("people_areas_px", "annotation_ids"), np.zeros(0)),
    }
    assert all(np.isnan(value) for value in table(one_person(1.0) | nobody).values())
    # A detection in an image without people does not count against the others.
    assert table(one_person(1.0), one_person(1.0) | nobody)["AP"] == pytest.approx(100)


def test_without_detections_everything_is_missed():
    nothing = one_person(
        1.0,
        similarity=np.zeros((1, 0, 1)),
        box_iou=np.zeros((0, 1)),
        scores=np.zeros(0),
        detection_areas_px=np.zeros(0),
    )
    assert table(nothing)["AP"] == 0 and table(nothing)["AR"] == 0


def test_fixed_rules_keep_matches_that_the_stale_state_withdraws():
    # Right at 0.5 to 0.75; at 0.95 unmatched, where its box is also that of an ignored person.
    image = one_person(
        0.0,
        similarity=np.array([[[0.77, 0.0]]]),
        box_iou=np.array([[0.6, 0.9]]),
        ignored_people=np.array([False, True]),
        crowd=np.array([False, False]),
        people_areas_px=np.array([10000.0, 10000.0]),
        annotation_ids=np.array([1, 2]),
    )
    assert table(image, quirks="upstream")["AP"] == 0
    assert table(image, quirks="fixed")["AP"] == pytest.approx(60)


def test_fixed_rules_match_the_annotation_with_id_zero():
    image = one_person(1.0, annotation_ids=np.array([0]))
    assert table(image, quirks="upstream")["AP"] == 0
    assert table(image, quirks="fixed")["AP"] == pytest.approx(100)


def test_boxes_are_matched_one_to_one_best_score_first():
    pairs = packed.boxes_only(np.zeros((2, 4)), np.zeros((3, 4)))
    overlaps = np.array([0.9, 0.6, 0.95, 0.55, 0.0, 0.45])
    assert match_by_box(pairs, overlaps).tolist() == [0, 3]
    crowd = packed.boxes_only(np.zeros((2, 4)), np.zeros((3, 4)), np.array([True, False]))
    assert match_by_box(crowd, overlaps).tolist() == [-1, 1]
    none = np.zeros(0)
    assert match_by_box(packed.boxes_only(np.zeros((2, 4)), []), none).tolist() == [-1, -1]
    assert match_by_box(packed.boxes_only([], np.zeros((3, 4))), none).tolist() == []


@pytest.mark.parametrize("quirks", ["upstream", "fixed"])
def test_images_matched_together_come_out_as_one_by_one(quirks):
    rng = np.random.default_rng(8)
    images = [random_image(rng) for _ in range(30)]
    options = {"thresholds": similarity_thresholds(), "quirks": quirks}
    together, alone = match(*images, **options), [match(image, **options) for image in images]
    joined = join_matches(alone)
    for name in ("scores", "matched", "ignored", "num_people"):
        np.testing.assert_array_equal(getattr(together, name), getattr(joined, name))


def test_rejects_unsorted_scores_and_unknown_options():
    image = one_person(1.0, scores=np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="sorted by descending score"):
        match(image, thresholds=similarity_thresholds())
    with pytest.raises(InputError, match=r"must be in \(0, 0.95\], got 1.0"):
        similarity_thresholds(1.0)
