import copy
import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.data import transforms as T

from densepose.data.coco import load_densepose_coco
from densepose.data.mapper import DensePoseMapper
from densepose.errors import InputError
from densepose.structures.annotations import grid_to_image
from tests.support.tiny_dataset import doll_at

Tiny = tuple[Path, Path]
KEYPOINT_FLIP = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
PART_FLIP = [0, 1, 2, *(part for left in range(3, 25, 2) for part in (left + 1, left))]
COARSE_FLIP = [0, 1, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 14]


@dataclass
class DollSymmetry:
    """The dolls' U runs from their right to their left, so a mirror image has 1 - U."""

    part: np.ndarray
    coarse: np.ndarray

    def flip_uv(self, part: np.ndarray, uv: np.ndarray) -> np.ndarray:
        return np.stack([1 - uv[:, 0], uv[:, 1]], axis=1)


DOLL_SYMMETRY = DollSymmetry(np.array(PART_FLIP), np.array(COARSE_FLIP))


def mapper(*augmentations: Any, **settings: Any) -> DensePoseMapper:
    defaults = {"image_format": "BGR", "symmetry": DOLL_SYMMETRY, "keypoint_flip": KEYPOINT_FLIP}
    return DensePoseMapper(True, augmentations=augmentations, **{**defaults, **settings})


@pytest.fixture(scope="module")
def records(tiny_coco: Tiny) -> list[dict[str, Any]]:
    return load_densepose_coco(*tiny_coco, "tiny")


def faces_back(record: dict[str, Any]) -> list[bool]:
    """Whether each doll is seen from the back, by the order of its shoulders."""
    return [p["keypoints"][15] < p["keypoints"][18] for p in record["annotations"]]


def assert_dolls(instances: Any, back: list[bool], tolerance: float = 1e-3) -> None:
    """Every point and every mask pixel is what the doll shows at this place of its box."""
    truth = instances.gt_densepose
    owner_back = np.array(back)[truth.owner.numpy()]
    for side in (False, True):
        chosen = owner_back == side
        place = truth.points_grid.numpy()[chosen] / 256
        _, part, uv = doll_at(place.astype(np.float64), back=side)
        np.testing.assert_array_equal(truth.part.numpy()[chosen], part)
        np.testing.assert_allclose(truth.uv.numpy()[chosen], uv, atol=tolerance)
    steps = (np.arange(256) + 0.5) / 256
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    for number in np.flatnonzero(truth.has_masks):
        region, _, _ = doll_at(grid, back=back[number])
        shown = truth.coarse[number].numpy()
        hidden = np.setdiff1d(np.arange(15), shown)
        want = np.where(np.isin(region, hidden), 0, region).reshape(256, 256)
        np.testing.assert_array_equal(shown, want)


def test_without_augmentation_everything_is_as_annotated(records: list[dict]):
    for record in records:
        got = mapper()(record)
        people = record["annotations"]
        boxes = torch.tensor([p["bbox"] for p in people])
        boxes[:, 2:] += boxes[:, :2]
        torch.testing.assert_close(got["instances"].gt_densepose.boxes_xyxy_px, boxes)
        assert got["image"].dtype == torch.uint8 and got["image"].shape == (3, 120, 160)
        want = np.asarray(Image.open(record["file_name"]))[:, :, ::-1]
        np.testing.assert_array_equal(got["image"].permute(1, 2, 0), want)
        counted = got["instances"].gt_densepose.num_points.tolist()
        assert counted == [len(p.get("dp_x", [])) for p in people]
        has = got["instances"].gt_densepose.has_masks.tolist()
        assert has == ["dp_masks" in p for p in people]
        assert_dolls(got["instances"], faces_back(record))
        assert (got["height"], got["width"]) == (120, 160)
        assert got["image_id"] == record["image_id"] and "annotations" not in got


