"""Learning rates that differ from layer to layer, for fine-tuning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from detectron2.config import CfgNode

from .load_report import check_prefixes, is_below

BOTTOM_UP = "backbone.bottom_up."
# The number of a stage in names of ResNets (res2), HRNets (stage2, layer1, transition1) and timm's
# models (blocks.0, stages_0, layers.0).
_STAGE = re.compile(r"(?:^|\.)(?:res|stages?|layers?|blocks|transition)[._]?(\d+)(?:\.|$)")
STEM = -1


def rate_factor(cfg: CfgNode, names: Iterable[str]) -> Callable[[str], float]:
    """The function that gives the learning rate of a parameter as a multiple of SOLVER.BASE_LR.

    It is the factor of the longest fitting prefix in SOLVER.LR_FACTORS, and in the backbone times
    SOLVER.BACKBONE_LR_FACTOR and times SOLVER.LAYER_LR_DECAY ** k in the k-th stage from the top;
    for a bias also times SOLVER.BIAS_LR_FACTOR.

    Args:
        cfg: the config.
        names: of all parameters of the model, frozen ones too.

    Raises:
        ValueError: a factor is not positive, a prefix names nothing, a pair is no pair, or the
            decay is not in (0, 1].
    """
    solver = cfg.SOLVER
    names = list(names)
    factors = _checked_factors(solver.LR_FACTORS, names)
    decay = _checked_decay(solver.LAYER_LR_DECAY)
    height = stage_heights(names)

    def factor(name: str) -> float:
        fitting = [prefix for prefix in factors if is_below(name, prefix)]
        found = factors[max(fitting, key=len)] if fitting else 1.0
        if name.startswith(BOTTOM_UP):
            found *= solver.BACKBONE_LR_FACTOR * decay ** height[name]
        return found * solver.BIAS_LR_FACTOR if name.endswith(".bias") else found

    return factor


def stage_heights(names: Iterable[str]) -> dict[str, int]:
    """For each parameter of the backbone, how far from the top its stage is; 1 is the last stage.

    What belongs to no numbered stage is the stem, which lies below all.
    """
    stage = {
        name: _stage(name.removeprefix(BOTTOM_UP)) for name in names if name.startswith(BOTTOM_UP)
    }
    order = sorted(set(stage.values()), reverse=True)
    return {name: order.index(number) + 1 for name, number in stage.items()}


def _stage(name: str) -> int:
    found = _STAGE.search(name)
    return int(found[1]) if found else STEM


def _checked_factors(pairs: Sequence[Sequence[object]], names: Sequence[str]) -> dict[str, float]:
    key, factors = "SOLVER.LR_FACTORS", {}
    for pair in pairs:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"{key}: expected [prefix, factor] pairs, got {pair!r}")
        prefix, value = pair
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            raise ValueError(
                f"{key}: the factor of {prefix!r} is {value!r}, expected a number above 0; to keep"
                " weights as they are name them in MODEL.FINE_TUNE.FREEZE"
            )
        factors[prefix] = float(value)
    check_prefixes(key, factors, names)
    return factors


def _checked_decay(decay: float) -> float:
    if not 0 < decay <= 1:
        raise ValueError(f"SOLVER.LAYER_LR_DECAY={decay} must lie above 0 and not above 1")
    return decay
