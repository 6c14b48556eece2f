from __future__ import annotations

import json
import zipfile
from collections import Counter

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.evaluation.ground_truth import GroundTruth
from densepose.evaluation.pairs import pack_detections
from densepose.evaluation.predictions import (
    MARKER,
    PersonEntry,
    PredictionWriter,
    prediction_of_people,
    prediction_paths,
    read_challenge_results,
    read_prediction,
    write_challenge_results,
)
from densepose.structures.prediction import ImagePrediction
from tools.upstream.generated import generated_set


def nobody(image_id: int = 3) -> ImagePrediction:
    boxes, scores = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    return ImagePrediction(image_id, (20, 30), boxes, scores, (), ())


def same(a: ImagePrediction, b: ImagePrediction) -> bool:
    return (
        (a.image_id, tuple(a.image_size)) == (b.image_id, tuple(b.image_size))
        and np.array_equal(a.boxes_xyxy_px, b.boxes_xyxy_px)
        and np.array_equal(a.scores, b.scores)
        and all(np.array_equal(x, y) for x, y in zip(a.labels, b.labels, strict=True))
        and all(np.array_equal(x, y) for x, y in zip(a.uv, b.uv, strict=True))
    )


def test_the_folder_of_an_evaluation_will_do(tmp_path):
    PredictionWriter(tmp_path / "inference" / "predictions").write(nobody(4))
    assert [path.stem for path in prediction_paths(tmp_path / "inference")] == ["000000000004"]
    with pytest.raises(InputError, match="is not a folder of predictions"):
        prediction_paths(tmp_path)


def test_what_is_written_is_read_back_in_the_order_of_images(tmp_path):
    made = [*generated_set("noisy", num_images=6).predictions, nobody(12)]
    writer = PredictionWriter(tmp_path / "p")
    for prediction in reversed(made):
        writer.write(prediction)
    got = [read_prediction(path) for path in prediction_paths(tmp_path / "p")]
    assert len(got) == 7
    assert all(same(a, b) for a, b in zip(got, made, strict=True))


def test_arrays_in_any_memory_layout_are_kept(tmp_path):
    made = generated_set("easy", num_images=1).predictions[0]
    turned = ImagePrediction(
        made.image_id,
        made.image_size,
        np.asfortranarray(made.boxes_xyxy_px),
        made.scores[::-1][::-1],
        tuple(np.asfortranarray(label) for label in made.labels),
        tuple(np.asfortranarray(uv) for uv in made.uv),
    )
    assert same(read_prediction(PredictionWriter(tmp_path).write(turned)), made)


