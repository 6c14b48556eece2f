from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, BoxMode, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask

from densepose.config import get_densepose_cfg
from densepose.data.coco import training_records
from densepose.data.mapper import DensePoseMapper
from densepose.data.registration import register_from_config
from densepose.errors import InputError

Tiny = tuple[Path, Path]


@pytest.fixture
def cfg(tiny_coco: Tiny) -> Iterator[CfgNode]:
    """A config that trains on the tiny set, once on each surface."""
    cfg = get_densepose_cfg()
    paths = {"ANNOTATIONS": str(tiny_coco[0]), "IMAGES": str(tiny_coco[1])}
    cfg.DATASETS.REGISTER = [
        {"NAME": "tiny", "SURFACE": "template", **paths},
        {"NAME": "tiny_smpl", "SURFACE": "smpl_27554", **paths},
    ]
    cfg.DATASETS.TRAIN = ("tiny",)
    names = register_from_config(cfg)
    yield cfg
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def kinds(mapper: DensePoseMapper) -> list[type]:
    return [type(augmentation) for augmentation in mapper.augmentations.augs]


def test_the_defaults_resize_and_flip(cfg: CfgNode):
    assert kinds(DensePoseMapper(cfg, is_train=True)) == [T.ResizeShortestEdge, T.RandomFlip]
    assert kinds(DensePoseMapper(cfg, is_train=False)) == [T.ResizeShortestEdge]


def test_every_augmentation_can_be_asked_for(cfg: CfgNode):
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.ROTATION_ANGLES = [0, 90]
    cfg.INPUT.COLOR_JITTER = 0.2
    mapper = DensePoseMapper(cfg, is_train=True)
    assert kinds(mapper) == [
        *(T.RandomCrop, T.ResizeShortestEdge, T.RandomFlip, T.RandomRotation),
        *(T.RandomBrightness, T.RandomContrast, T.RandomSaturation),
    ]
    for record in training_records(cfg):
        instances = mapper(record)["instances"]
        assert instances.gt_densepose.part.max() <= 24


def test_fields_follow_the_branches(cfg: CfgNode):
    record = training_records(cfg)[0]
    fields = set(DensePoseMapper(cfg, is_train=True)(record)["instances"].get_fields())
    assert fields == {"gt_boxes", "gt_classes", "gt_densepose"}
    cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS = True
    cfg.MODEL.KEYPOINT_ON = True
    fields |= {"gt_masks", "gt_keypoints"}
    assert set(DensePoseMapper(cfg, True)(record)["instances"].get_fields()) == fields


def test_polygons_are_the_bit_masks_that_the_format_asks_for(cfg: CfgNode):
    cfg.MODEL.MASK_ON = True
    cfg.INPUT.RANDOM_FLIP, cfg.INPUT.MIN_SIZE_TRAIN = "none", (90,)
    record = next(r for r in DatasetCatalog.get("tiny") if len(r["annotations"]) > 1)
    bits = DensePoseMapper(cfg, True)(record)["instances"].gt_masks
    cfg.INPUT.MASK_FORMAT = "polygon"
    polygons = DensePoseMapper(cfg, True)(record)["instances"].gt_masks
    assert isinstance(bits, BitMasks) and isinstance(polygons, PolygonMasks)
    filled = [polygons_to_bitmask(polygon, *bits.image_size) for polygon in polygons.polygons]
    assert torch.equal(bits.tensor, torch.from_numpy(np.stack(filled)))
    coded = {**record["annotations"][0], "segmentation": {"size": [1, 1], "counts": [1]}}
    with pytest.raises(InputError, match="a run-length mask, .* INPUT.MASK_FORMAT bitmask"):
        DensePoseMapper(cfg, True)({**record, "annotations": [coded]})


def test_masks_may_be_arrays(cfg: CfgNode):
    cfg.MODEL.MASK_ON, cfg.INPUT.RANDOM_FLIP = True, "none"
    record = DatasetCatalog.get("tiny")[0]
    size = (record["height"], record["width"])
    filled = [
        {**person, "segmentation": polygons_to_bitmask(person["segmentation"], *size)}
        for person in record["annotations"]
    ]
    mapper = DensePoseMapper(cfg, True)
    want, got = (
        mapper({**record, "annotations": a})["instances"].gt_masks.tensor
        for a in (record["annotations"], filled)
    )
    assert (want != got).float().mean() < 0.01  # edges differ: one is resized, one drawn at size


