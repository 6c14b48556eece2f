"""Taking and putting textures: slow twins, values by hand, the way there and back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from densepose.errors import InputError
from densepose.vis.texture import (
    join_tiles,
    put_texture,
    read_texture,
    sample_texture,
    split_picture,
    spread_colors,
    take_texture,
    write_texture,
)


def random_tiles(side: int = 12, seed: int = 0) -> np.ndarray:
    """Opaque ones and some that are partly unknown."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (24, side, side, 4)).astype(np.uint8)
    tiles[..., 3] = np.where(rng.random((24, side, side)) < 0.7, 255, 0)
    tiles[:12, ..., 3] = 255
    return tiles


def random_scene(size: tuple[int, int] = (9, 11), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise as the photo; patches of parts whose u and v change slowly, and one jump."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    row, column = np.mgrid[: size[0], : size[1]]
    iuv = np.stack([np.zeros(size), 9 * column + 3 * row, 255 - 7 * row - 2 * column], axis=-1)
    iuv[1:7, 2:9, 0] = 1 + (column[1:7, 2:9] > 5)
    iuv[5:, 1:4, 0] = 5
    iuv[7:, 2, 1] = 250
    iuv[iuv[..., 0] == 0] = 0
    return image, iuv.astype(np.uint8)


def naive_take(image: np.ndarray, iuv: np.ndarray, side: int, max_jump: float) -> np.ndarray:
    """The definition: pixels count for their nearest texel, triangles for those they cover."""
    found: dict[tuple[int, int, int], list[np.ndarray]] = {}

    def texel(pixel):
        _, u, v = iuv[pixel] / 255
        return np.array([u, 1 - v]) * (side - 1)

    def add(part, x, y, color):
        found.setdefault((int(part) - 1, int(y), int(x)), []).append(color)

    def triangle(*pixels):
        if len({int(iuv[p][0]) for p in pixels}) > 1 or iuv[pixels[0]][0] == 0:
            return
        corner = np.array([texel(p) for p in pixels])
        system = np.vstack([corner.T, np.ones(3)])
        if np.ptp(corner, axis=0).max() > max_jump * (side - 1) or np.linalg.det(system) == 0:
            return
        for y in range(side):
            for x in range(side):
                weight = np.linalg.solve(system, [x, y, 1])
                if weight.min() >= -1e-6:
                    colors = np.array([image[p] for p in pixels], float)
                    add(iuv[pixels[0]][0], x, y, weight @ colors)

    height, width = iuv.shape[:2]
    for r in range(height):
        for c in range(width):
            if iuv[r, c, 0]:
                add(iuv[r, c, 0], *np.floor(texel((r, c)) + 0.5), image[r, c].astype(float))
            if r + 1 < height and c + 1 < width:
                a, b, d, e = (r, c), (r, c + 1), (r + 1, c), (r + 1, c + 1)
                if iuv[b][0] == iuv[d][0] != 0:
                    triangle(a, b, d)
                    triangle(b, e, d)
                else:
                    triangle(a, b, e)
                    triangle(a, e, d)
    tiles = np.zeros((24, side, side, 4), np.uint8)
    for place, colors in found.items():
        tiles[place] = [*np.floor(np.mean(colors, axis=0) + 0.5), 255]
    return tiles


@pytest.mark.parametrize("side", [7, 23])
@pytest.mark.parametrize("max_jump", [0.05, 0.3])
def test_taking_is_what_its_definition_says(side, max_jump):
    image, iuv = random_scene()
    taken = take_texture(image, iuv, tile_px=side, max_jump=max_jump, reach=0)
    expected = naive_take(image, iuv, side, max_jump)
    np.testing.assert_array_equal(taken[..., 3], expected[..., 3])
    assert np.abs(taken.astype(int) - expected).max() <= 1  # sums in float32 may round otherwise
    assert (taken[..., 3] > 0).sum() > 5


def naive_put(image: np.ndarray, iuv: np.ndarray, tiles: np.ndarray, opacity: float) -> np.ndarray:
    out, last = image.astype(float), tiles.shape[1] - 1
    for r, c in np.argwhere(iuv[..., 0] > 0):
        part, u, v = iuv[r, c]
        x, y = u / 255 * last, (1 - v / 255) * last
        x0, y0 = min(int(x), last - 1), min(int(y), last - 1)
        color, alpha = np.zeros(3), 0.0
        for yy, xx in ((y0, x0), (y0, x0 + 1), (y0 + 1, x0), (y0 + 1, x0 + 1)):
            weight = (1 - abs(x - xx)) * (1 - abs(y - yy)) * tiles[part - 1, yy, xx, 3] / 255
            color += weight * tiles[part - 1, yy, xx, :3]
            alpha += weight
        color = color / alpha if alpha else color
        out[r, c] += opacity * alpha * (color - out[r, c])
    return out


@pytest.mark.parametrize("opacity", [1.0, 0.3])
def test_putting_is_what_its_definition_says(opacity):
    image, iuv = random_scene()
    tiles = random_tiles()
    put = put_texture(image, iuv, tiles, opacity=opacity)
    assert np.abs(put - naive_put(image, iuv, tiles, opacity)).max() <= 0.51
    np.testing.assert_array_equal(put[iuv[..., 0] == 0], image[iuv[..., 0] == 0])


def test_nearest_takes_the_texel_that_detectron2_takes():
    # Its rule: row int((1 - v) (N - 1)), column int(u (N - 1)), colours cut off to whole numbers.
    image, iuv = random_scene()
    tiles = random_tiles(side=200)
    put = put_texture(image, iuv, tiles, sampling="nearest", opacity=0.4)
    for r, c in np.argwhere(iuv[..., 0] > 0):
        part, (u, v) = iuv[r, c, 0], iuv[r, c, 1:].astype(np.float32) / np.float32(255)
        texel = tiles[part - 1, int((1 - v) * 199), int(u * 199)]
        share = texel[3] / 255 * 0.4
        expected = (image[r, c] * (1 - share) + texel[:3] * share).astype(np.uint8)
        np.testing.assert_array_equal(put[r, c], expected)


def test_shading_by_hand():
    image = np.full((1, 2, 3), 50, np.uint8)
    image[0, 1] = 150  # mean of the people 100: factors 0.5 and 1.5
    iuv = np.full((1, 2, 3), 1, np.uint8)
    tiles = np.full((24, 2, 2, 4), 255, np.uint8)
    tiles[..., :3] = 80
    for shading, expected in ((0, [80, 80]), (1, [40, 120]), (0.5, [57, 98])):
        assert put_texture(image, iuv, tiles, shading=shading)[0, :, 0].tolist() == expected


def test_u_goes_to_the_right_of_a_tile_and_v_up():
    tiles = np.full((24, 3, 3, 4), 255, np.uint8)
    tiles[3, ..., :3] = np.arange(9).reshape(3, 3, 1) * 10
    corner = sample_texture(tiles, [4] * 4, [[0, 1], [1, 1], [0, 0], [0.75, 0.5]])
    assert corner[:, 0].tolist() == [0, 20, 60, 45]


def test_part_p_has_its_tile_column_by_column():
    tiles = np.zeros((24, 2, 2, 4), np.uint8)
    tiles[...] = np.arange(1, 25)[:, None, None, None]
    picture = join_tiles(tiles)
    assert picture.shape == (12, 8, 4)
    assert picture[::2, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]  # down the first column of tiles
    assert picture[0, ::2, 0].tolist() == [1, 7, 13, 19]
    np.testing.assert_array_equal(split_picture(picture), tiles)


def texture_iuv(part: int, tile_px: int) -> np.ndarray:
    """IUV image of one tile: (N, N, 3) uint8, what each texel of a part is."""
    steps = np.rint(np.linspace(0, 255, tile_px)).astype(np.uint8)
    u, v = np.meshgrid(steps, steps[::-1])
    return np.stack([np.full_like(u, part), u, v], axis=-1)


def test_taking_from_the_picture_of_a_tile_gives_the_tile_back():
    # A smooth texture with as many steps as codes; the photo is the tile, its IUV what it shows.
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    photo = np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC))
    iuv = texture_iuv(9, 256)
    taken = take_texture(photo, iuv, tile_px=256, reach=0)
    np.testing.assert_array_equal(taken[8, ..., :3], photo)
    np.testing.assert_array_equal(put_texture(np.zeros_like(photo), iuv, taken), photo)
    assert not np.delete(taken, 8, axis=0).any()


