from __future__ import annotations

import json
import math

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.evaluation.evaluate import evaluate_densepose
from densepose.evaluation.predictions import PredictionWriter, write_challenge_results
from densepose.evaluation.result import POINT_TITLES
from densepose.structures.prediction import ImagePrediction
from tests.support import naive_evaluation as naive
from tools.upstream.generated import GeneratedSet, generated_set, generated_surface

SURFACE = generated_surface(vertices_per_part=40)
EASY, NOISY = (generated_set(kind, num_images=12) for kind in ("easy", "noisy"))


def evaluate(made: GeneratedSet, **options):
    options = {"detection_scores": False} | options
    predictions = options.pop("predictions", made.predictions)
    return evaluate_densepose(made.ground_truth, predictions, SURFACE, **options)


def exact_prediction(made: GeneratedSet) -> list[ImagePrediction]:
    """Maps as large as the annotated boxes, filled with the nearest annotated point's truth.

    The annotations are moved first so that they are exactly what such a prediction can say.
    """
    images = {image["id"]: [] for image in made.ground_truth["images"]}
    for person in made.ground_truth["annotations"]:
        x, y = (float(math.floor(v)) for v in person["bbox"][:2])
        w, h = (float(math.floor(v)) for v in person["bbox"][2:])
        person["bbox"] = [x, y, w, h]
        person["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        person.pop("dp_masks")
        px = (np.array(person["dp_x"]) * w / 255).astype(int)
        py = (np.array(person["dp_y"]) * h / 255).astype(int)
        labels = np.ones((int(h), int(w)), np.uint8)
        uv = np.zeros((2, int(h), int(w)), np.uint8)
        steps = (np.array([person["dp_U"], person["dp_V"]]) * 255).astype(np.uint8)
        labels[py, px], uv[:, py, px] = np.array(person["dp_I"], int), steps
        person["dp_I"] = labels[py, px].astype(float).tolist()
        person["dp_U"], person["dp_V"] = (uv[:, py, px] / 255).tolist()
        images[person["image_id"]].append(([x, y, x + w, y + h], labels, uv))
    size = (made.ground_truth["images"][0]["height"], made.ground_truth["images"][0]["width"])
    return [
        ImagePrediction(
            image_id,
            size,
            np.array([box for box, _, _ in people], np.float32),
            np.linspace(0.9, 0.8, len(people), dtype=np.float32),
            tuple(labels for _, labels, _ in people),
            tuple(uv for _, _, uv in people),
        )
        for image_id, people in images.items()
    ]


def test_perfect_predictions_score_one_hundred_percent():
    made = generated_set("easy", num_images=6)
    result = evaluate(made, predictions=exact_prediction(made), detection_scores=True)
    for table in ("densepose_gps", "densepose_gpsm", "densepose_iou", "bbox", "segm"):
        assert result.metrics[f"{table.replace('bbox', 'box')}/AP"] == pytest.approx(100), table
    for name in POINT_TITLES:
        assert result.metrics[name] == pytest.approx(1), name
    assert (result.instances["gps"] == 1).all()


def test_predictions_of_other_images_score_next_to_nothing():
    rotated = [*EASY.predictions[1:], EASY.predictions[0]]
    shuffled = [
        ImagePrediction(right.image_id, p.image_size, p.boxes_xyxy_px, p.scores, p.labels, p.uv)
        for right, p in zip(EASY.predictions, rotated, strict=True)
    ]
    good, bad = evaluate(EASY).metrics, evaluate(EASY, predictions=shuffled).metrics
    assert good["densepose_gps/AP"] > 50 > 5 > bad["densepose_gps/AP"]
    assert good["mean_gps"] > 0.8 > 0.3 > bad["mean_gps"]


def test_gps_of_every_person_matches_loops_over_pixels_and_points():
    result = evaluate(NOISY)
    people = {person["id"]: person for person in NOISY.ground_truth["annotations"]}
    by_image = {p.image_id: p for p in NOISY.predictions}
    checked = 0
    for row in range(len(result.instances["annotation_id"])):
        person = people[result.instances["annotation_id"][row]]
        prediction = by_image[person["image_id"]]
        index = np.flatnonzero(prediction.scores == result.instances["score"][row])
        if np.isnan(result.instances["score"][row]):
            assert result.instances["gps"][row] == 0
            continue
        want = naive_gps(person, prediction, int(index[0]))
        assert result.instances["gps"][row] == pytest.approx(want, rel=1e-6)
        checked += want > 0.1
    assert checked > 10


def naive_gps(person: dict, prediction: ImagePrediction, index: int) -> float:
    x0, y0, x1, y1 = (float(v) for v in prediction.boxes_xyxy_px[index])
    x, y, w, h = person["bbox"]
    distances, kappas = [], []
    for dx, dy, part, u, v in zip(
        *(person[k] for k in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")), strict=True
    ):
        column, row = int(dx * w / 255 + x - x0), int(dy * h / 255 + y - y0)
        kappas.append(naive.kappa_of_part(int(part)))
        labels, uv = prediction.labels[index], prediction.uv[index]
        inside = 0 <= column < int(x1 - x0) and 0 <= row < int(y1 - y0)
        if not inside or labels[row, column] == 0:
            distances.append(math.inf)
            continue
        a, b = (
            SURFACE.nearest_vertex(np.array([p]), np.array([q]))
            for p, q in ((int(part), (u, v)), (labels[row, column], uv[:, row, column] / 255))
        )
        distances.append(float(SURFACE.distance_m(a, b)[0]))
    return naive.gps(distances, kappas)


def test_no_detections_score_zero():
    result = evaluate(EASY, predictions=[], detection_scores=True)
    assert result.metrics["densepose_gps/AP"] == result.metrics["box/AR100"] == 0
    assert result.metrics["auc30"] == result.metrics["part_accuracy"] == 0
    assert result.counts["detections"] == 0 and result.counts["images"] == 12
    assert np.isnan(result.instances["score"]).all()


def test_without_people_nothing_is_known_and_the_table_still_prints():
    nobody = GeneratedSet(EASY.ground_truth | {"annotations": []}, EASY.predictions)
    result = evaluate(nobody, detection_scores=True)
    assert all(math.isnan(value) for value in result.metrics.values())
    assert json.loads(result.to_json())["tables"]["densepose_gps"]["AP"] is None
    assert "| - |" in result.to_table().replace("  ", "")


def test_an_empty_set_is_an_ordinary_set():
    empty = GeneratedSet(EASY.ground_truth | {"images": [], "annotations": []}, ())
    result = evaluate(empty, detection_scores=True)
    assert result.counts["images"] == 0 and math.isnan(result.metrics["densepose_gpsm/AP"])


def test_files_memory_and_order_of_images_do_not_change_the_numbers(tmp_path):
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(NOISY.ground_truth))
    writer = PredictionWriter(tmp_path / "predictions")
    for prediction in NOISY.predictions:
        writer.write(prediction)
    from_files = evaluate_densepose(truth, tmp_path / "predictions", SURFACE)
    again = evaluate_densepose(truth, str(tmp_path / "predictions"), SURFACE)
    assert from_files.to_json() == again.to_json()
    in_memory = evaluate(NOISY, predictions=iter(NOISY.predictions), detection_scores=True)
    assert in_memory.to_json() == from_files.to_json()
    backwards = evaluate(NOISY, predictions=NOISY.predictions[::-1], detection_scores=True)
    assert backwards.metrics == pytest.approx(from_files.metrics, nan_ok=True, rel=1e-12)


def test_results_of_the_challenge_score_the_same(tmp_path):
    path = tmp_path / "results.json"
    write_challenge_results(path, NOISY.predictions)
    got, want = evaluate(NOISY, predictions=path), evaluate(NOISY)
    assert got.metrics == pytest.approx(want.metrics, rel=1e-3)


def test_a_subset_of_images_counts_alone():
    first = NOISY.predictions[0].image_id
    alone = evaluate(NOISY, image_ids=[first])
    assert alone.counts["images"] == 1 and set(alone.instances["image_id"]) == {first}


def test_true_parts_and_coordinates_bound_the_score():
    plain, part, everything = (
        evaluate(NOISY, oracle=oracle).points["mean_gps"] for oracle in ("none", "part", "iuv")
    )
    assert plain < part < everything
    exact = evaluate(EASY, oracle="iuv")
    found = exact.instances["box_iou"] > 0.99
    assert evaluate(NOISY, oracle="without_uv").points["mean_gps"] < plain
    assert (exact.instances["gps"][found] > 0.99).all()


def doubled(made: GeneratedSet) -> list[ImagePrediction]:
    """Every detection twice, the better scored one shifted to the side."""
    shift = np.float32([12, 0, 12, 0])
    return [
        ImagePrediction(
            p.image_id,
            p.image_size,
            np.concatenate([p.boxes_xyxy_px + shift, p.boxes_xyxy_px]),
            np.concatenate([p.scores, p.scores / 2]),
            p.labels * 2,
            p.uv * 2,
        )
        for p in made.predictions
    ]


def test_with_given_boxes_a_person_has_the_detection_of_its_own_box():
    plain = evaluate(EASY)
    predictions = [p for p in doubled(EASY) if len(p)]
    multi, single = (
        evaluate(EASY, predictions=predictions, protocol=protocol)
        for protocol in ("multi", "single")
    )
    assert single.points == pytest.approx(plain.points)
    assert multi.points["mean_gps"] < plain.points["mean_gps"] - 0.05
    assert multi.tables == single.tables
    assert "boxes given" in single.to_table() and "boxes given" not in multi.to_table()


def test_progress_counts_all_images():
    told = []
    evaluate(EASY, on_progress=lambda done, images: told.append((done, images)))
    assert sum(done for done, _ in told) == 12 and {images for _, images in told} == {12}


def test_published_and_fixed_rules_differ_where_they_must():
    made = generated_set("adversarial", seed=1, num_images=20)
    upstream, fixed = (evaluate(made, quirks=quirks) for quirks in ("upstream", "fixed"))
    assert upstream.tables["densepose_gps"] != fixed.tables["densepose_gps"]
    clean = (evaluate(EASY, quirks=quirks).tables for quirks in ("upstream", "fixed"))
    first, second = clean
    assert first["densepose_gpsm"]["AP"] == pytest.approx(second["densepose_gpsm"]["AP"], abs=0.5)


def test_the_table_names_measure_and_kappa_of_every_row():
    text = evaluate(EASY, paper_kappa=True, detection_scores=True).to_table()
    for phrase in (
        "GPS, kappa per part (challenge 2018)",
        "GPSm = sqrt(GPS x mask IoU), kappa per part (challenge 2019)",
        "GPS, kappa 0.255 m (paper, 2018)",
        "GPSm = sqrt(GPS x mask IoU), kappa 0.255 m",
        "AP and AR of DensePose over 0.50:0.05:0.95, best 20 detections of an image",
        "box IoU (COCO)",
        "upstream rules",
        "surface generated",
        "24 left head",
    ):
        assert phrase in text
    assert (
        len({len(line) for line in text.splitlines() if "kappa" in line and "AP" not in line}) <= 2
    )


def test_lower_thresholds_add_rows():
    result = evaluate(NOISY, min_threshold=0.2)
    assert "over 0.20:0.05:0.95," in result.to_table()
    row = result.tables["densepose_gps"]
    assert row["AP20"] >= row["AP30"] >= row["AP40"] >= row["AP50"] >= row["AP75"]


def test_every_similarity_is_scored_with_both_normalisers():
    result = evaluate(NOISY, paper_kappa=True)
    people = result.instances
    np.testing.assert_allclose(people["gpsm"], np.sqrt(people["gps"] * people["mask_iou"]))
    # 30 cm off scores one half with the paper's kappa, and less on all parts but the torso.
    assert people["gps_paper"].mean() > people["gps"].mean()
    tables = result.tables
    assert tables["densepose_gps_paper"]["AP"] > tables["densepose_gps"]["AP"]
    assert tables["densepose_gpsm_paper"]["AP"] > tables["densepose_gpsm"]["AP"]
    assert set(evaluate(NOISY).tables) == {"densepose_gps", "densepose_gpsm", "densepose_iou"}


def test_images_are_summed_up_one_by_one():
    result = evaluate(NOISY)
    images, people = result.images, result.instances
    assert sorted(images) == sorted(["image_id", "people", "found", "gps", "gpsm", "mask_iou"])
    assert images["people"].sum() == len(people["gps"]) == result.counts["people_with_points"]
    for row, image_id in enumerate(images["image_id"]):
        mine = people["image_id"] == image_id
        assert images["people"][row] == mine.sum()
        assert images["found"][row] == (~np.isnan(people["score"][mine])).sum()
        assert images["gps"][row] == pytest.approx(people["gps"][mine].mean())
        assert images["mask_iou"][row] == pytest.approx(people["mask_iou"][mine].mean())
    assert json.loads(result.to_json())["images"]["gps"] == pytest.approx(images["gps"].tolist())


def test_worst_people_come_first():
    worst = evaluate(NOISY).worst(5)
    assert len(worst["gps"]) == 5 and (np.diff(worst["gps"]) >= 0).all()


def changed(**fields) -> list[ImagePrediction]:
    first = EASY.predictions[0]
    return [ImagePrediction(**{**first.__dict__, **fields}), *EASY.predictions[1:]]


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (changed(image_id=999), "image 999: the image is not in ground truth"),
        ([*EASY.predictions, EASY.predictions[3]], "image 4: the image is predicted twice"),
        (changed(image_size=(1, 2)), r"image of \(1, 2\) px .*says \(360, 480\)"),
        (
            changed(boxes_xyxy_px=EASY.predictions[0].boxes_xyxy_px * 2),
            "image 1, person 0: box .* asks for maps of",
        ),
        (changed(scores=EASY.predictions[0].scores * np.nan), "a box or a score is not a finite"),
        (
            changed(labels=tuple(label + np.uint8(30) for label in EASY.predictions[0].labels)),
            r"label \d+; parts are 0 to 24",
        ),
    ],
)
def test_predictions_that_do_not_fit_are_refused(predictions, message):
    with pytest.raises(InputError, match=message):
        evaluate(EASY, predictions=predictions)


def test_unknown_options_are_refused():
    for name, value in (("quirks", "new"), ("oracle", "delphi"), ("protocol", "solo")):
        with pytest.raises(InputError, match=f"{name} must be in .*, got '{value}'"):
            evaluate(EASY, **{name: value})
    with pytest.raises(InputError, match="max_detections must be 1 or more, got 0"):
        evaluate(EASY, max_detections=0)
    with pytest.raises(InputError, match="smallest threshold must be in"):
        evaluate(EASY, min_threshold=0)
    with pytest.raises(TypeError, match="shoe_size"):
        evaluate(EASY, shoe_size=47)
