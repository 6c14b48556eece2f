from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densepose.errors import InputError
from densepose.structures.prediction import ImagePrediction
from densepose.vis.iuv_image import prediction_to_iuv, read_iuv_png, write_iuv_png
from tests.support.predictions import prediction


def naive_iuv(prediction: ImagePrediction) -> np.ndarray:
    iuv = np.zeros((*prediction.image_size, 3), np.uint8)
    for i in sorted(range(len(prediction)), key=lambda i: prediction.scores[i]):
        x0, y0 = np.floor(prediction.boxes_xyxy_px[i, :2]).astype(int)
        for row, column in np.argwhere(prediction.labels[i] > 0):
            y, x = y0 + row, x0 + column
            if 0 <= y < iuv.shape[0] and 0 <= x < iuv.shape[1]:
                iuv[y, x] = (prediction.labels[i][row, column], *prediction.uv[i][:, row, column])
    return iuv


def test_people_are_pasted_at_their_boxes_and_the_best_score_wins():
    found = prediction(
        ((2.7, 3.2, 9.9, 12.0), 0.9, 3),
        ((5.0, 5.0, 15.0, 18.0), 0.4, 7),
        ((-4.0, -2.0, 4.0, 5.0), 0.7, 9),
        ((25.0, 15.0, 40.0, 30.0), 0.5, 11),
    )
    iuv = prediction_to_iuv(found)
    np.testing.assert_array_equal(iuv, naive_iuv(found))
    assert iuv[6, 6].tolist() == [3, 30, 60]
    assert iuv[3, 2].tolist() == [3, 30, 60] and iuv[2, 2].tolist() == [9, 90, 180]


def test_background_inside_a_box_shows_who_is_behind():
    found = prediction(((0, 0, 10, 10), 0.9, 3), ((0, 0, 10, 10), 0.2, 5))
    found.labels[0][:5] = 0
    iuv = prediction_to_iuv(found)
    assert (iuv[:5, :10, 0] == 5).all() and (iuv[5:10, :10, 0] == 3).all()


def test_low_scores_can_be_left_out():
    found = prediction(((0, 0, 10, 10), 0.9, 3), ((10, 0, 20, 10), 0.2, 5))
    assert set(np.unique(prediction_to_iuv(found, min_score=0.5)[..., 0])) == {0, 3}
    assert set(np.unique(prediction_to_iuv(found)[..., 0])) == {0, 3, 5}


def test_nobody_is_an_empty_image():
    assert prediction_to_iuv(prediction()).sum() == 0


def test_a_png_keeps_every_value_with_the_part_in_red(tmp_path: Path):
    iuv = np.random.default_rng(0).integers(0, 25, (8, 9, 3)).astype(np.uint8)
    write_iuv_png(tmp_path / "a.png", iuv)
    np.testing.assert_array_equal(read_iuv_png(tmp_path / "a.png"), iuv)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "a.png").getchannel("R")), iuv[..., 0]
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_what_is_no_iuv_image_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"must be \(H, W, 3\) uint8, got \(8, 9\)"):
        write_iuv_png(tmp_path / "a.png", np.zeros((8, 9), np.uint8))
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: channel 0 .* got 200; the channels may be"):
        read_iuv_png(tmp_path / "b.png")


def test_the_order_of_the_channels_is_told_or_found_out(tmp_path):
    iuv = np.zeros((6, 5, 3), np.uint8)
    iuv[1:4, 1:3] = [7, 200, 90]
    write_iuv_png(tmp_path / "iuv.png", iuv)
    # What OpenCV makes of the array: it calls the first channel blue and stores it last.
    Image.fromarray(iuv[..., ::-1]).save(tmp_path / "opencv.png")
    for name, order in (("iuv", "iuv"), ("iuv", "auto"), ("opencv", "vui"), ("opencv", "auto")):
        np.testing.assert_array_equal(read_iuv_png(tmp_path / f"{name}.png", order), iuv)
    with pytest.raises(InputError, match="channel 0 .* got 90"):
        read_iuv_png(tmp_path / "opencv.png")


def test_an_order_that_cannot_be_found_out_is_asked_for(tmp_path):
    iuv = np.zeros((6, 5, 3), np.uint8)
    iuv[1:4, 1:3] = [7, 200, 9]
    write_iuv_png(tmp_path / "iuv.png", iuv)
    with pytest.raises(InputError, match="both the first and the last channel may be the part"):
        read_iuv_png(tmp_path / "iuv.png", "auto")
    write_iuv_png(tmp_path / "empty.png", 0 * iuv)
    assert not read_iuv_png(tmp_path / "empty.png", "auto").any()
    with pytest.raises(InputError, match="order must be one of"):
        read_iuv_png(tmp_path / "iuv.png", "bgr")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="text.png: not a readable picture"):
        read_iuv_png(tmp_path / "text.png")