def test_unknown_texels_get_the_nearest_colour_within_reach():
    tiles = np.zeros((24, 9, 9, 4), np.uint8)
    tiles[2, 4, 1] = (10, 20, 30, 255)
    tiles[2, 4, 7] = (40, 50, 60, 255)
    near = spread_colors(tiles, 1)
    assert (near[2, ..., 3] > 0).sum() == 10  # each with its four neighbours
    full = spread_colors(tiles, 100)
    assert (full[2, :, :4, 0] == 10).all() and (full[2, :, 5:, 0] == 40).all()
    assert not np.delete(full, 2, axis=0).any()
    assert tiles[2, ..., 3].astype(bool).sum() == 2  # the input is not changed


def test_nobody_and_nothing_known():
    image = np.full((4, 5, 3), 7, np.uint8)
    nobody = np.zeros_like(image)
    assert not take_texture(image, nobody, tile_px=6).any()
    np.testing.assert_array_equal(put_texture(image, nobody, random_tiles(), shading=1), image)
    empty = np.zeros((24, 5, 5, 4), np.uint8)
    np.testing.assert_array_equal(put_texture(image, nobody + 3, empty), image)
    assert take_texture(image[:0], nobody[:0], tile_px=6).shape == (24, 6, 6, 4)


def test_a_texture_is_read_as_it_was_written(tmp_path):
    tiles = random_tiles()
    write_texture(tmp_path / "a.png", tiles)
    np.testing.assert_array_equal(read_texture(tmp_path / "a.png"), tiles)
    Image.fromarray(join_tiles(tiles[..., :3])).save(tmp_path / "rgb.png")
    rgb = read_texture(tmp_path / "rgb.png")
    np.testing.assert_array_equal(rgb[..., 3] > 0, tiles[..., :3].any(axis=-1))