def test_the_same_prediction_gives_the_same_bytes(tmp_path):
    prediction = generated_set("easy", num_images=1).predictions[0]
    first, second = (PredictionWriter(tmp_path / n).write(prediction) for n in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_file_is_replaced_and_nothing_half_written_stays(tmp_path):
    writer = PredictionWriter(tmp_path)
    writer.write(generated_set("easy", num_images=3).predictions[2])
    writer.write(nobody(3))
    assert len(read_prediction(prediction_paths(tmp_path)[0])) == 0
    broken = generated_set("easy", num_images=1).predictions[0]
    bad = ImagePrediction(
        1, (9, 9), broken.boxes_xyxy_px, broken.scores, broken.labels, broken.labels
    )
    with pytest.raises(ValueError, match=r"image 1, person 0: labels \(h, w\) and uv \(2, h, w\)"):
        writer.write(bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{3:012d}.npz", MARKER]


def test_clearing_removes_predictions_and_nothing_else(tmp_path):
    writer = PredictionWriter(tmp_path)
    writer.write(nobody())
    (tmp_path / "notes.txt").write_text("mine")
    assert writer.clear() == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [MARKER, "notes.txt"]


def test_folders_of_others_are_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_text("x")
    with pytest.raises(InputError, match="holiday.jpg"):
        PredictionWriter(tmp_path)
    with pytest.raises(InputError, match=f"{MARKER} is missing"):
        prediction_paths(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        prediction_paths(tmp_path / "absent")


def test_damaged_files_are_named(tmp_path):
    path = PredictionWriter(tmp_path).write(generated_set("easy", num_images=1).predictions[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{path.name}: damaged .*delete it and predict again"):
        read_prediction(path)
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 255
    path.write_bytes(bytes(spoiled))
    with pytest.raises(InputError, match=f"{path.name}: damaged"):
        read_prediction(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=f"{path.name}: damaged"):
        read_prediction(path)


def rewritten(path, **changes) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "schema 99, this version reads schema 1"),
        ({"schema": None}, "no key 'schema'"),
        ({"uv": None}, "key 'uv' is missing"),
        ({"scores": np.zeros(9, np.float32)}, "9 scores, but boxes"),
        ({"labels": np.zeros(4, np.uint8)}, "there are 4 labels"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, changes, message):
    path = PredictionWriter(tmp_path).write(generated_set("easy", num_images=1).predictions[0])
    rewritten(path, **changes)
    with pytest.raises(InputError, match=f"{path.name}: .*{message}"):
        read_prediction(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = PredictionWriter(tmp_path).write(nobody())
    with zipfile.ZipFile(path, "a") as archive, archive.open("evil.npy", "w") as stream:
        np.lib.format.write_array(stream, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        read_prediction(path)


def test_a_bare_array_is_no_prediction(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz: damaged"):
        read_prediction(tmp_path / "a.npz")


MADE = generated_set("noisy", num_images=5)
TRUTH = GroundTruth(MADE.ground_truth, "truth.json")


def test_results_come_back_with_the_same_maps(tmp_path):
    path = tmp_path / "results.json"
    count = write_challenge_results(path, MADE.predictions)
    assert count == sum(map(len, MADE.predictions))
    wanted = {p.image_id: p for p in MADE.predictions if len(p)}
    got = list(read_challenge_results(path, TRUTH, Counter()))
    assert {p.image_id for p in got} == set(wanted)
    for prediction in got:
        want = wanted[prediction.image_id]
        np.testing.assert_array_equal(prediction.scores, want.scores)
        np.testing.assert_allclose(prediction.boxes_xyxy_px, want.boxes_xyxy_px, rtol=1e-6)
        for a, b in zip(prediction.labels + prediction.uv, want.labels + want.uv, strict=True):
            np.testing.assert_array_equal(a, b)
        pack_detections([prediction], [TRUTH.image_size(prediction.image_id)])


def test_corners_keep_the_size_of_the_maps_through_float32():
    rng = np.random.default_rng(0)
    entry = PersonEntry(image_id=1, bbox=[], score=1.0)
    for _ in range(2000):
        box = rng.uniform(0, 600, 4).round(int(rng.integers(0, 4)))
        box[2:] = np.maximum(box[2:], 1)
        width, height = np.floor(box[2:]).astype(int)
        person = (box, np.zeros((height, width), np.uint8), np.zeros((2, height, width), np.uint8))
        corners = prediction_of_people(1, [person], [entry], TRUTH, "").boxes_xyxy_px[0]
        assert corners.dtype == np.float32
        assert np.floor(corners[2:] - corners[:2]).tolist() == np.floor(box[2:]).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uv_data": "????"}, "entry 0: uv_data: its PNG cannot be read"),
        ({"uv_data": "AAAA"}, "entry 0: uv_data: its PNG cannot be read"),
        ({"uv_data": None}, "entry 0: .*missing required field uv_data"),
        ({"bbox": [0, 0, 5, 5]}, r"asks for uv_shape \[3, 5, 5\]"),
        ({"category_id": 7}, r"has the category ids \[7\]; expected those of truth.json"),
        ({"image_id": 99}, "image 99 is not in truth.json"),
    ],
)
def test_broken_entries_are_named(tmp_path, change, message):
    path = tmp_path / "results.json"
    write_challenge_results(path, MADE.predictions)
    entries = json.loads(path.read_text())[:1]
    entries[0] = {k: v for k, v in (entries[0] | change).items() if v is not None}
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=f"results.json: .*{message}"):
        list(read_challenge_results(path, TRUTH, Counter()))


def test_files_that_are_no_results_are_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[{")
    with pytest.raises(InputError, match="expected a JSON file of 2 bytes, .* cut off"):
        list(read_challenge_results(path, TRUTH, Counter()))
    path.write_text("{}")
    with pytest.raises(InputError, match="expected a list of results, got a dict"):
        list(read_challenge_results(path, TRUTH, Counter()))
