from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densepose.data.coco import load_densepose_coco
from densepose.data.inpainted import image_path, read_inpainted, write_inpainted
from densepose.inpainting.cells import Guess, to_maps
from densepose.inpainting.run import (
    BASELINES,
    has_annotated_people,
    inpaint_dataset,
    inpaint_image,
)
from densepose.structures.body_parts import COARSE_OF_PART
from tests.support.inpainting_scenes import scene


@pytest.fixture(scope="module")
def records(tiny_coco) -> list[dict]:
    return load_densepose_coco(*tiny_coco, "tiny")


@pytest.mark.parametrize("name", BASELINES)
def test_points_are_exact_and_pixels_stay_in_their_masks(records, name: str):
    record = next(r for r in records if has_annotated_people(r))
    image = inpaint_image(record, BASELINES[name], "RGB")
    person = record["annotations"][0]
    assert image.annotation_ids[0] == person["id"]
    rows, columns = image.part[0].shape
    found = {}
    for x, y, part, u, v in zip(
        *(person[k] for k in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")), strict=True
    ):
        cell = int(y / 256 * rows), int(x / 256 * columns)
        found.setdefault(cell, []).append((part, round(u * 255), round(v * 255)))
    for (row, column), answers in found.items():
        got = (image.part[0][row, column], *image.uv[0][:, row, column])
        assert got in answers  # also where the cell is in no region
    assert image.confidence[0][image.part[0] == 0].max(initial=0) == 0
    parts = set(np.unique(image.part[0])) - {0}
    annotated = {COARSE_OF_PART[int(part)] for part in person["dp_I"]}
    assert {COARSE_OF_PART[part] for part in parts} == annotated


def test_a_stopped_run_goes_on_and_a_finished_one_does_nothing(records, tmp_path: Path):
    calls = []

    def counting(picture):
        calls.append(picture.pixels.shape)
        return BASELINES["nearest"](picture)

    def stopping(picture):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return counting(picture)

    options = {"settings": {"method": "counting"}, "image_format": "RGB"}
    with pytest.raises(KeyboardInterrupt):
        inpaint_dataset(records, tmp_path / "out", stopping, **options)
    finished = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.npz")}
    assert len(finished) == 2
    done = inpaint_dataset(records, tmp_path / "out", counting, **options)
    annotated = sum(map(has_annotated_people, records))
    assert (done.skipped, done.images) == (2, annotated - 2)
    assert len(calls) == annotated
    assert {path: path.read_bytes() for path in finished} == finished
    again = inpaint_dataset(records, tmp_path / "out", counting, **options)
    assert (again.images, again.skipped) == (0, annotated)
    assert set(calls) == {(3, 120, 160)}


def test_an_image_that_another_process_did_meanwhile_is_left_to_it(records, tmp_path: Path):
    others = iter(records)
    done_here = []

    def method(picture):
        done_here.append(picture.image_id)
        for record in others:  # the other process does one image for each of this one's
            if record["image_id"] not in done_here and has_annotated_people(record):
                write_inpainted(tmp_path, inpaint_image(record, BASELINES["nearest"], "RGB"))
                break
        return BASELINES["nearest"](picture)

    done = inpaint_dataset(records, tmp_path, method, {}, image_format="RGB")
    annotated = sum(map(has_annotated_people, records))
    assert done.images == len(done_here) < annotated
    assert done.skipped == annotated - done.images > 0
    assert len(list(tmp_path.glob("*.npz"))) == annotated


def test_people_without_masks_are_counted_and_left_out(records, tmp_path: Path):
    record = next(r for r in records if len(r["annotations"]) == 2)
    with_one = record | {"annotations": [dict(p) for p in record["annotations"]]}
    lacking = with_one["annotations"][0]
    assert lacking.pop("dp_masks")
    done = inpaint_dataset(
        [with_one], tmp_path / "out", BASELINES["nearest"], {}, image_format="RGB"
    )
    others = sum(bool(p.get("dp_x")) for p in with_one["annotations"][1:])
    assert (done.people, done.without_masks) == (others, 1)
    if others:
        image = read_inpainted(image_path(done.folder, record["image_id"]))
        assert lacking["id"] not in image.annotation_ids


def test_people_with_points_on_vertices_alone_are_no_work(records):
    person = {"id": 1, "bbox": [0, 0, 9, 9], "dp_x": [5.0], "dp_y": [5.0], "dp_vertex": [3]}
    assert not has_annotated_people({**records[0], "annotations": [person]})
    assert has_annotated_people(next(r for r in records if len(r["annotations"]) == 2))


def test_an_image_that_is_gone_is_named(records, tmp_path: Path):
    record = {**records[0], "file_name": str(tmp_path / "gone.jpg")}
    with pytest.raises(ValueError, match="gone.jpg"):
        inpaint_image(record, BASELINES["nearest"], "RGB")


def test_maps_by_hand():
    _, cells, _ = scene()
    count = len(cells.person)
    guess = Guess(np.full(count, 4), np.tile([0.2, 1.0], (count, 1)), np.full(count, 0.6))
    unknown = replace(guess, part=np.where(cells.index == 50, 0, 4))
    (maps,) = to_maps(cells, unknown)
    part, uv, confidence = maps[0], maps[1:3], maps[3]
    assert part.shape == (64, 48)
    assert not part[0].any()
    assert (part[1, 2], uv[:, 1, 2].tolist(), confidence[1, 2]) == (0, [0, 0], 0)
    assert (part[1, 3], uv[:, 1, 3].tolist(), confidence[1, 3]) == (4, [51, 255], 153)
