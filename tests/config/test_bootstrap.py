"""Entries of BOOTSTRAP_DATASETS, and keys of data and evaluation that cannot apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detectron2.config import CfgNode

from densepose.config import bootstrap_entries, check_config, load_config
from densepose.errors import InputError

S1X = str(Path(__file__).parents[2] / "configs" / "densepose_rcnn_R_50_FPN_s1x.yaml")
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"


def entry(**changes: Any) -> dict[str, Any]:
    """An entry that is in order; ``a__b=1`` changes its key A.B."""
    given: dict[str, Any] = {
        "DATASET": "chimpnsee",
        "IMAGE_LOADER": {"TYPE": "video_keyframe"},
        "DATA_SAMPLER": {"TYPE": "densepose_uniform"},
        "FILTER": {"TYPE": "detection_score"},
    }
    for key, value in changes.items():
        *parents, leaf = key.upper().split("__")
        node = given
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return given


def config(*entries: Any, **opts: Any) -> CfgNode:
    words = [word for key, value in opts.items() for word in (key.replace("__", "."), str(value))]
    cfg = load_config(S1X, ["BOOTSTRAP_MODEL.WEIGHTS", "teacher.pth", *words])
    cfg.BOOTSTRAP_DATASETS = list(entries)
    return cfg


def test_what_an_entry_leaves_out_has_defaults():
    (full,) = bootstrap_entries(config(entry(ratio=1.0, inference__input_batch_size=1)))
    assert (full.RATIO, full.INFERENCE.INPUT_BATCH_SIZE) == (1.0, 1)
    assert full.DATA_SAMPLER.COUNT_PER_CLASS == 8 and not full.DATA_SAMPLER.MOST_CONFIDENT
    assert full.FILTER.MIN_VALUE == 0.8
    assert full.IMAGE_LOADER.TRANSFORM == {"TYPE": "resize", "MIN_SIZE": 800, "MAX_SIZE": 1333}
    assert full.IMAGE_LOADER.SELECT == {"STRATEGY": "random_k", "NUM_IMAGES": 4}
    assert bootstrap_entries(config()) == []


def test_entries_that_are_in_order_pass():
    check_config(config(entry(), entry(image_loader__type="image_folder", image_loader__path="x")))
    check_config(
        config(
            entry(data_sampler__type="densepose_UV_confidence"),
            **{f"{HEAD}.UV_CONFIDENCE.ENABLED": True},
        )
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image_loader__typ": 1}, r"BOOTSTRAP_DATASETS\[1\]: .*IMAGE_LOADER.typ|IMAGE_LOADER.TYP"),
        ({"image_loader__type": "webcam"}, "IMAGE_LOADER.TYPE='webcam'; allowed: 'video_keyframe'"),
        ({"image_loader__select__strategy": "best"}, "STRATEGY='best'; allowed: 'random_k'"),
        ({"image_loader__transform__type": "crop"}, "TRANSFORM.TYPE='crop'; allowed: 'resize'"),
        ({"data_sampler__type": "densepose_cse_uniform"}, "allowed: 'densepose_uniform', 'densepo"),
        ({"filter__type": "size"}, "FILTER.TYPE='size'; allowed: 'detection_score'"),
        ({"ratio": 0.0}, "RATIO=0.0; allowed: above 0"),
        ({"ratio": "much"}, r"BOOTSTRAP_DATASETS\[1\]: .*RATIO"),
        ({"data_sampler__count_per_class": 0}, "COUNT_PER_CLASS=0; allowed: above 0"),
        ({"image_loader__categories": ["ape"]}, "CATEGORIES=.*about surface embeddings"),
        (
            {"data_sampler__use_ground_truth_categories": True},
            "about surface embeddings",
        ),
        ({"data_sampler__type": "densepose_UV_confidence"}, "UV_CONFIDENCE.ENABLED True, in this"),
        ({"data_sampler__type": "densepose_fine_segm_confidence"}, "SEGM_CONFIDENCE.ENABLED True"),
        ({"data_sampler__most_confident": True}, "MOST_CONFIDENT is about segmentation confiden"),
    ],
)
def test_wrong_entries_are_refused_by_name(changes: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        check_config(config(entry(), entry(**changes)))


@pytest.mark.parametrize(
    ("opts", "told"),
    [
        ({"BOOTSTRAP_MODEL.WEIGHTS": ""}, "WEIGHTS=''.*: the teacher is untrained"),
        ({"MODEL.KEYPOINT_ON": True}, "no keypoints; set"),
        ({"MODEL.DENSEPOSE_ON": False}, "set DENSEPOSE_ON to True"),
        ({f"{HEAD}.NUM_PATCHES": 12}, "and NUM_PATCHES to 24"),
        ({"DENSEPOSE_EVALUATION.TYPE": "cse"}, "TYPE='cse'; allowed: 'iou'"),
        ({"DENSEPOSE_EVALUATION.EVALUATE_MESH_ALIGNMENT": True}, "is about surface embeddings"),
        ({"DENSEPOSE_EVALUATION.MESH_ALIGNMENT_MESH_NAMES": ["cat"]}, "about surface embeddings"),
        ({"DENSEPOSE_EVALUATION.STORAGE": "tape"}, "STORAGE='tape'; allowed"),
        (
            {"DENSEPOSE_EVALUATION.MIN_IOU_THRESHOLD": 0.96},
            "=0.96; allowed: above 0 to 0.95",
        ),
    ],
)
def test_keys_that_cannot_apply_are_refused(opts: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        check_config(config(entry(), **opts))


def test_meshes_of_classes_are_refused_without_embeddings():
    cfg = config()
    cfg.DATASETS.CLASS_TO_MESH_NAME_MAPPING = CfgNode({"0": "smpl_27554"})
    with pytest.raises(InputError, match="CLASS_TO_MESH_NAME_MAPPING=.*about surf"):
        check_config(cfg)


def test_rules_of_categories_are_checked():
    cfg = config()
    cfg.DATASETS.WHITELISTED_CATEGORIES = CfgNode({"some_set": "cat"})
    with pytest.raises(InputError, match="WHITELISTED_CATEGORIES.some_set must be a list of categ"):
        check_config(cfg)


def test_an_entry_that_is_no_mapping_is_refused():
    with pytest.raises(InputError, match=r"BOOTSTRAP_DATASETS\[0\] must be a mapping"):
        check_config(config("chimpnsee"))