def test_a_flip_gives_the_annotations_of_the_mirrored_scene(records: list[dict]):
    """Mirrored dolls look like dolls again: what they show is known without any flip map."""
    for record in records:
        plain = mapper()(record)["instances"]
        got = mapper(T.RandomFlip(prob=1.0))(record)["instances"]
        assert_dolls(got, faces_back(record))
        box, mirrored = plain.gt_boxes.tensor, got.gt_boxes.tensor
        torch.testing.assert_close(mirrored[:, [0, 2]], 160 - box[:, [2, 0]])
        torch.testing.assert_close(mirrored[:, [1, 3]], box[:, [1, 3]])
        # The dolls' keypoints are mirror images too, so they stand at the same place of the box.
        corner = torch.stack([box[:, :2], mirrored[:, :2]])[:, :, None]
        keypoints = [i.gt_keypoints.tensor for i in (plain, got)]
        torch.testing.assert_close(
            keypoints[1][..., :2] - corner[1], keypoints[0][..., :2] - corner[0], atol=0.02, rtol=0
        )


def test_flipping_twice_is_no_change(records: list[dict]):
    flip = T.RandomFlip(prob=1.0)
    once, twice = mapper()(records[0]), mapper(flip, flip, symmetry=None)(records[0])
    first, second = once["instances"].gt_densepose, twice["instances"].gt_densepose
    for name in first.__dataclass_fields__:
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


def test_resizing_leaves_the_grid_alone(records: list[dict]):
    got = mapper(T.ResizeShortestEdge([60], 1000, "choice"))(records[0])
    plain = mapper()(records[0])["instances"]
    assert got["image"].shape == (3, 60, 80) and (got["height"], got["width"]) == (120, 160)
    instances = got["instances"]
    torch.testing.assert_close(instances.gt_boxes.tensor, plain.gt_boxes.tensor / 2)
    torch.testing.assert_close(
        instances.gt_densepose.points_grid, plain.gt_densepose.points_grid, atol=1e-3, rtol=0
    )
    assert torch.equal(instances.gt_densepose.coarse, plain.gt_densepose.coarse)


def points_px(instances: Any) -> np.ndarray:
    truth = instances.gt_densepose
    return grid_to_image(truth.points_grid, truth.boxes_xyxy_px[truth.owner]).numpy()


