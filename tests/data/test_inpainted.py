from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from densepose.data.inpainted import (
    MARKER,
    InpaintedImage,
    image_path,
    missing_images,
    open_folder,
    read_inpainted,
    read_marker,
    write_inpainted,
)
from densepose.errors import InputError


def random_image(image_id: int = 7, sizes=((5, 3), (2, 8)), seed: int = 0) -> InpaintedImage:
    rng = np.random.default_rng(seed)
    return InpaintedImage(
        image_id=image_id,
        annotation_ids=np.arange(11, 11 + len(sizes)),
        boxes_xyxy_px=rng.uniform(0, 50, (len(sizes), 4)).astype(np.float32),
        part=tuple(rng.integers(0, 25, size).astype(np.uint8) for size in sizes),
        uv=tuple(rng.integers(0, 256, (2, *size)).astype(np.uint8) for size in sizes),
        confidence=tuple(rng.integers(0, 256, size).astype(np.uint8) for size in sizes),
    )


def assert_same(a: InpaintedImage, b: InpaintedImage) -> None:
    assert a.image_id == b.image_id
    assert np.array_equal(a.annotation_ids, b.annotation_ids)
    assert np.array_equal(a.boxes_xyxy_px, b.boxes_xyxy_px)
    for name in ("part", "uv", "confidence"):
        pairs = zip(getattr(a, name), getattr(b, name), strict=True)
        assert all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("sizes", [((5, 3), (2, 8)), ((1, 1),), ()], ids=["two", "one", "nobody"])
def test_what_is_written_is_read(tmp_path: Path, sizes):
    image = random_image(sizes=sizes)
    path = write_inpainted(tmp_path, image)
    assert path == image_path(tmp_path, 7)
    assert_same(read_inpainted(path), image)
    assert [p.name for p in tmp_path.iterdir()] == ["000000000007.npz"]  # nothing half-written


def test_the_same_image_gives_the_same_bytes(tmp_path: Path):
    first = write_inpainted(tmp_path, random_image()).read_bytes()
    assert write_inpainted(tmp_path, random_image()).read_bytes() == first


def test_maps_of_another_type_or_shape_are_refused(tmp_path: Path):
    image = random_image()
    wrong = replace(image, uv=(image.uv[0][:, :2], image.uv[1]))
    with pytest.raises(ValueError, match=r"image 7, person 0: part \(h, w\)"):
        write_inpainted(tmp_path, wrong)
    with pytest.raises(ValueError, match="must be uint8"):
        write_inpainted(tmp_path, replace(image, part=tuple(p.astype(int) for p in image.part)))
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_named(tmp_path: Path):
    path = write_inpainted(tmp_path, random_image())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"000000000007.npz: damaged .* inpaint again"):
        read_inpainted(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": np.int64(9)}, "schema 9, this version reads schema 1"),
        ({"part": None}, "key 'part' is missing"),
        ({"confidence": np.zeros(3, np.uint8)}, "do not fit together"),
        ({"map_sizes": np.zeros((2, 2), np.int64)}, "do not fit together"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, change, message: str):
    path = write_inpainted(tmp_path, random_image())
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=message):
        read_inpainted(path)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path):
    path = image_path(tmp_path, 1)

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    np.savez(path, schema=np.array([Evil()], object))
    with pytest.raises(InputError, match="damaged"):
        read_inpainted(path)
    assert not (tmp_path / "ran").exists()


def test_a_folder_goes_on_with_the_same_settings_only(tmp_path: Path):
    folder = open_folder(tmp_path / "new", {"method": "nearest", "sizes": (1, 2)})
    assert open_folder(folder, {"method": "nearest", "sizes": (1, 2)}) == folder
    assert read_marker(folder)["sizes"] == [1, 2]
    with pytest.raises(InputError, match="was made with method='nearest', now method='smooth'"):
        open_folder(folder, {"method": "smooth", "sizes": (1, 2)})


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds 'thesis.txt'"):
        open_folder(tmp_path, {})
    with pytest.raises(InputError, match=f"{MARKER} is missing"):
        read_marker(tmp_path)


def test_a_folder_of_another_schema_is_refused(tmp_path: Path):
    (tmp_path / MARKER).write_text(json.dumps({"schema": 0}))
    with pytest.raises(InputError, match="schema 0, this version reads schema 1"):
        read_marker(tmp_path)


def test_missing_images_are_those_without_a_file(tmp_path: Path):
    write_inpainted(tmp_path, random_image(3))
    assert missing_images(tmp_path, [1, 3, 5]) == [1, 5]
