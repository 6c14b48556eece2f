"""Every key of detectron2's config is read by what runs here, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer

from densepose.config import check_config, load_config
from densepose.config.checks import WITHOUT_EFFECT
from densepose.data.mapper import DensePoseMapper
from densepose.data.registration import register_from_config
from densepose.engine import loaders
from densepose.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"
# Read by the training loop and its set-up, which have tests of their own.
LOOP = {
    *("VERSION", "SEED", "CUDNN_BENCHMARK", "OUTPUT_DIR", "MODEL.WEIGHTS"),
    *("SOLVER.REFERENCE_WORLD_SIZE", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.AMP.ENABLED"),
    *("TEST.EXPECTED_RESULTS", "TEST.EVAL_PERIOD", "TEST.AUG.ENABLED", "TEST.AUG.MIN_SIZES"),
    *("TEST.AUG.MAX_SIZE", "TEST.AUG.FLIP", "TEST.PRECISE_BN.ENABLED", "TEST.PRECISE_BN.NUM_ITER"),
    *("DATASETS.TEST", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE"),
    *("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "SOLVER.CLIP_GRADIENTS.NORM_TYPE"),
}


def leaves(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@contextmanager
def keys_read(found: set[str]) -> Iterator[None]:
    """Within the block, full names of keys that are read as attributes of a config are noted."""
    prefixes: dict[int, str] = {}
    original: Callable[[CfgNode, str], Any] = CfgNode.__getattr__

    def noted(node: CfgNode, name: str) -> Any:
        value = original(node, name)
        prefix = "" if "SOLVER" in node.keys() else prefixes.get(id(node), "?.")
        if isinstance(value, CfgNode):
            prefixes[id(value)] = f"{prefix}{name}."
        found.add(prefix + name)
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CfgNode, "__getattr__", noted)
        yield


def plain(*opts: object) -> CfgNode:
    """detectron2's own models: no DensePose branch."""
    words = ["MODEL.DENSEPOSE_ON", False, "MODEL.DEVICE", "cpu", "MODEL.RESNETS.DEPTH", 18]
    words += ["MODEL.RESNETS.RES2_OUT_CHANNELS", 64, *opts]
    cfg = load_config(None, [str(word) for word in words])
    check_config(cfg)
    return cfg


@pytest.fixture
def data(tiny_coco: tuple[Path, Path]) -> Iterator[CfgNode]:
    """A config with a registered data set."""
    paths = {"ANNOTATIONS": str(tiny_coco[0]), "IMAGES": str(tiny_coco[1]), "SURFACE": "template"}
    data = load_config(str(CONFIGS / "multitask_cpu.yaml"), ["DATASETS.TRAIN", "('tiny_keys',)"])
    data.DATASETS.REGISTER = [{"NAME": "tiny_keys", **paths}]
    register_from_config(data)
    # The federated loss counts the images of each class.
    counts = [{"id": number, "image_count": 9} for number in range(1, 81)]
    MetadataCatalog.get("tiny_keys").class_image_count = counts
    yield data
    DatasetCatalog.remove("tiny_keys")
    MetadataCatalog.remove("tiny_keys")


def test_every_key_is_read_or_refused(data: CfgNode):
    found: set[str] = set()
    levels = ["p2", "p3", "p4", "p5"]
    stages = ["res2", "res3", "res4", "res5"]
    pyramid = ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.FPN.IN_FEATURES", stages]
    pyramid += ["MODEL.RESNETS.OUT_FEATURES", stages]
    heads = ["MODEL.ROI_HEADS.IN_FEATURES", levels, "MODEL.RPN.IN_FEATURES", levels]
    heads += ["MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", 1]
    branches = ["MODEL.MASK_ON", True, "MODEL.KEYPOINT_ON", True]
    retina = [*pyramid, "MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.BACKBONE.NAME"]
    retina += ["build_retinanet_resnet_fpn_backbone", "MODEL.FPN.IN_FEATURES", stages[1:]]
    cascade = [*pyramid, *heads, "MODEL.ROI_HEADS.NAME", "CascadeROIHeads"]
    cascade += ["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True]
    federated = ["MODEL.ROI_BOX_HEAD.USE_FED_LOSS", True, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True]
    federated += ["DATASETS.TRAIN", ("tiny_keys",)]
    models = (
        plain(*pyramid, *heads, *branches, *federated, "MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
        plain(*cascade),
        plain(*retina),
    )
    data.INPUT.CROP.ENABLED = True
    fed = data.clone()
    fed.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    with keys_read(found):
        built = [build_model(cfg) for cfg in models]
        for cfg in (data, fed):
            next(iter(loaders.build_train_loader(cfg).batch_sampler))
        loaders.build_test_loader(data, "tiny_keys")
        DensePoseMapper(data, is_train=False)
        for name in ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR"):
            cfg = plain("SOLVER.LR_SCHEDULER_NAME", name)
            build_lr_scheduler(cfg, build_optimizer(cfg, built[0]))
    refused = {
        key for key in leaves(get_cfg()) if key.startswith(tuple(f"{k}." for k in WITHOUT_EFFECT))
    } | {key for key in leaves(get_cfg()) if key in WITHOUT_EFFECT}
    assert set(leaves(get_cfg())) - found - LOOP - refused == set()


@pytest.mark.parametrize("key", sorted(WITHOUT_EFFECT))
def test_a_key_without_effect_is_refused_by_name(key: str):
    cfg = plain()
    leaf = next(k for k in leaves(get_cfg()) if k == key or k.startswith(f"{key}."))
    *parts, name = leaf.split(".")
    node = cfg
    for part in parts:
        node = node[part]
    value = node[name]
    node[name] = (not value) if isinstance(value, bool) else value * 2 or ["a"]
    with pytest.raises(InputError, match=re.escape(key) + ".* has no effect: .*; leave it at"):
        check_config(cfg)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["MODEL.META_ARCHITECTURE", "PanopticFPN"], "META_ARCHITECTURE='PanopticFPN'; allowed"),
        (["MODEL.PROPOSAL_GENERATOR.NAME", "RRPN"], "PROPOSAL_GENERATOR.NAME='RRPN'; allowed"),
        (["DATALOADER.SAMPLER_TRAIN", "WeightedTrainingSampler"], "allowed: 'TrainingSampler'"),
        (["DATALOADER.REPEAT_THRESHOLD", "0.1"], "set SAMPLER_TRAIN to 'RepeatFactor"),
        (["SOLVER.MAX_MINUTES", "1.0", "SOLVER.WARMUP_METHOD", "constant"], "warms up linearly"),
        (["SOLVER.NESTEROV", "True", "SOLVER.OPTIMIZER", "ADAMW"], "no Nesterov momentum"),
    ],
)
def test_values_that_would_have_no_effect_are_refused(opts: list[str], message: str):
    with pytest.raises(InputError, match=message):
        plain(*opts)
