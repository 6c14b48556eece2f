"""The exact colours of each style, and what lies behind the people."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from densepose.errors import InputError
from densepose.vis.draw import draw
from densepose.vis.styles import PART_COLORS, PARULA, STYLES, VIRIDIS
from tests.support.predictions import prediction

PHOTO = np.full((4, 5, 3), (100, 150, 50), np.uint8)
# Right part -> left part.
PAIRS = [
    (3, 4),
    (6, 5),
    *((k, k + 1) for k in (7, 9, 11, 13)),
    *((k + 1, k) for k in (15, 17, 19, 21)),
    (23, 24),
]


def person(part: int, u: int = 40, v: int = 200) -> np.ndarray:
    """An IUV image of which pixel (1, 2) is a body."""
    iuv = np.zeros_like(PHOTO)
    iuv[1, 2] = part, u, v
    return iuv


@pytest.mark.parametrize(
    ("style", "part", "color", "behind"),
    [
        ("hr-viton", 1, (37, 60, 163), (0, 0, 0)),
        ("hr-viton", 24, (249, 251, 14), (0, 0, 0)),
        ("controlnet-parula", 24, (249, 251, 14), (0, 0, 0)),
        ("magicanimate", 2, (72, 31, 112), (68, 1, 84)),
        ("magicanimate", 24, (253, 231, 37), (68, 1, 84)),
        ("controlnet-viridis", 23, (226, 228, 24), (68, 1, 84)),
        # int(68 * 0.3 + 253 * 0.7), ...
        ("vid2densepose", 24, (197, 162, 51), (68, 1, 84)),
        ("iuv", 24, (24, 40, 200), (0, 0, 0)),
    ],
)
def test_forms_that_other_tools_expect(style, part, color, behind):
    drawn = draw(PHOTO, person(part), style=style)
    assert tuple(drawn[1, 2]) == color
    assert (np.delete(drawn.reshape(-1, 3), 7, axis=0) == behind).all()
    np.testing.assert_array_equal(draw(None, person(part), style=style), drawn)


@pytest.mark.parametrize(
    ("style", "number"),
    [
        ("hr-viton", cv2.COLORMAP_PARULA),
        ("controlnet-parula", cv2.COLORMAP_PARULA),
        ("magicanimate", cv2.COLORMAP_VIRIDIS),
        ("controlnet-viridis", cv2.COLORMAP_VIRIDIS),
    ],
)
def test_all_parts_are_what_detectron2_computes(style, number):
    iuv = np.zeros((1, 24, 3), np.uint8)
    iuv[0, :, 0] = np.arange(1, 25)
    scaled = (iuv[..., 0].astype(np.float32) * (255.0 / 24)).clip(0, 255).astype(np.uint8)
    expected = cv2.applyColorMap(scaled, number)[..., ::-1]
    np.testing.assert_array_equal(draw(None, iuv, style=style), expected)


def test_dp_segm_is_what_detectron2_shows():
    drawn = draw(PHOTO, person(2), style="dp_segm")
    grey = cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY)[1, 2]
    expected = (grey * (1.0 - 0.7) + PARULA[21] * 0.7).astype(np.uint8)
    np.testing.assert_array_equal(drawn[1, 2], expected)
    assert (drawn[0] == grey).all()


def test_own_styles_by_hand():
    on_black = {
        style: draw(None, person(9), style=style, background="black")[1, 2]
        for style in ("parts", "u", "v", "charts", "contour")
    }
    np.testing.assert_array_equal(on_black["parts"], PART_COLORS[9])
    np.testing.assert_array_equal(on_black["u"], VIRIDIS[40])
    np.testing.assert_array_equal(on_black["v"], VIRIDIS[200])
    np.testing.assert_array_equal(on_black["contour"], VIRIDIS[200])  # the border of the part
    base, u, v = PART_COLORS[9].astype(float), 40 / 255, 200 / 255
    np.testing.assert_allclose(
        on_black["charts"], (base + (255 - base) * 0.6 * u) * (1 - 0.65 * v), atol=1
    )


def test_confidence_is_that_of_the_person_in_front():
    found = prediction(((0, 0, 3, 4), 0.9, 3), ((1, 0, 5, 4), 0.4, 7), size=(4, 5))
    front, behind = found.labels
    sure = replace(found, confidence=(np.full_like(front, 250), np.full_like(behind, 9)))
    drawn = draw(None, sure, style="confidence", background="black")
    assert (drawn[:, :3] == VIRIDIS[250]).all() and (drawn[:, 3:] == VIRIDIS[9]).all()
    only = draw(None, sure, style="confidence", background="black", min_score=0.5)
    assert not only[:, 3:].any()
    for without in (found, person(3)):
        with pytest.raises(InputError, match="confidence=True"):
            draw(PHOTO, without, style="confidence")


def test_colours_lie_on_the_photo_at_three_quarters():
    drawn = draw(PHOTO, person(3))
    expected = (0.25 * PHOTO[0, 0] + 0.75 * PART_COLORS[3]).astype(np.uint8)
    np.testing.assert_array_equal(drawn[1, 2], expected)
    np.testing.assert_array_equal(drawn[0], PHOTO[0])
    np.testing.assert_array_equal(draw(PHOTO, person(3), opacity=0.0), PHOTO)


@pytest.mark.parametrize(
    ("background", "behind"),
    [
        ("photo", (100, 150, 50)),
        ("grey", (124, 124, 124)),  # 0.299 R + 0.587 G + 0.114 B
        ("black", (0, 0, 0)),
        ("white", (255, 255, 255)),
        ("#440154", (68, 1, 84)),
    ],
)
@pytest.mark.parametrize("style", [name for name in STYLES if name != "confidence"])
def test_each_style_on_each_background(style, background, behind):
    drawn = draw(PHOTO, person(3), style=style, background=background)
    darker = 0.7 if style == "contour" and background in ("photo", "grey") else 1
    assert (drawn[0] == (np.array(behind) * darker).astype(np.uint8)).all()
    assert (drawn[1, 2] != drawn[0, 0]).any()


def test_mistakes_name_what_there_is():
    with pytest.raises(InputError, match="no style 'part', did you mean 'parts'?.* magicanimate"):
        draw(PHOTO, person(3), style="part")
    with pytest.raises(InputError, match="background 'blakc' is neither photo, grey nor a colour"):
        draw(PHOTO, person(3), background="blakc")
    with pytest.raises(InputError, match="background 'photo' needs the photo"):
        draw(None, person(3))
    with pytest.raises(InputError, match="must have the same size"):
        draw(PHOTO[1:], person(3))
    with pytest.raises(InputError, match="opacity must be from 0 to 1, got 2"):
        draw(PHOTO, person(3), opacity=2)
    with pytest.raises(InputError, match="part, 0..24, got 25"):
        draw(PHOTO, person(25))


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
