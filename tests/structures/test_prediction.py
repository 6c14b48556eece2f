from __future__ import annotations

import numpy as np
import pytest

from densepose.structures.prediction import ImagePrediction


def prediction(people: int, maps: int) -> ImagePrediction:
    return ImagePrediction(
        image_id=5,
        image_size=(10, 12),
        boxes_xyxy_px=np.zeros((people, 4), np.float32),
        scores=np.zeros(people, np.float32),
        labels=tuple(np.zeros((2, 3), np.uint8) for _ in range(maps)),
        uv=tuple(np.zeros((2, 2, 3), np.uint8) for _ in range(people)),
    )


def test_every_person_needs_its_maps():
    with pytest.raises(ValueError, match="image 5: 2 boxes, 2 scores, 1 label maps and 2 uv maps"):
        prediction(2, 1)
