"""No jumps where parts meet, and a rendered person that is dressed in its own texture."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.surface.charts import ChartAtlas, chart_grid, load_template_atlas
from densepose.synthetic.picture import PictureSettings, draw_picture
from densepose.vis.texture import (
    SeamFiller,
    put_texture,
    sample_texture,
    spread_colors,
    take_texture,
)
from tests.support.shapes import seam_points, two_part_atlas

SIDE = 64


def seam_steps(tiles: np.ndarray, atlas: ChartAtlas, per_side: int = 4) -> np.ndarray:
    """How much the colour jumps where charts meet.

    Args:
        tiles: (24, N, N, 4) uint8.
        atlas: charts of the texture.
        per_side: points on each side of a triangle.

    Returns:
        (P,) mean absolute difference of red, green and blue, 0 to 255, at the P points of the seams
        that are known on both sides.
    """
    one, other = (sample_texture(tiles, *side) for side in seam_points(atlas, per_side))
    known = (one[:, 3] >= 127.5) & (other[:, 3] >= 127.5)
    return np.abs(one - other)[known, :3].mean(axis=1)


@pytest.fixture(scope="module")
def fill() -> SeamFiller:
    return SeamFiller(load_template_atlas(), SIDE)


@pytest.fixture(scope="module")
def smooth_tiles() -> np.ndarray:
    """A colour for each place of the template, known inside the charts only."""
    atlas = load_template_atlas()
    grid = chart_grid(atlas, SIDE - 1)
    places = np.einsum(
        "pijk,pijkd->pijd", grid.barycentric, atlas.mesh.vertices_m[atlas.mesh.faces[grid.face]]
    )
    tiles = np.zeros((24, SIDE, SIDE, 4), np.uint8)
    inside = grid.inside[1:].transpose(0, 2, 1)[:, ::-1]
    color = np.rint(127.5 + 120 * np.sin(20 * places + [0, 1, 2]))
    tiles[inside, :3] = color[1:].transpose(0, 2, 1, 3)[:, ::-1][inside]
    tiles[inside, 3] = 255
    return tiles


def test_filling_from_the_neighbour_closes_the_seams(smooth_tiles, fill):
    atlas = load_template_atlas()
    repeated = spread_colors(smooth_tiles, 3)
    filled = fill(repeated)
    black = np.where(smooth_tiles[..., 3:] > 0, smooth_tiles, np.uint8(0))
    black[..., 3] = 255
    steps = [seam_steps(tiles, atlas).mean() for tiles in (black, repeated, filled)]
    assert steps[0] > 5 * steps[1] and steps[1] > 2 * steps[2]
    assert steps[2] < 2  # of 255


def test_what_is_inside_a_chart_is_not_touched(smooth_tiles, fill):
    filled = fill(smooth_tiles)
    inside = smooth_tiles[..., 3] > 0
    np.testing.assert_array_equal(filled[inside], smooth_tiles[inside])
    assert (filled[..., 3] > 0).sum() > inside.sum()


def test_the_rim_shows_the_neighbour():
    # Part 1 red, part 2 green; the seam is at u = 0.9 of part 1: column 9 of 0 to 10.
    tiles = np.zeros((24, 11, 11, 4), np.uint8)
    tiles[0, 1:10, 1:10] = (200, 0, 0, 255)
    tiles[1, 1:10, 1:10] = (0, 200, 0, 255)
    filled = SeamFiller(two_part_atlas(), 11, reach=0.15)(tiles)
    assert (filled[0, 2:9, 10] == (0, 200, 0, 255)).all()
    assert (filled[1, 10, 2:9] == (200, 0, 0, 255)).all()
    assert (filled[0, 2:9, 0] == 0).all()  # here the body ends
    unknown = tiles.copy()
    unknown[1] = 0
    np.testing.assert_array_equal(
        SeamFiller(two_part_atlas(), 11, reach=0.15)(unknown)[0, 2:9, 10], 0
    )


def test_the_jump_by_hand():
    tiles = np.full((24, 11, 11, 4), 255, np.uint8)
    tiles[0, ..., :3], tiles[1, ..., :3] = (30, 60, 90), (60, 60, 30)
    np.testing.assert_allclose(seam_steps(tiles, two_part_atlas()), 30)  # (30 + 0 + 60) / 3
    tiles[1, ..., 3] = 0
    assert len(seam_steps(tiles, two_part_atlas())) == 0


def test_a_filler_is_for_one_size_of_tiles(smooth_tiles):
    with pytest.raises(ValueError, match="made for tiles of 11 px, got 64 px"):
        SeamFiller(two_part_atlas(), 11)(smooth_tiles)


def test_a_rendered_person_dressed_in_its_own_texture_looks_the_same():
    settings = PictureSettings(0, 320, (1, 1), 0.0, None)
    image, truth, _, _ = draw_picture(settings, "val", 0)
    iuv = truth.iuv_image()
    body = iuv[..., 0] > 0
    assert body.sum() > 2000
    tiles = SeamFiller(load_template_atlas())(take_texture(image, iuv))
    dressed = put_texture(image, iuv, tiles)
    error = np.abs(dressed.astype(int) - image)[body].mean(axis=1)
    # Against the colours' own spread over the person; codes of 1 / 255 and texels blur a little.
    assert error.mean() < 0.1 * image[body].std() and np.percentile(error, 90) < 8
    np.testing.assert_array_equal(dressed[~body], image[~body])
    # Filling parts that are partly seen changes nothing that is seen.
    raw, full = (take_texture(image, iuv, reach=reach) for reach in (0, 1))
    seen = raw[..., 3] > 0
    np.testing.assert_array_equal(full[seen], raw[seen])
