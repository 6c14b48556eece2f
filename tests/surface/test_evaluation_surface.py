"""The surface evaluation asks: dispatch, background, the template end to end."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.evaluation_surface import EvaluationSurface, load_evaluation_surface
from densepose.surface.geodesics import cached_geodesics
from tests.support.shapes import two_part_atlas


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSurface:
    atlas = two_part_atlas()
    distances = cached_geodesics(atlas.mesh, tmp_path_factory.mktemp("cache"))
    return EvaluationSurface("flat", atlas, distances)


def test_distances_between_chart_positions(flat):
    # Lower left corner of part 1 and upper right corner of part 2 (which is drawn turned).
    vertex = flat.nearest_vertex([1, 2], [[0.1, 0.1], [0.1, 0.9]])
    assert flat.distance_m(vertex[:1], vertex[1:]) == pytest.approx(5**0.5, rel=1e-3)


def test_background_is_infinitely_far(flat):
    vertex = flat.nearest_vertex([1, 0, 0], np.full((3, 2), 0.5))
    assert vertex[1:].tolist() == [-1, -1]
    assert np.isinf(flat.distance_m(vertex, vertex)).tolist() == [False, True, True]
    assert flat.distance_m(np.zeros(0, int), np.zeros(0, int)).shape == (0,)


def test_other_wrong_vertices_are_not_taken_for_background(flat):
    with pytest.raises(ValueError, match="vertex -2 is out of range"):
        flat.distance_m([-2], [0])


def test_unknown_surfaces_and_a_missing_folder_are_refused():
    with pytest.raises(InputError, match="unknown surface 'smpl'; expected one of template, smpl_"):
        load_evaluation_surface("smpl")
    with pytest.raises(InputError, match="'smpl_27554' needs data_dir"):
        load_evaluation_surface("smpl_27554")


@pytest.mark.slow
def test_the_template_from_name_to_distance():
    """Computes all distances on first use (half a minute), then reads them from the cache."""
    surface = load_evaluation_surface("template")
    rng = np.random.default_rng(0)
    part, uv = rng.integers(1, 25, (3, 4000)), rng.random((3, 4000, 2))
    a, b, c = (surface.nearest_vertex(p, x) for p, x in zip(part, uv, strict=True))
    ab, bc, ac = surface.distance_m(a, b), surface.distance_m(b, c), surface.distance_m(a, c)
    assert np.isfinite(ab).all() and ab.max() < 3
    assert (ac <= ab + bc + 1e-4).all()
    np.testing.assert_array_equal(ab, surface.distance_m(b, a))
