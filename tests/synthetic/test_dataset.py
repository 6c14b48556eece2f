from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from densepose.structures.body_parts import COARSE_OF_PART
from densepose.synthetic import make_synthetic_dataset
from densepose.synthetic.photo_background import photo_files
from densepose.synthetic.picture import PictureSettings, image_rng, make_picture

SETTINGS = {"seed": 7, "num_train": 3, "num_val": 2, "image_size": 112, "people": (1, 2)}


def content(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "set"
    make_synthetic_dataset(root, **SETTINGS)
    return root


def annotations(root: Path, split: str) -> list[tuple[str, dict]]:
    """(path of the image without suffix below its split, record) of every person."""
    file = json.loads((root / "annotations" / f"densepose_{split}.json").read_text())
    names = {image["id"]: Path(image["file_name"]).stem for image in file["images"]}
    return [(names[record["image_id"]], record) for record in file["annotations"]]


def read_truth(root: Path, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    iuv = cv2.imread(str(root / "truth" / split / f"{name}_iuv.png"), cv2.IMREAD_COLOR)[..., ::-1]
    instance = cv2.imread(
        str(root / "truth" / split / f"{name}_instance.png"), cv2.IMREAD_UNCHANGED
    )
    return iuv, instance


def test_the_layout_and_the_json_are_those_of_densepose_coco(dataset, capsys):
    expected = {
        "manifest.json",
        "annotations/densepose_train.json",
        "annotations/densepose_val.json",
    }
    for split, count in (("train", 3), ("val", 2)):
        for number in range(1, count + 1):
            expected.add(f"images/{split}/{number:012d}.jpg")
            expected |= {f"truth/{split}/{number:012d}_{kind}.png" for kind in ("iuv", "instance")}
    assert set(content(dataset)) == expected
    coco = COCO(dataset / "annotations" / "densepose_train.json")
    assert [image["id"] for image in coco.loadImgs(coco.getImgIds())] == [1, 2, 3]
    assert coco.cats[1]["name"] == "person" and len(coco.cats[1]["keypoints"]) == 17
    assert len(coco.anns) == len(annotations(dataset, "train"))  # ids are unique
    picture = cv2.imread(str(dataset / "images" / "train" / "000000000001.jpg"))
    assert picture.shape == (112, 112, 3) and picture.std() > 5


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_record_is_complete_and_in_range(dataset, split):
    seen_points = 0
    for _, record in annotations(dataset, split):
        x0, y0, width, height = record["bbox"]
        assert 0 <= x0 and 0 <= y0 and x0 + width <= 112 and y0 + height <= 112
        assert record["iscrowd"] == 0 and record["category_id"] == 1
        assert record["area"] == coco_mask.area(record["segmentation"])
        assert len(record["keypoints"]) == 51 and set(record["keypoints"][2::3]) <= {0, 1, 2}
        assert record["num_keypoints"] == sum(v > 0 for v in record["keypoints"][2::3])
        if "dp_x" not in record:
            continue
        seen_points += len(record["dp_x"])
        assert len(record["dp_masks"]) == 14
        assert all(not mask or mask["size"] == [256, 256] for mask in record["dp_masks"])
        points = {name: np.array(record[f"dp_{name}"]) for name in "xyIUV"}
        assert len({len(values) for values in points.values()}) == 1
        assert set(points["I"]) <= set(map(float, range(1, 25)))
        for name, high in (("x", 256), ("y", 256), ("U", 1), ("V", 1)):
            assert points[name].min() >= 0 and points[name].max() <= high
        regions = COARSE_OF_PART[points["I"].astype(int)]
        assert np.bincount(regions).max() <= 14
        assert {i for i, mask in enumerate(record["dp_masks"], 1) if mask} == set(regions)
    assert seen_points > 50


@pytest.mark.parametrize("split", ["train", "val"])
def test_points_masks_and_boxes_lie_on_the_truth(dataset, split):
    owners = set()
    for name, record in annotations(dataset, split):
        iuv, instance = read_truth(dataset, split, name)
        mask = coco_mask.decode(record["segmentation"]) > 0
        (owner,) = set(instance[mask])
        assert (mask == (instance == owner)).all()
        assert (name, owner) not in owners
        owners.add((name, owner))
        rows, columns = np.nonzero(mask)
        x0, y0, width, height = record["bbox"]
        assert (columns.min(), rows.min()) == (x0, y0)
        assert (columns.max() + 1, rows.max() + 1) == (x0 + width, y0 + height)
        if "dp_x" in record:
            x = (x0 + np.array(record["dp_x"]) * width / 256).astype(int)
            y = (y0 + np.array(record["dp_y"]) * height / 256).astype(int)
            assert (instance[y, x] == owner).all()
            assert (iuv[y, x, 0] == record["dp_I"]).all()
            stored = np.stack([record["dp_U"], record["dp_V"]], axis=1) * 255
            np.testing.assert_allclose(iuv[y, x, 1:], stored, atol=0.51)


def test_the_truth_images_agree_and_every_person_in_them_is_annotated(dataset):
    records = annotations(dataset, "train")
    for number in (1, 2, 3):
        iuv, instance = read_truth(dataset, "train", f"{number:012d}")
        assert ((iuv[..., 0] > 0) == (instance > 0)).all()
        assert iuv[..., 0].max() <= 24 and not iuv[instance == 0].any()
        people = len(np.unique(instance[instance > 0]))
        assert people == sum(name == f"{number:012d}" for name, _ in records) > 0


def test_the_number_of_workers_changes_no_byte(dataset, tmp_path):
    progress: list[tuple[int, int]] = []
    made = make_synthetic_dataset(
        tmp_path / "two", workers=2, on_progress=lambda *at: progress.append(at), **SETTINGS
    )
    assert content(tmp_path / "two") == content(dataset)
    assert progress[0] == (0, 5) and progress[-1] == (5, 5)
    assert made.counts["train"]["images"] == 3 and made.counts["val"]["images"] == 2


def test_seed_split_and_index_change_the_image():
    def jpeg(seed: int, split: str, index: int) -> bytes:
        return make_picture(PictureSettings(seed, 64, (1, 1), 0.0, None), split, index).jpeg

    assert jpeg(0, "train", 0) == jpeg(0, "train", 0)
    others = [jpeg(0, "train", 0), jpeg(1, "train", 0), jpeg(0, "val", 0), jpeg(0, "train", 1)]
    assert len(set(others)) == 4


@pytest.mark.parametrize(
    ("split", "seed", "index"), [("test", 0, 0), ("train", -1, 0), ("val", 0, -1)]
)
def test_a_stream_needs_a_known_split_and_whole_numbers(split, seed, index):
    with pytest.raises(ValueError):
        image_rng(seed, split, index)


def test_an_interrupted_run_goes_on_where_it_was(dataset, tmp_path):
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    root = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        make_synthetic_dataset(root, on_progress=stop, **SETTINGS)
    assert not json.loads((root / "manifest.json").read_text())["complete"]
    kept = (root / "images/train/000000000001.jpg").stat().st_mtime_ns
    progress: list[int] = []
    make_synthetic_dataset(root, on_progress=lambda done, _: progress.append(done), **SETTINGS)
    assert progress[0] == 2
    assert (root / "images/train/000000000001.jpg").stat().st_mtime_ns == kept
    assert content(root) == content(dataset)


def test_a_finished_set_is_left_alone_and_a_lost_file_made_again(dataset):
    before = content(dataset)
    lost = dataset / "images/train/000000000002.jpg"
    progress: list[int] = []
    make_synthetic_dataset(dataset, on_progress=lambda done, _: progress.append(done), **SETTINGS)
    assert progress == [5]
    lost.unlink()
    make_synthetic_dataset(dataset, **SETTINGS)
    assert content(dataset) == before


def test_a_folder_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty and without a manifest.json.*--out"):
        make_synthetic_dataset(tmp_path, **SETTINGS)
    assert list(content(tmp_path)) == ["holiday.txt"]
    (tmp_path / "manifest.json").write_text('{"kind": "something else"}')
    with pytest.raises(ValueError, match="not written by this program"):
        make_synthetic_dataset(tmp_path, **SETTINGS)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        make_synthetic_dataset(tmp_path, **SETTINGS)


def test_a_set_with_other_settings_is_not_overwritten(dataset):
    before = content(dataset)
    with pytest.raises(ValueError, match="seed was 7, is 8.*remove this one yourself"):
        make_synthetic_dataset(dataset, **(SETTINGS | {"seed": 8}))
    with pytest.raises(ValueError, match=r"people was \[1, 2\], is \[1, 3\]"):
        make_synthetic_dataset(dataset, **(SETTINGS | {"people": (1, 3)}))
    assert content(dataset) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 8}, "image_size must be 48 to 2048 px, got 8"),
        ({"people": (0, 2)}, "people must be FEWEST-MOST within 1 to 10, got 0-2"),
        ({"people": (3, 2)}, "got 3-2"),
        ({"num_train": 0, "num_val": 0}, "nothing to make"),
        ({"num_val": -1}, "num_val must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"noise_m": 2.0}, "noise_m must be 0 to 0.5 metres, got 2.0"),
        ({"noise_m": -0.1}, "noise_m must be 0 to 0.5 metres, got -0.1"),
        ({"camera": "thermal"}, "camera must be one of photo, night, got 'thermal'"),
        ({"photo_share": 1.5}, r"photo_share must be in \(0, 1\], got 1.5"),
        ({"photo_share": 0.5}, "photo_share 0.5 needs backgrounds"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"backgrounds": "no/such/folder"}, "expected at least two photos"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic_dataset(tmp_path / "set", **(SETTINGS | change))
    assert not (tmp_path / "set").exists()


def test_photos_become_backgrounds_and_the_splits_share_none(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        photo = np.full((90, 120, 3), (0, 40 + number, 200), np.uint8)  # nearly red, BGR
        cv2.imwrite(str(folder / f"{number:02d}.png"), photo)
    train, val = photo_files(folder, "train"), photo_files(folder, "val")
    assert len(train) == 10 and len(val) == 2 and not set(train) & set(val)
    picture = make_picture(PictureSettings(0, 96, (1, 1), 0.0, str(folder)), "val", 0)
    image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
    instance = cv2.imdecode(np.frombuffer(picture.instance_png, np.uint8), cv2.IMREAD_UNCHANGED)
    border = np.concatenate([image[0], image[-1]])[np.concatenate([instance[0], instance[-1]]) == 0]
    assert np.median(border[:, 2]) > np.median(border[:, 0]) + 50


def test_photos_and_generated_backgrounds_mix(tmp_path):
    for number in range(6):
        red = np.full((90, 120, 3), (0, 0, 200), np.uint8)  # BGR
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), red)
    settings = PictureSettings(0, 64, (1, 1), 0.0, str(tmp_path), photo_share=0.5)
    is_photo = []
    for index in range(12):
        picture = make_picture(settings, "train", index)
        image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
        instance = cv2.imdecode(np.frombuffer(picture.instance_png, np.uint8), cv2.IMREAD_UNCHANGED)
        blue, green, red = np.median(image[instance == 0], axis=0)
        is_photo.append(red > 3 * max(blue, green))
    assert 2 <= sum(is_photo) <= 10


