"""Refuse keys about data and evaluation that cannot apply, instead of reading past them."""

from __future__ import annotations

from detectron2.config import CfgNode

from .config_bootstrap import check_bootstrap


def check_data_keys(cfg: CfgNode) -> None:
    """Raise ``ValueError`` for categories, bootstrap sets and evaluation keys that cannot apply."""
    # Not at the top, as in config_checks: reading a config does not need the data room.
    from densepose.data.category_maps import rules_from_config

    rules_from_config(cfg)
    check_bootstrap(cfg)
    _check_evaluation(cfg)
    if not cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS:
        _check_chart_model(cfg)


def _check_evaluation(cfg: CfgNode) -> None:
    keys = cfg.DENSEPOSE_EVALUATION
    if keys.STORAGE not in ("none", "ram", "file"):
        raise ValueError(
            f"DENSEPOSE_EVALUATION.STORAGE={keys.STORAGE!r}; allowed: 'none', 'ram', 'file', all of"
            " which stream to disk here"
        )
    if not 0 < keys.MIN_IOU_THRESHOLD <= 0.95:
        raise ValueError(
            f"DENSEPOSE_EVALUATION.MIN_IOU_THRESHOLD={keys.MIN_IOU_THRESHOLD} must be in (0, 0.95],"
            " usually 0.5"
        )


def _check_chart_model(cfg: CfgNode) -> None:
    """Keys of surface embeddings, which would do nothing to a chart model."""
    keys = cfg.DENSEPOSE_EVALUATION
    for key, unwanted in (
        ("DENSEPOSE_EVALUATION.TYPE", keys.TYPE == "cse"),
        ("DENSEPOSE_EVALUATION.EVALUATE_MESH_ALIGNMENT", keys.EVALUATE_MESH_ALIGNMENT),
        ("DENSEPOSE_EVALUATION.MESH_ALIGNMENT_MESH_NAMES", keys.MESH_ALIGNMENT_MESH_NAMES),
        ("DATASETS.CLASS_TO_MESH_NAME_MAPPING", cfg.DATASETS.CLASS_TO_MESH_NAME_MAPPING),
    ):
        if unwanted:
            raise ValueError(
                f"{key} is set, but it is about surface embeddings and"
                " MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS names none; take the key out"
            )
