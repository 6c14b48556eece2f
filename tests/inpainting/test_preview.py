from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from densepose.data.coco import load_densepose_coco
from densepose.data.inpainted import InpaintedImage
from densepose.inpainting.preview import draw_preview, to_iuv_image, write_previews
from densepose.inpainting.run import BASELINES, has_annotated_people, inpaint_dataset


def person(box, shape=(2, 4), part: int = 5) -> InpaintedImage:
    maps = np.full(shape, part, np.uint8)
    uv = np.stack([np.arange(maps.size, dtype=np.uint8).reshape(shape), maps])
    return InpaintedImage(1, np.array([1]), np.array([box], np.float32), (maps,), (uv,), (maps,))


def test_an_image_by_hand():
    iuv = to_iuv_image(person((1, 1, 5, 3)), (4, 6))
    assert iuv[..., 0].tolist() == [[0] * 6, [0, 5, 5, 5, 5, 0], [0, 5, 5, 5, 5, 0], [0] * 6]
    assert iuv[1:3, 1:5, 1].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_box_that_leaves_the_image_is_cut():
    iuv = to_iuv_image(person((-2, 0, 2, 2)), (2, 3))
    assert iuv[..., 1].tolist() == [[2, 3, 0], [6, 7, 0]]
    assert not to_iuv_image(person((9, 9, 12, 12)), (4, 4)).any()


def test_pictures_are_written(tiny_coco, tmp_path: Path):
    records = [r for r in load_densepose_coco(*tiny_coco, "tiny") if has_annotated_people(r)]
    inpaint_dataset(records, tmp_path, BASELINES["nearest"], {}, image_format="RGB")
    folder = write_previews(tmp_path, records, most=2)
    assert len(list(folder.iterdir())) == 2
    first = folder / f"{records[0]['image_id']:012d}.jpg"
    with Image.open(first) as picture:
        assert picture.size == (3 * 160, 120)


def test_a_picture_shows_the_photo_thrice(tiny_coco, tmp_path: Path):
    records = [r for r in load_densepose_coco(*tiny_coco, "tiny") if has_annotated_people(r)]
    drawn = draw_preview(records[0], person((0, 0, 1, 1)))
    photo = np.asarray(Image.open(records[0]["file_name"]).convert("RGB"))
    assert np.array_equal(drawn[:, 160:320][5:], photo[5:])
