"""What each key may hold: values of its default's type, in a range that follows from its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch

from detectron2.config import CfgNode
from detectron2.layers.batch_norm import get_norm

_LARGEST = 2**31 - 1  # of whole numbers; libraries keep them in 32 bits
# Elements of lists that are empty by default.
_ELEMENTS: dict[str, tuple[type, ...]] = {
    "MODEL.FPN.IN_FEATURES": (str,),
    "MODEL.FINE_TUNE.EXCLUDE": (str,),
    "MODEL.FINE_TUNE.FREEZE": (str,),
    "DATASETS.TRAIN": (str,),
    "DATASETS.TEST": (str,),
    "DATASETS.REGISTER": (Mapping,),
    "BOOTSTRAP_DATASETS": (Mapping,),
    "TEST.AUG.ROTATION_ANGLES": (int, float),
    "TEST.EXPECTED_RESULTS": (list, tuple),
}
_FRACTIONAL = ("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ANGLES")
_FRACTIONAL += ("INPUT.ROTATION_ANGLES",)


class Rule(NamedTuple):
    """What the value of one key may be."""

    text: str  # behind "allowed: "
    holds: Callable[[Any], bool]


def one_of(*values: Any) -> Rule:
    """Any of some values."""
    return Rule(", ".join(map(repr, values)), lambda value: value in values)


def none_of(*values: str) -> Rule:
    """Anything but some of detectron2's classes."""
    text = f"other than {', '.join(map(repr, values))}, whose inputs this package does not read"
    return Rule(text, lambda value: value not in values)


def list_of(*values: str) -> Rule:
    """A list of some of these words."""
    return Rule(f"a list of {', '.join(map(repr, values))}", lambda given: set(given) <= {*values})


def between(low: float, high: float = math.inf, *, low_too: bool = True) -> Rule:
    """From ``low``, which is allowed itself if ``low_too``, up to ``high``."""
    limit = f" to {high}" if high < math.inf else " or more" if low_too else ""
    text = f"{low}{limit}" if low_too else f"above {low}{limit}"
    return Rule(text, lambda value: (low < value or (low_too and low == value)) and value <= high)


def _is_norm(name: str) -> bool:
    try:
        get_norm(name, 32)
    except KeyError:
        return False
    return True


def _is_device(name: str) -> bool:
    try:
        return name == "auto" or bool(torch.device(name))
    except RuntimeError:
        return False


