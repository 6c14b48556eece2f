"""The left-right maps: of the template, and of files in the official form."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import scipy.io

from densepose.errors import InputError
from densepose.structures.body_parts import COARSE_OF_PART, flipped_coarse, flipped_parts
from densepose.surface.body import load_template
from densepose.surface.charts import load_template_atlas
from densepose.surface.official.charts import load_uv_symmetry
from densepose.surface.symmetry import derive_symmetry, template_symmetry

# As printed in detectron2's DensePose and used by its released models.
FINE = [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23]
COARSE = [0, 1, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 14]


def some_points(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(1, 25, count), rng.random((count, 2))


def write_tables(path, size: int = 256, parts: int = 24, **changes) -> dict[str, np.ndarray]:
    """A file like UV_symmetry_transforms.mat, with random tables of float64."""
    rng = np.random.default_rng(1)
    content = {}
    for key in ("U_transforms", "V_transforms"):
        content[key] = np.empty((1, parts), object)
        for part in range(parts):
            content[key][0, part] = rng.random((size, size))
    content |= changes
    scipy.io.savemat(path, {key: cells for key, cells in content.items() if cells is not None})
    return content


def test_part_maps_are_the_known_ones():
    assert flipped_parts().tolist() == FINE
    assert flipped_coarse().tolist() == COARSE
    assert template_symmetry().part.tolist() == FINE
    assert template_symmetry().coarse.tolist() == COARSE


def test_maps_are_their_own_inverses_and_agree():
    fine, coarse = flipped_parts(), flipped_coarse()
    np.testing.assert_array_equal(fine[fine], np.arange(25))
    np.testing.assert_array_equal(coarse[coarse], np.arange(15))
    np.testing.assert_array_equal(COARSE_OF_PART[fine], coarse[COARSE_OF_PART])


def test_on_the_template_u_is_turned_and_v_stays():
    part, uv = some_points()
    got = template_symmetry().flip_uv(part, uv)
    np.testing.assert_allclose(got, np.stack([1 - uv[:, 0], uv[:, 1]], axis=1))


def test_flipping_twice_changes_nothing():
    symmetry = template_symmetry()
    part, uv = some_points()
    once = symmetry.flip_uv(part, uv)
    np.testing.assert_allclose(symmetry.flip_uv(symmetry.part[part], once), uv)


def test_flipped_points_lie_at_the_mirrored_place_of_the_body():
    atlas, symmetry = load_template_atlas(), template_symmetry()
    part, uv = some_points(2000)
    here = atlas.to_points(part, uv)
    there = atlas.to_points(symmetry.part[part], symmetry.flip_uv(part, uv))
    gap = np.linalg.norm(here * [-1, 1, 1] - there, axis=1)
    assert np.percentile(gap, 99) < 1e-3 and gap.max() < 0.01


def test_a_float32_step_of_255_stays_one():
    step = np.arange(256, dtype=np.float32)[:, None].repeat(2, axis=1) / np.float32(255)
    got = template_symmetry().flip_uv(np.ones(256, int), step)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(np.rint(got[:, 0] * 255), np.arange(256)[::-1])


def test_background_and_nothing_pass_through():
    symmetry = template_symmetry()
    assert symmetry.flip_uv([0], [[0.2, 0.3]]).tolist() == [[0.2, 0.3]]
    assert symmetry.flip_uv(np.zeros(0, int), np.zeros((0, 2))).shape == (0, 2)


def test_wrong_points_are_refused():
    with pytest.raises(ValueError, match="parts must be 0 to 24, got 25 to 25"):
        template_symmetry().flip_uv([25], [[0, 0]])
    with pytest.raises(ValueError, match=r"got \(1,\) and \(1, 3\)"):
        template_symmetry().flip_uv([1], [[0, 0, 0]])


def test_charts_that_are_no_mirror_images_are_refused():
    atlas, mirror = load_template_atlas(), load_template().mirror_vertex
    uv = atlas.uv.copy()
    uv[atlas.uv_part == 4] = uv[atlas.uv_part == 4] ** 2
    with pytest.raises(InputError, match="charts 3 and 4 are not mirror images"):
        derive_symmetry(dataclasses.replace(atlas, uv=uv), mirror)
    with pytest.raises(InputError, match="has no mirror image in part"):
        derive_symmetry(atlas, np.roll(mirror, 1))


# Files in the official form ------------------------------------------------------------------


def naive_flip(content: dict, part: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """One point after another, as detectron2's DensePose reads the tables (in float32)."""
    out = uv.astype(np.float32)
    for k, (number, (u, v)) in enumerate(zip(part, uv.astype(np.float32), strict=True)):
        row, column = int(v * np.float32(255)), int(u * np.float32(255))
        out[k, 0] = content["U_transforms"][0, number - 1][row, column]
        out[k, 1] = content["V_transforms"][0, number - 1][row, column]
    return out


def test_tables_are_read_as_a_loop_would(tmp_path):
    content = write_tables(tmp_path / "UV_symmetry_transforms.mat")
    symmetry = load_uv_symmetry(tmp_path / "UV_symmetry_transforms.mat")
    part, uv = some_points()
    uv[:50] = np.rint(uv[:50] * 255) / 255
    uv[0] = 1
    np.testing.assert_array_equal(symmetry.flip_uv(part, uv), naive_flip(content, part, uv))
    assert symmetry.part.tolist() == FINE and symmetry.coarse.tolist() == COARSE
    assert symmetry.flip_uv([0], [[0.5, 0.25]]).tolist() == [[0.5, 0.25]]


def test_tables_refuse_coordinates_outside_the_square(tmp_path):
    write_tables(tmp_path / "uv.mat")
    with pytest.raises(ValueError, match=r"u and v must lie in \[0, 1\]"):
        load_uv_symmetry(tmp_path / "uv.mat").flip_uv([1], [[0.5, 1.5]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"V_transforms": None}, "no 'V_transforms'; it holds U_transforms"),
        ({"parts": 23}, r"U_transforms must be a \(1, 24\) cell array, got \(1, 23\)"),
        ({"size": 255}, r"at least 256 x 256, got \[\(255, 255\)\]"),
        ({"U_transforms": np.zeros((1, 24))}, r"must be a \(1, 24\) cell array, got \(1, 24\) fl"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, changes, message):
    write_tables(tmp_path / "uv.mat", **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_uv_symmetry(tmp_path / "uv.mat")
    assert str(tmp_path / "uv.mat") in str(caught.value)


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="densepose_uv_data"):
        load_uv_symmetry(tmp_path / "uv.mat")
    (tmp_path / "uv.mat").write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(InputError, match="this is a web page"):
        load_uv_symmetry(tmp_path / "uv.mat")
    write_tables(tmp_path / "whole.mat")
    (tmp_path / "uv.mat").write_bytes((tmp_path / "whole.mat").read_bytes()[:50_000])
    with pytest.raises(InputError, match="not a complete MATLAB file"):
        load_uv_symmetry(tmp_path / "uv.mat")


def test_values_outside_the_square_are_counted_in_a_warning(tmp_path, caplog):
    table = np.empty((1, 24), object)
    for part in range(24):
        table[0, part] = np.full((256, 256), 2.0 if part == 6 else 0.5)
    write_tables(tmp_path / "uv.mat", U_transforms=table)
    with caplog.at_level(logging.WARNING):
        load_uv_symmetry(tmp_path / "uv.mat")
    assert "65536 values of U_transforms lie outside [0, 1], in parts [7]" in caplog.text
