"""The images of a seed stay what they are: golden values of a few, with their truth.

Bytes may differ in the last bit between processors (Embree and BLAS choose their instructions), so
means of blocks of pixels are compared. Whoever changes the look of images on purpose raises
``GENERATOR`` and writes the values anew:
    python -m tests.synthetic.test_golden
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from densepose.synthetic.picture import PictureSettings, draw_picture

GOLDEN = Path(__file__).with_name("golden.json")
SIDE, BLOCKS = 96, 8
CASES = {
    "people": (0, {}),
    "more people": (3, {"people": (2, 4)}),
    "photo behind": (1, {"backgrounds": "photos"}),
    "night": (2, {"camera": "night"}),
}


def write_photos(folder: Path) -> None:
    """Three photos of coloured clouds."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (240, 180)))


def summary(case: str, folder: Path) -> dict[str, Any]:
    index, options = CASES[case]
    if "backgrounds" in options:
        write_photos(folder / "photos")
        options = options | {"backgrounds": str(folder / "photos")}
    settings = {"seed": 7, "image_size": SIDE, "people": (1, 3), "noise_m": 0.0}
    settings |= {"backgrounds": None} | options
    image, truth, annotations, quality = draw_picture(PictureSettings(**settings), "train", index)
    blocks = image.reshape(BLOCKS, SIDE // BLOCKS, BLOCKS, SIDE // BLOCKS, 3).mean(axis=(1, 3))
    return {
        "blocks": blocks.round().astype(int).reshape(BLOCKS, -1).tolist(),
        "part": np.bincount(truth.part.reshape(-1), minlength=25).tolist(),
        "instance": np.bincount(truth.instance.reshape(-1)).tolist(),
        "uv": [round(float(v), 4) for v in truth.uv[truth.part > 0].mean(axis=0)],
        "boxes": [record["bbox"] for record in annotations],
        "points": [len(record.get("dp_x", ())) for record in annotations],
        "keypoints": [record["keypoints"] for record in annotations],
        "jpeg_quality": quality,
    }


@pytest.mark.parametrize("case", CASES)
def test_an_image_of_a_seed_stays_what_it_is(case, tmp_path):
    found, golden = summary(case, tmp_path), json.loads(GOLDEN.read_text())[case]
    assert found["jpeg_quality"] == golden["jpeg_quality"]
    np.testing.assert_allclose(found["blocks"], golden["blocks"], atol=2)
    for name, tolerance in {"part": 4, "instance": 4, "uv": 2e-3, "boxes": 1, "points": 2}.items():
        np.testing.assert_allclose(found[name], golden[name], atol=tolerance, err_msg=name)
    np.testing.assert_allclose(found["keypoints"], golden["keypoints"], atol=0.05)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        values = {case: summary(case, Path(made)) for case in CASES}
    lines = ",\n".join(f"{json.dumps(case)}: {json.dumps(value)}" for case, value in values.items())
    GOLDEN.write_text("{\n" + lines + "\n}\n")
