from __future__ import annotations

import json

import numpy as np
import pytest

from densepose.evaluation.challenge_results import (
    corners_of_size,
    read_challenge_results,
    write_challenge_results,
)
from densepose.evaluation.detections import pack_detections
from densepose.evaluation.generated import generated_set
from densepose.evaluation.ground_truth import GroundTruth

MADE = generated_set("noisy", num_images=5)
TRUTH = GroundTruth(MADE.ground_truth, "truth.json")


def test_results_come_back_with_the_same_maps(tmp_path):
    path = tmp_path / "results.json"
    count = write_challenge_results(path, MADE.predictions)
    assert count == sum(map(len, MADE.predictions))
    wanted = {p.image_id: p for p in MADE.predictions if len(p)}
    got = list(read_challenge_results(path, TRUTH))
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
    for _ in range(2000):
        box = rng.uniform(0, 600, 4).round(int(rng.integers(0, 4)))
        box[2:] = np.maximum(box[2:], 1)
        corners = corners_of_size(box, np.floor(box[2:]))
        assert corners.dtype == np.float32
        assert np.floor(corners[2:] - corners[:2]).tolist() == np.floor(box[2:]).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uv_data": "????"}, "result 0: its uv_data can not be read"),
        ({"uv_data": "AAAA"}, "result 0: its uv_data can not be read"),
        ({"uv_data": None}, "result 0: no 'uv_data'"),
        ({"bbox": [0, 0, 5, 5]}, r"asks for uv_shape \[3, 5, 5\]"),
        ({"image_id": 99}, "image 99 is not in truth.json"),
    ],
)
def test_broken_entries_are_named(tmp_path, change, message):
    path = tmp_path / "results.json"
    write_challenge_results(path, MADE.predictions)
    entries = json.loads(path.read_text())[:1]
    entries[0] = {k: v for k, v in (entries[0] | change).items() if v is not None}
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=f"results.json: .*{message}"):
        list(read_challenge_results(path, TRUTH))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[{")
    with pytest.raises(ValueError, match="not a JSON file"):
        list(read_challenge_results(path, TRUTH))
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected a list of results, got a dict"):
        list(read_challenge_results(path, TRUTH))