POSITIVE = between(0, low_too=False)
ANYTHING = Rule("anything", lambda value: True)
# Of every number or word in a value the first rule counts that has a fitting pattern.
RANGES: tuple[tuple[Rule, str], ...] = (
    (
        ANYTHING,
        "SEED GLOBAL.HACK *.BOUNDARY_THRESH *.PIXEL_MEAN *ANGLES DATASETS.REGISTER"
        " BOOTSTRAP_DATASETS TEST.EXPECTED_RESULTS SOLVER.LR_FACTORS",
    ),
    (one_of(-1, 0, 1), "*.IOU_LABELS"),
    (Rule("-1 or 1 or more", lambda n: n == -1 or n >= 1), "*RPN.CONV_DIMS"),
    (Rule("-1 or 1 or more", lambda n: n == -1 or n >= 1), "*.DETECTIONS_PER_IMAGE"),
    (one_of(18, 34, 50, 101, 152), "*.RESNETS.DEPTH"),
    (one_of(0, 1), "*.NONLOCAL_ON"),
    (Rule("above 0 and below 1", lambda p: 0 < p < 1), "*.PRIOR_PROB"),
    (Rule("from 0 to below 1", lambda p: 0 <= p < 1), "SOLVER.MOMENTUM INPUT.COLOR_JITTER"),
    (between(0), "*WEIGHT_DECAY*"),
    (between(0, 1), "*IOU* *THRESH* *_FRACTION *.WARMUP_FACTOR *.FOCAL_LOSS_ALPHA"),
    (
        POSITIVE,
        "*.BASE_LR *.PIXEL_STD *.ASPECT_RATIOS *.SIZES *.CLIP_VALUE *.NORM_TYPE *.BBOX_REG_WEIGHTS"
        " *.GAMMA INPUT.CROP.SIZE",
    ),
    (
        between(1),
        "*_DIM *CONV*_DIM* *_CHANNELS *_INPLANES *NUM_CLASSES *NUM_PATCHES *_RESOLUTION *KERNEL"
        " *UP_SCALE *HEATMAP_SIZE *COMMON_STRIDE *NUM_GROUPS *WIDTH_PER_GROUP *DILATION"
        " *NUM_CHANNELS *BATCH_SIZE_PER_IMAGE *MAX_ITER"
        " *IMS_PER_BATCH *TOPK* *MAX_SIZE* *MIN_SIZE_TRAIN *MIN_SIZES *CROP_SIZE *BOX_MAP_SIZE"
        " LOG_PERIOD *NUM_DECAYS *NUM_ITER *NUM_KEYPOINTS",
    ),
    (between(1, 1000), "*NUM_CONVS *NUM_MODULES *NUM_BRANCHES *NUM_BLOCKS"),
    (between(0, 1000), "*NUM_CONV *NUM_FC *NUM_STACKED_CONVS"),
    (one_of("", "GN"), "*.DEEPLAB.NORM"),
    (one_of("FrozenBN", "BN", "SyncBN"), "*.TIMM.NORM"),
    (Rule("a norm of detectron2: '', 'BN', 'SyncBN', 'FrozenBN', 'GN', ...", _is_norm), "*NORM"),
    (Rule("a device such as 'cuda', 'cuda:1' or 'cpu'", _is_device), "*.DEVICE"),
    (one_of("ROIPool", "ROIAlign", "ROIAlignV2"), "MODEL.ROI_BOX_HEAD.POOLER_TYPE"),
    (one_of("", "ROIPool", "ROIAlign", "ROIAlignV2"), "*.POOLER_TYPE"),
    (one_of("smooth_l1", "giou", "diou", "ciou"), "*.BBOX_REG_LOSS_TYPE"),
    (one_of("sum", "avg"), "*.FUSE_TYPE"),
    (one_of("BASIC", "BOTTLENECK"), "*.HRNET.*.BLOCK"),
    (one_of("horizontal", "vertical", "none"), "*.RANDOM_FLIP"),
    (one_of("choice", "range"), "*.MIN_SIZE_TRAIN_SAMPLING"),
    (one_of("relative", "relative_range", "absolute", "absolute_range"), "INPUT.CROP.TYPE"),
    (one_of("BGR", "RGB", "L", "YUV-BT.601"), "INPUT.FORMAT"),
    (one_of("constant", "linear"), "*.WARMUP_METHOD"),
    (
        one_of("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR"),
        "*.LR_SCHEDULER_NAME",
    ),
    (Rule("0 or more", lambda value: isinstance(value, str) or value >= 0), "*"),
)


def type_problem(key: str, value: Any, default: Any) -> str:
    """What is wrong with the type of a value, to stand behind ``KEY=value``; empty if nothing is.

    Args:
        key: its dotted name.
        value: as yacs decodes it.
        default: of the key, whose type counts.
    """
    if isinstance(default, CfgNode):
        return "" if isinstance(value, Mapping) else "is a section; give its keys below it"
    if value is None:
        return "" if default is None else f"is no value; the default is {default!r}"
    kinds, values = _kinds(key, default), [value]
    if isinstance(default, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            return f"must be a list; the default is {default!r}"
        nested = any(isinstance(inner, (list, tuple)) for inner in default)
        values = list(_items(value)) if nested else list(value)
    for item in values:
        if kinds and not _is_a(item, kinds):
            wrong = "" if item is value else f"holds {item!r}, which "
            names = " or ".join(kind.__name__ for kind in kinds)
            return f"{wrong}is not of the type {names}; the default is {default!r}"
        if any(isinstance(n, float) and not math.isfinite(n) for n in _items(item)):
            return "is not a finite number"
        if any(isinstance(n, int) and abs(n) > _LARGEST for n in _items(item)):
            return f"is out of range; whole numbers go up to {_LARGEST}"
    return ""


def _kinds(key: str, default: Any) -> tuple[type, ...]:
    """Types of a value, or of the elements of a list; none: not checked here."""
    if isinstance(default, (list, tuple)) and not default:
        return _ELEMENTS.get(key, ())
    found = {type(item) for item in _items(default)}
    return (int, float) if default is None or float in found or key in _FRACTIONAL else (*found,)


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    # A bool is an int for Python, but not for a config.
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _items(value: Any) -> Iterator[Any]:
    """A value, or the values in nested lists."""
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _items(inner)
    else:
        yield value


def range_problem(key: str, value: Any) -> str:
    """``KEY=value; allowed: ...`` where the range of the key has no such value; else empty."""
    rule = next(
        rule
        for rule, patterns in RANGES
        if any(fnmatchcase(key, pattern) for pattern in patterns.split())
    )
    items = [item for item in _items(value) if isinstance(item, (int, float, str))]
    return "" if all(map(rule.holds, items)) else f"{key}={value!r}; allowed: {rule.text}"


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested mappings; an empty mapping counts as a value."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{name}.")
        else:
            yield name, value