def test_wrong_input_is_rejected(tmp_path):
    image, iuv = random_scene()
    tiles = random_tiles()
    with pytest.raises(InputError, match=r"same size, got 10 x 9 px and 11 x 9 px"):
        take_texture(image[:, :10], iuv)
    with pytest.raises(InputError, match="part, 0..24, got 25"):
        take_texture(image, np.maximum(iuv, 25))
    with pytest.raises(InputError, match="tile_px must be at least 2, got 1"):
        take_texture(image, iuv, tile_px=1)
    with pytest.raises(InputError, match="reach must be from 0 to 1, got 6"):
        take_texture(image, iuv, reach=6)
    with pytest.raises(InputError, match="opacity must be from 0 to 1, got 2"):
        put_texture(image, iuv, tiles, opacity=2)
    with pytest.raises(InputError, match="sampling must be one of .*, got 'cubic'"):
        put_texture(image, iuv, tiles, sampling="cubic")
    with pytest.raises(InputError, match="tiles must be RGBA uint8"):
        put_texture(image, iuv, tiles[..., :3])
    with pytest.raises(InputError, match="photo must be .* got .* float64"):
        put_texture(image / 255, iuv, tiles)
    with pytest.raises(InputError, match="parts must be 1 to 24, got 0"):
        sample_texture(tiles, [0], [[0, 0]])
    Image.fromarray(image).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo.png: a texture holds 6 x 4 .* got shape \(9, 11"):
        read_texture(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no picture")
    cut = (tmp_path / "photo.png").read_bytes()[:-30]
    (tmp_path / "cut.png").write_bytes(cut)
    for name in ("text.png", "cut.png"):
        with pytest.raises(InputError, match=f"{name}: not a readable picture .* expected a text"):
            read_texture(tmp_path / name)
