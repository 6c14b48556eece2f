from __future__ import annotations

import numpy as np
import pytest

from densepose.structures.prediction import ImagePrediction
from densepose.vis.colors import PART_COLORS
from densepose.vis.people_sheet import PersonPicture, people_sheet


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
    with pytest.raises(ValueError, match="expected images"):
        people_sheet([])


@pytest.mark.parametrize(
    "box", [(-30, -20, 10, 10), (0, 70, 100, 0.5), (95, 75, 40, 40), (300, 300, 5, 5)]
)
def test_boxes_beside_and_across_the_image_are_drawn(box):
    assert people_sheet([person(box)]).dtype == np.uint8
