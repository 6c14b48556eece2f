"""Which left-right map a horizontal flip needs for the data sets of a config."""

from __future__ import annotations

from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from densepose.surface.evaluation_surface import is_own_surface
from densepose.surface.official.charts import SYMMETRY_FILE, load_uv_symmetry
from densepose.surface.own.surface_file import read_own_surface
from densepose.surface.symmetry import ChartSymmetry, template_symmetry

from .registration import SURFACES, require_registered, smpl_dir


def symmetry_from_config(cfg: CfgNode) -> ChartSymmetry | None:
    """Left-right map of the surface that DATASETS.TRAIN are annotated on; None if they are on none.

    Raises:
        KeyError: a data set is not registered.
        ValueError: the data sets are annotated on different surfaces.
        FileNotFoundError: the map of the SMPL surface is not there.
    """
    require_registered(cfg.DATASETS.TRAIN)
    surfaces = {name: MetadataCatalog.get(name).get("surface") for name in cfg.DATASETS.TRAIN}
    annotated = sorted({surface for surface in surfaces.values() if surface is not None})
    if len(annotated) > 1:
        raise ValueError(
            f"DATASETS.TRAIN mixes surfaces: {surfaces}; parts and (U, V) of one model mean places"
            " on one body surface"
        )
    return load_symmetry(annotated[0], smpl_dir(cfg)) if annotated else None


def load_symmetry(surface: str, smpl_folder: Path) -> ChartSymmetry:
    """Left-right map of a surface.

    Args:
        surface: one of ``registration.SURFACES``, or a file of densepose build-surface.
        smpl_folder: folder of UV_symmetry_transforms.mat; read for "smpl_27554" only.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: an unknown surface, one without left and right, or the file is damaged.
    """
    if is_own_surface(surface):
        symmetry = read_own_surface(surface).symmetry
        if symmetry is None:
            raise ValueError(
                f"{surface}: has no left and right, so images cannot be flipped; train with"
                " INPUT.RANDOM_FLIP none, or build it again from a symmetric pose"
            )
        return symmetry
    if surface == "template":
        return template_symmetry()
    if surface != "smpl_27554":
        raise ValueError(f"surface must be one of {SURFACES}, got {surface!r}")
    path = smpl_folder / SYMMETRY_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: flipped images need this file for data sets annotated on SMPL; it is part of"
            " densepose_uv_data.tar.gz (datasets/README.md). Set DATASETS.SMPL_DIR to its folder,"
            " or train without flips: INPUT.RANDOM_FLIP none"
        )
    return load_uv_symmetry(path)