def test_a_broken_photo_is_named_with_the_image_it_was_meant_for(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"not a photo")
    with pytest.raises(ValueError, match=r"train image 1: .*\.jpg: not readable as an image"):
        make_synthetic_dataset(tmp_path / "set", backgrounds=folder, **SETTINGS)


def test_annotator_noise_changes_answers_but_neither_image_nor_truth():
    exact, sloppy = (
        make_picture(PictureSettings(3, 112, (1, 1), noise, None), "train", 1)
        for noise in (0.0, 0.05)
    )
    assert exact.jpeg == sloppy.jpeg and exact.iuv_png == sloppy.iuv_png
    (first,), (second,) = exact.annotations, sloppy.annotations
    assert len(first["dp_U"]) == len(second["dp_U"])
    assert first["dp_masks"] == second["dp_masks"]
    assert np.abs(np.array(first["dp_U"]) - second["dp_U"]).mean() > 0.01


def test_images_may_be_empty(tmp_path):
    settings = {**SETTINGS, "num_train": 3, "num_val": 0, "image_size": 64, "empty_share": 1.0}
    made = make_synthetic_dataset(tmp_path, **settings)
    assert made.counts["train"] == {"images": 3, "people": 0, "annotated_people": 0, "points": 0}
    for number in (1, 2, 3):
        iuv, instance = read_truth(tmp_path, "train", f"{number:012d}")
        assert not iuv.any() and not instance.any()
