from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.structures.prediction import ImagePrediction
from densepose.vis.draw import draw
from densepose.vis.sheets import PersonPicture, contact_sheet, people_sheet, photo_panels
from densepose.vis.styles import PART_COLORS


def person(box=(20, 10, 30, 40), *, found: bool = True, part: int = 5) -> PersonPicture:
    image = np.full((80, 100, 3), 90, np.uint8)
    annotation = {
        "bbox": list(box),
        "dp_x": [128.0],
        "dp_y": [128.0],
        "dp_I": [float(part)],
    }
    prediction = ImagePrediction(
        1,
        (80, 100),
        np.array([[20, 10, 50, 50]], np.float32),
        np.array([0.5], np.float32),
        (np.full((40, 30), 9, np.uint8),),
        (np.zeros((2, 40, 30), np.uint8),),
    )
    return PersonPicture("a", image, annotation, prediction if found else None)


def has_color(picture: np.ndarray, color: np.ndarray, tolerance: float = 40) -> bool:
    return bool((np.abs(picture.astype(float) - color).max(axis=-1) < tolerance).any())


def test_truth_is_on_the_left_and_the_prediction_on_the_right():
    sheet = people_sheet([person()])
    middle = sheet.shape[1] // 2
    left, right = sheet[30:, : middle - 4], sheet[30:, middle + 4 :]
    predicted = 0.75 * PART_COLORS[9] + 0.25 * 90
    assert has_color(left, PART_COLORS[5]) and not has_color(right, PART_COLORS[5])
    assert has_color(right, predicted, 3) and not has_color(left, predicted, 3)


def test_people_that_were_not_found_show_the_photo():
    sheet = people_sheet([person(found=False)])
    assert (sheet[60:220, sheet.shape[1] // 2 + 8 : -12] == 90).all()


def test_a_sheet_has_rows_and_columns():
    one, many = people_sheet([person()]), people_sheet([person() for _ in range(7)], columns=3)
    assert many.shape[0] > 2.5 * one.shape[0] and many.shape[1] > 2.5 * one.shape[1]
    with pytest.raises(InputError, match="expected images"):
        people_sheet([])


@pytest.mark.parametrize(
    "box", [(-30, -20, 10, 10), (0, 70, 100, 0.5), (95, 75, 40, 40), (300, 300, 5, 5)]
)
def test_boxes_beside_and_across_the_image_are_drawn(box):
    assert people_sheet([person(box)]).dtype == np.uint8


def test_a_contact_sheet_breaks_into_rows_and_keeps_pixels():
    images = [np.full((10, 10, 3), 10 * k, np.uint8) for k in range(5)]
    sheet = contact_sheet(images, ["title"] * 5, columns=2)
    first_row = [np.flatnonzero((sheet == 10 * k).all(axis=2).sum(axis=1) == 10) for k in range(5)]
    top = [rows[0] for rows in first_row]
    assert top[0] == top[1] < top[2] == top[3] < top[4]
    with pytest.raises(InputError, match="expected a title for each of 5 images, got 1"):
        contact_sheet(images, ["one"], columns=4)
    with pytest.raises(InputError, match="expected images"):
        contact_sheet([], [], columns=4)


def test_a_row_scales_to_the_tallest():
    small, tall = np.full((10, 20, 3), 50, np.uint8), np.full((20, 10, 3), 90, np.uint8)
    row = contact_sheet([small, tall], ["", ""], columns=2)
    assert (row == 90).all(axis=2).sum() == 20 * 10
    assert (row == 50).all(axis=2).sum() == 20 * 40


def test_panels_show_the_photo_parts_u_and_v_of_at_most_the_size_wanted():
    someone = person()
    panels = photo_panels(someone.image, someone.prediction, 1000)
    assert panels.shape[1] == 4 * 106 + 6
    for index, style in enumerate(("parts", "u", "v"), start=1):
        left = 6 + index * 106
        shown = panels[22 + 6 : 22 + 6 + 80, left : left + 100]
        expected = draw(someone.image, someone.prediction, style=style)
        # The first one has boxes and scores as well.
        assert (shown == expected).all(axis=2).mean() > (0.85 if index == 1 else 0.999)
    assert photo_panels(someone.image, someone.prediction, 50).shape[1] == 4 * 56 + 6