def test_boxes_may_come_in_detectron2s_other_form(cfg: CfgNode):
    cfg.INPUT.RANDOM_FLIP = "none"
    record = DatasetCatalog.get("tiny")[0]
    corners = []
    for person in record["annotations"]:
        box = BoxMode.convert(person["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
        corners.append({**person, "bbox": np.array(box), "bbox_mode": BoxMode.XYXY_ABS})
    for densepose in (True, False):
        cfg.MODEL.DENSEPOSE_ON = densepose
        mapper = DensePoseMapper(cfg, True)
        want, got = (
            mapper({**record, "annotations": a})["instances"].gt_boxes.tensor
            for a in (record["annotations"], corners)
        )
        torch.testing.assert_close(got, want)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # in fvcore
def test_a_vertical_flip_is_a_horizontal_one_turned_by_half(cfg: CfgNode):
    cfg.MODEL.KEYPOINT_ON = True
    record = DatasetCatalog.get("tiny")[0]
    mapped = []
    for direction in ("horizontal", "vertical"):
        cfg.INPUT.RANDOM_FLIP = direction
        mapper = DensePoseMapper(cfg, True)
        mapper.augmentations.augs[-1].prob = 1.0
        mapped.append(mapper(record))
    across, down = (m["instances"] for m in mapped)
    assert torch.equal(mapped[0]["image"].flip(1, 2), mapped[1]["image"])
    assert torch.equal(across.gt_densepose.part, down.gt_densepose.part)
    torch.testing.assert_close(across.gt_densepose.uv, down.gt_densepose.uv)
    height, width = across.image_size
    turned = torch.tensor([width, height]) - down.gt_keypoints.tensor[..., :2]
    seen = across.gt_keypoints.tensor[..., 2] > 0
    torch.testing.assert_close(across.gt_keypoints.tensor[..., :2][seen], turned[seen])


def test_the_size_of_a_test_image_is_that_of_the_config(cfg: CfgNode):
    cfg.INPUT.MIN_SIZE_TEST = 60
    got = DensePoseMapper(cfg, is_train=False)(DatasetCatalog.get("tiny")[0])
    assert got["image"].shape == (3, 60, 80) and "instances" not in got


def test_flips_on_smpl_need_its_map(cfg: CfgNode, tmp_path: Path):
    cfg.DATASETS.TRAIN = ("tiny_smpl",)
    cfg.DATASETS.SMPL_DIR = str(tmp_path)
    with pytest.raises(InputError, match="or train without flips: INPUT.RANDOM_FLIP none"):
        DensePoseMapper(cfg, is_train=True)
    cfg.INPUT.RANDOM_FLIP = "none"
    assert DensePoseMapper(cfg, is_train=True).symmetry is None
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    cells = np.empty((1, 24), object)
    cells[0] = [np.full((256, 256), 0.25)] * 24
    savemat(tmp_path / "UV_symmetry_transforms.mat", {"U_transforms": cells, "V_transforms": cells})
    mapper = DensePoseMapper(cfg, is_train=True)
    mapper.augmentations = T.AugmentationList([T.RandomFlip(prob=1.0)])
    truth = mapper(training_records(cfg)[0])["instances"].gt_densepose
    torch.testing.assert_close(truth.uv, torch.full_like(truth.uv, 0.25))


def test_one_model_learns_one_surface(cfg: CfgNode):
    cfg.DATASETS.TRAIN = ("tiny", "tiny_smpl")
    with pytest.raises(InputError, match="DATASETS.TRAIN mixes surfaces"):
        DensePoseMapper(cfg, is_train=True)


def test_a_misspelt_set_is_told_before_anything_is_loaded(cfg: CfgNode):
    cfg.DATASETS.TRAIN = ("tinny",)
    for build in (training_records, lambda cfg: DensePoseMapper(cfg, is_train=True)):
        with pytest.raises(InputError, match="did you mean 'tiny'"):
            build(cfg)


def without(tiny: Tiny, folder: Path, keys: tuple[str, ...], image_ids: set[int]) -> dict[str, str]:
    """The tiny set with ``keys`` taken from everybody in some images."""
    import json

    data = json.loads(tiny[0].read_text())
    for person in data["annotations"]:
        if person["image_id"] in image_ids:
            for key in [key for key in person if key.startswith(keys)]:
                person.pop(key)
    path = folder / "changed.json"
    path.write_text(json.dumps(data))
    return {"ANNOTATIONS": str(path), "IMAGES": str(tiny[1]), "SURFACE": "template"}


def test_images_that_teach_nothing_are_left_out(cfg: CfgNode, tiny_coco: Tiny, tmp_path: Path):
    changed = without(tiny_coco, tmp_path, ("dp_",), {2, 4})
    cfg.DATASETS.REGISTER = [{"NAME": "tiny", **changed}]
    register_from_config(cfg)

    def ids() -> list[int]:
        return [record["image_id"] for record in training_records(cfg)]

    # In image 6 nobody is annotated from the start.
    assert ids() == [1, 3, 5]
    cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS = True
    assert ids() == [1, 2, 3, 4, 5, 6]
    cfg.MODEL.ROI_DENSEPOSE_HEAD.COARSE_SEGM_TRAINED_BY_MASKS = False
    cfg.MODEL.KEYPOINT_ON = True
    cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE = 18
    assert ids() == [1, 3, 5]
    cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE = 17
    assert ids() == [1, 2, 3, 4, 5, 6]
    cfg.MODEL.KEYPOINT_ON = False
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    assert ids() == [1, 2, 3, 4, 5, 6]


def test_a_set_that_teaches_nothing_is_refused(cfg: CfgNode, tiny_coco: Tiny, tmp_path: Path):
    changed = without(tiny_coco, tmp_path, ("dp_",), {1, 2, 3, 4, 5, 6})
    cfg.DATASETS.REGISTER = [{"NAME": "tiny", **changed}]
    register_from_config(cfg)
    with pytest.raises(InputError, match="tiny: none of 6 images has annotations"):
        training_records(cfg)


@pytest.mark.parametrize(
    ("switch", "key"), [("MASK_ON", "segmentation"), ("KEYPOINT_ON", "keypoints")]
)
def test_a_branch_without_any_annotation_is_refused(
    switch: str, key: str, cfg: CfgNode, tiny_coco: Tiny, tmp_path: Path
):
    changed = without(tiny_coco, tmp_path, (key,), {1, 2, 3, 4, 5, 6})
    cfg.DATASETS.REGISTER = [{"NAME": "tiny", **changed}]
    register_from_config(cfg)
    assert training_records(cfg)
    cfg.MODEL[switch] = True
    with pytest.raises(InputError, match=f"annotations of {key}, .* set MODEL.{switch} False"):
        training_records(cfg)
