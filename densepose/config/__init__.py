"""Config keys (``keys``), their allowed values (``checks``), files and words (``loading``)."""

from .checks import SAMPLERS, check_config, has_given_boxes, is_dp_fcn
from .keys import add_densepose_config, bootstrap_entries, get_densepose_cfg
from .loading import (
    config_dir,
    config_names,
    find_config,
    is_meant_as_key,
    load_config,
    nearest_keys,
    unknown_key,
)

__all__ = [
    "SAMPLERS",
    "add_densepose_config",
    "bootstrap_entries",
    "check_config",
    "config_dir",
    "config_names",
    "find_config",
    "get_densepose_cfg",
    "has_given_boxes",
    "is_dp_fcn",
    "is_meant_as_key",
    "load_config",
    "nearest_keys",
    "unknown_key",
]
