"""Complete truth in place of a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densepose.cli.__main__ import run_verb
from densepose.data.inpainted import read_inpainted
from densepose.inpainting.accuracy import truth_of
from densepose.inpainting.run import Picture
from tests.support.inpainting_scenes import BOX, painted, scene, truth, write_truth
from tests.support.training import options


def test_cells_are_what_the_truth_shows_of_their_person(tmp_path: Path):
    someone, cells, points = scene(boxes=(BOX,))
    iuv = painted((100, 80))
    instance = np.full((100, 80), 2, np.uint8)
    instance[40:50, 20:30] = 1  # somebody in front
    instance[60:64, 20:30] = 0  # a thing in front
    iuv[60:64, 20:30] = 0
    write_truth(tmp_path, 7, iuv, instance)
    pixels = np.zeros((3, 100, 80), np.uint8)
    guess = truth_of(tmp_path, Picture(7, pixels, someone, cells, points))
    part, uv = truth(cells.place_px, np.array(BOX))
    x, y = np.floor(cells.place_px).astype(int).T
    hidden = ((y >= 40) & (y < 50) | (y >= 60) & (y < 64)) & (x >= 20) & (x < 30)
    assert hidden.sum() == 140
    assert not guess.part[hidden].any() and not guess.confidence[hidden].any()
    assert np.array_equal(guess.part[~hidden], part[~hidden])
    assert np.abs(guess.uv[~hidden] - uv[~hidden]).max() < 0.51 / 255
    assert (guess.confidence[~hidden] == 1).all()


def test_the_verb_writes_a_folder_to_train_on(tiny_coco, tmp_path: Path, capsys):
    register = options(tiny_coco, tmp_path)[:4]
    words = ["--method", "truth", "--out", str(tmp_path / "out"), *register]
    assert run_verb("inpaint", words) == 1
    assert "give --truth DIR and --output DIR" in capsys.readouterr().err
    for image_id in range(1, 7):
        iuv = np.zeros((120, 160, 3), np.uint8)
        iuv[..., 0] = 23
        write_truth(tmp_path / "truth", image_id, iuv, np.ones((120, 160), np.uint8))
    assert run_verb("inpaint", [*words[:4], "--truth", str(tmp_path / "truth"), *register]) == 0
    assert "people in 5 images inpainted" in capsys.readouterr().out
    image = read_inpainted(next(iter(sorted((tmp_path / "out").glob("*.npz")))))
    # Annotated points stay what they are, all else is what the truth says.
    assert np.mean(image.part[0][image.part[0] > 0] == 23) > 0.9