def test_rotation_by_a_quarter_turns_points_as_the_image(records: list[dict], tmp_path: Path):
    """A square image turned by 90 degrees is known pixel by pixel: np.rot90."""
    record = square(records[0], tmp_path)
    plain = mapper()(record)
    got = mapper(T.RandomRotation([90], expand=False, sample_style="choice"))(record)
    turned = np.rot90(plain["image"].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(got["image"].permute(1, 2, 0), turned)
    before = points_px(plain["instances"])
    np.testing.assert_allclose(
        points_px(got["instances"]), np.stack([before[:, 1], 160 - before[:, 0]], 1), atol=1e-3
    )
    coarse = plain["instances"].gt_densepose.coarse.numpy()
    np.testing.assert_array_equal(
        got["instances"].gt_densepose.coarse.numpy(), np.rot90(coarse, axes=(1, 2))
    )


def square(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same scene on a square canvas of 160 px."""
    canvas = np.zeros((160, 160, 3), np.uint8)
    canvas[:120] = np.asarray(Image.open(record["file_name"]))
    path = folder / "square.png"
    Image.fromarray(canvas).save(path)
    return {**record, "file_name": str(path), "height": 160, "width": 160}


@pytest.mark.parametrize("flip", [False, True])
def test_points_lie_on_their_region_after_any_rotation(
    flip: bool, records: list[dict], tmp_path: Path
):
    steps: list[Any] = [T.RandomFlip(prob=1.0)] if flip else []
    steps.append(T.RandomRotation([17], expand=False, sample_style="choice"))
    instances = mapper(*steps)(square(records[0], tmp_path))["instances"]
    truth = instances.gt_densepose
    region_of_part = [0, 1, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13]
    region_of_part += [14, 14]
    cell = truth.points_grid.long().clamp(0, 255)
    shown = truth.coarse[truth.owner, cell[:, 1], cell[:, 0]]
    expected = torch.tensor(region_of_part)[truth.part]
    assert len(shown) > 100
    # Nearest-neighbour reading may move a border by one cell.
    assert (shown == expected).float().mean() > 0.97


def test_a_crop_drops_points_outside_and_keeps_the_others_in_place(
    records: list[dict], caplog: Any
):
    record = records[0]
    crop = T.CropTransform(40, 30, 80, 70, 160, 120)
    with caplog.at_level(logging.DEBUG, logger="densepose.data.mapper"):
        got = mapper(crop)(record)
    before = points_px(mapper()(record)["instances"]) - (40, 30)
    inside = ((before >= 0) & (before <= (80, 70))).all(axis=1)
    assert 0 < inside.sum() < len(inside)
    np.testing.assert_allclose(points_px(got["instances"]), before[inside], atol=1e-3)
    assert f"{(~inside).sum()} of {len(inside)} points left the image" in caplog.text
    boxes = got["instances"].gt_boxes.tensor
    assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= 80).all() and (boxes[:, [1, 3]] <= 70).all()
    whole = mapper()(record)["instances"].gt_densepose
    assert torch.equal(got["instances"].gt_densepose.coarse, whole.coarse)


def test_people_outside_the_crop_are_left_out(records: list[dict]):
    record = next(r for r in records if len(r["annotations"]) == 2)
    right = max(person["bbox"][0] for person in record["annotations"])
    got = mapper(T.CropTransform(0, 0, int(right) - 1, 120, 160, 120))(record)["instances"]
    assert len(got) == 1 and len(got.gt_densepose) == 1


def test_masks_follow_the_image(records: list[dict], tmp_path: Path):
    """Polygons, run lengths and part masks of a doll give the same mask, up to its border."""
    record = square(records[0], tmp_path)
    flip = T.RandomFlip(prob=1.0)
    rotate = T.RandomRotation([30], expand=False, sample_style="choice")
    for steps in ([], [flip], [flip, rotate]):
        masks = [
            mapper(*steps, use_masks=True)(changed)["instances"].gt_masks.tensor
            for changed in (record, with_run_lengths(record), without_segmentation(record))
        ]
        assert masks[0].shape == (2, 160, 160)
        for other in masks[1:]:
            common = (masks[0] & other).sum().item()
            assert common / (masks[0] | other).sum().item() > 0.85


def without_segmentation(record: dict[str, Any]) -> dict[str, Any]:
    people = [{k: v for k, v in p.items() if k != "segmentation"} for p in record["annotations"]]
    return {**record, "annotations": people}


def with_run_lengths(record: dict[str, Any]) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    size = (record["height"], record["width"])
    people = [
        {**p, "segmentation": coco_mask.merge(coco_mask.frPyObjects(p["segmentation"], *size))}
        for p in record["annotations"]
    ]
    return {**record, "annotations": people}


def test_tight_boxes_hug_the_mask(records: list[dict]):
    crop = T.CropTransform(40, 30, 80, 70, 160, 120)
    got = mapper(crop, use_masks=True, tight_boxes=True)(records[0])["instances"]
    torch.testing.assert_close(got.gt_boxes.tensor, got.gt_masks.get_bounding_boxes().tensor)
    assert got.gt_masks.tensor.flatten(1).any(1).all()


def test_a_person_without_any_mask_is_left_out_where_masks_are_trained(records: list[dict]):
    record = next(r for r in records if len(r["annotations"]) == 2)
    bare = {
        k: v for k, v in record["annotations"][0].items() if k not in ("segmentation", "dp_masks")
    }
    changed = {**record, "annotations": [bare, record["annotations"][1]]}
    assert len(mapper(use_masks=True)(changed)["instances"]) == 1
    assert len(mapper()(changed)["instances"]) == 2


def test_crowds_are_left_out_and_nobody_is_an_ordinary_image(records: list[dict]):
    record = records[0]
    crowd = {**record, "annotations": [{**p, "iscrowd": 1} for p in record["annotations"]]}
    for changed in (crowd, {**record, "annotations": []}):
        got = mapper(T.RandomFlip(prob=1.0), use_masks=True)(changed)["instances"]
        assert len(got) == len(got.gt_densepose) == len(got.gt_keypoints) == 0
        assert got.gt_boxes.tensor.shape == (0, 4)


def test_a_person_without_keypoints_has_none_visible(records: list[dict]):
    record = {**records[0]}
    record["annotations"] = [
        {k: v for k, v in p.items() if k != "keypoints"} for p in record["annotations"]
    ]
    assert not mapper()(record)["instances"].gt_keypoints.tensor.any()


def test_only_what_is_asked_for_is_given(records: list[dict]):
    got = mapper(keypoint_flip=None, use_densepose=False)(records[0])["instances"]
    assert set(got.get_fields()) == {"gt_boxes", "gt_classes"}
    test = DensePoseMapper(False, augmentations=[], image_format="RGB")(records[0])
    assert set(test) == {"image", "file_name", "height", "width", "image_id"}


def test_the_record_is_not_changed_and_the_mapper_travels_to_workers(records: list[dict]):
    before = pickle.dumps(records[0])
    copied = pickle.loads(pickle.dumps(mapper(T.RandomFlip(prob=1.0))))
    copied(records[0])
    assert pickle.dumps(records[0]) == before


def test_a_flip_without_a_map_is_refused(records: list[dict]):
    with pytest.raises(InputError, match="image 1: the image is mirrored, but no left-right map"):
        mapper(T.RandomFlip(prob=1.0), symmetry=None)(records[0])


def test_a_transform_that_bends_is_refused(records: list[dict]):
    class Bend(T.Transform):
        def apply_image(self, img: np.ndarray) -> np.ndarray:
            return img

        def apply_coords(self, coords: np.ndarray) -> np.ndarray:
            return coords + 1e-2 * coords[:, :1] * coords[:, 1:]

    with pytest.raises(InputError, match="this list is not an affine map"):
        mapper(Bend())(records[0])


def test_a_training_image_without_annotations_is_named(records: list[dict]):
    record = {k: v for k, v in records[0].items() if k != "annotations"}
    with pytest.raises(InputError, match="image 1 has no annotations"):
        mapper()(record)


class TestImages:
    """Files as they are met in the wild."""

    def test_a_truncated_jpeg_is_named(self, records: list[dict], tmp_path: Path):
        content = Path(records[0]["file_name"]).read_bytes()
        path = tmp_path / "cut.jpg"
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(
            InputError, match=r"cut\.jpg: image 1 cannot be decoded .*download it again"
        ):
            mapper()({**records[0], "file_name": str(path)})

    def test_a_text_file_is_named(self, records: list[dict], tmp_path: Path):
        path = tmp_path / "page.jpg"
        path.write_text("<html>not found</html>")
        with pytest.raises(InputError, match=r"page\.jpg: image 1 cannot be decoded"):
            mapper()({**records[0], "file_name": str(path)})

    def test_a_missing_file_is_named(self, records: list[dict], tmp_path: Path):
        with pytest.raises(InputError, match=r"none\.jpg: image 1 is missing"):
            mapper()({**records[0], "file_name": str(tmp_path / "none.jpg")})

    @pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
    def test_any_kind_of_image_becomes_three_channels(
        self, mode: str, records: list[dict], tmp_path: Path
    ):
        path = tmp_path / ("image.tiff" if mode == "CMYK" else "image.png")
        Image.open(records[0]["file_name"]).convert(mode).save(path)
        got = mapper()({**records[0], "file_name": str(path)})["image"]
        assert got.shape == (3, 120, 160) and got.float().std() > 1

    def test_an_image_turned_by_exif_is_turned_before_it_is_measured(
        self, records: list[dict], tmp_path: Path
    ):
        image = Image.open(records[0]["file_name"])
        exif = Image.Exif()
        exif[274] = 6  # stored lying on its side
        path = tmp_path / "turned.png"
        image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
        got = mapper()({**records[0], "file_name": str(path)})["image"]
        np.testing.assert_array_equal(got.permute(1, 2, 0), np.asarray(image)[:, :, ::-1])
        image.save(path, exif=exif)
        with pytest.raises(InputError, match=r"expected height x width 120 x 160 .* EXIF"):
            mapper()({**records[0], "file_name": str(path)})

    def test_damaged_part_masks_are_named(self, records: list[dict]):
        record = json.loads(json.dumps(records[0]))
        record["annotations"][0]["dp_masks"][0]["counts"] = "PPP"
        with pytest.raises(InputError, match="image 1: mask with label 1 of person 0"):
            mapper()(record)

    def test_run_lengths_that_do_not_fill_the_image_are_named(self, records: list[dict]):
        record = copy.deepcopy(records[0])
        first, *others = record["annotations"]
        height, width = record["height"], record["width"]
        whole = {"counts": [0, height * width], "size": [height, width]}
        for person in others:
            person["segmentation"] = whole
        first["segmentation"] = {"counts": [0, 12], "size": [3, 4]}
        mapper = DensePoseMapper(True, augmentations=[], image_format="BGR", use_masks=True)
        with pytest.raises(InputError, match=rf"annotation {first['id']}: segmentation is a run"):
            mapper(record)
