import numpy as np

from densepose.vis.colors import PART_COLORS, chart_colors, part_colors, value_colors

# Right part -> left part.
PAIRS = [
    (3, 4),
    (6, 5),
    *((k, k + 1) for k in (7, 9, 11, 13)),
    *((k + 1, k) for k in (15, 17, 19, 21)),
]
PAIRS.append((23, 24))


def luminance(color: np.ndarray) -> float:
    return float(color.astype(float) @ (0.2126, 0.7152, 0.0722))


def test_no_two_parts_look_alike():
    colors = PART_COLORS.astype(int)
    distance = np.abs(colors[:, None] - colors[None]).sum(axis=2)
    assert distance[~np.eye(25, dtype=bool)].min() >= 24
    assert colors[0].tolist() == [0, 0, 0] and colors[1:].sum(axis=1).min() > 150


def test_the_left_part_of_a_pair_is_the_lighter_one_of_the_same_hue():
    for right, left in PAIRS:
        assert luminance(PART_COLORS[left]) > luminance(PART_COLORS[right]) + 20
        order = [np.argsort(PART_COLORS[part]) for part in (right, left)]
        assert order[0][0] == order[1][0] or order[0][2] == order[1][2]


def test_lookups_keep_the_shape():
    part = np.array([[0, 1, 24]])
    np.testing.assert_array_equal(part_colors(part), PART_COLORS[[[0, 1, 24]]])
    assert value_colors(np.array([[0, 128, 255]])).shape == (1, 3, 3)


def test_values_grow_lighter():
    light = [luminance(color) for color in value_colors(np.arange(0, 256, 15))]
    assert np.all(np.diff(light) > 0)


def test_a_chart_is_its_colour_at_the_origin_whiter_with_u_and_darker_with_v():
    part = np.array([2, 2, 2, 0])
    plain, white, dark, nothing = chart_colors(
        part, np.array([[0, 0], [255, 0], [0, 255], [255, 0]])
    )
    np.testing.assert_array_equal(plain, PART_COLORS[2])
    assert white.min() > plain.min() and dark.max() < plain.max() and nothing.sum() == 0
