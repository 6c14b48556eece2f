from __future__ import annotations

import zipfile

import numpy as np
import pytest

from densepose.evaluation.generated import generated_set
from densepose.evaluation.prediction_file import (
    MARKER,
    PredictionWriter,
    prediction_paths,
    read_prediction,
    read_predictions,
)
from densepose.structures.prediction import ImagePrediction


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
    with pytest.raises(FileNotFoundError, match="is no folder of predictions"):
        prediction_paths(tmp_path)


def test_what_is_written_is_read_back_in_the_order_of_images(tmp_path):
    made = [*generated_set("noisy", num_images=6).predictions, nobody(12)]
    writer = PredictionWriter(tmp_path / "p")
    for prediction in reversed(made):
        writer.write(prediction)
    got = list(read_predictions(tmp_path / "p"))
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
    (tmp_path / f"{3:012d}.npz.77.densepose-part").write_text("half")
    assert writer.clear() == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [MARKER, "notes.txt"]


def test_folders_of_others_are_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_text("x")
    with pytest.raises(FileExistsError, match="holiday.jpg"):
        PredictionWriter(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{MARKER} is missing"):
        prediction_paths(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        prediction_paths(tmp_path / "absent")


def test_damaged_files_are_named(tmp_path):
    path = PredictionWriter(tmp_path).write(generated_set("easy", num_images=1).predictions[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{path.name}: damaged .*delete it and predict again"):
        read_prediction(path)
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 255
    path.write_bytes(bytes(spoiled))
    with pytest.raises(ValueError, match=f"{path.name}: damaged"):
        read_prediction(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{path.name}: damaged"):
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
    with pytest.raises(ValueError, match=f"{path.name}: .*{message}"):
        read_prediction(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = PredictionWriter(tmp_path).write(nobody())
    with zipfile.ZipFile(path, "a") as archive, archive.open("evil.npy", "w") as stream:
        np.lib.format.write_array(stream, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="damaged"):
        read_prediction(path)
