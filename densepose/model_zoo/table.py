"""The chart models that detectron2's DensePose released: where they are and what they score.

Figures are those of the release (detectron2, projects/DensePose, doc/DENSEPOSE_IUV.md), in percent;
none of them was measured here. Sizes and hashes were not published with it: unknown is None. Which
hash the six digits in a file's name were taken from is not said either, so they are not checked.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TypeAlias

SCHEME = "zoo://"
BASE_URL = "https://dl.fbaipublicfiles.com/densepose/"
MIRROR = "DENSEPOSE_ZOO_URL"  # environment variable: another place of the same files
COCO_TRAIN = ("densepose_coco_2014_train", "densepose_coco_2014_valminusminival")


@dataclass(frozen=True, kw_only=True)
class ReleasedModel:
    """One file of weights. Average precision in percent; None where it is not known."""

    name: str  # "R_50_FPN_s1x"
    config: str  # name of the shipped config, see densepose.config.find_config
    path: str  # of the file, below BASE_URL
    model_id: str  # of the release
    licence: str = "CC BY-SA 3.0"
    licence_url: str = "https://creativecommons.org/licenses/by-sa/3.0/"
    size_bytes: int | None = None
    sha256: str | None = None
    trained_on: tuple[str, ...] = COCO_TRAIN
    tested_on: str = "densepose_coco_2014_minival"
    box_ap: float | None = None
    mask_ap: float | None = None  # of the figure against the background
    gps_ap: float | None = None  # constants of the 2018 challenge
    gpsm_ap: float | None = None
    train_seconds_per_iteration: float | None = None  # 8 GPUs, 16 images
    test_seconds_per_image: float | None = None
    train_memory_gb: float | None = None

    @property
    def file_name(self) -> str:
        """Last part of ``path``."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where to fetch it; $DENSEPOSE_ZOO_URL names a mirror."""
        return os.environ.get(MIRROR, BASE_URL).rstrip("/") + "/" + self.path


def find(name: str) -> ReleasedModel:
    """The model of a name, with or without ``zoo://``, or of its config or file.

    Raises:
        KeyError: there is none; the message has the nearest names.
    """
    key = name.removeprefix(SCHEME).removeprefix("configs/").removesuffix(".yaml")
    for model in MODELS:
        if key in (model.name, model.config.removesuffix(".yaml"), model.file_name, model.path):
            return model
    names = [model.name for model in MODELS]
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {', '.join(names)}"
    raise KeyError(f"no released model is called {name!r}; {hint}")


# name, model id, digits in the file's name, seconds per training iteration, seconds per test image,
# GB of training memory, AP of boxes, masks, GPS, GPSm
_Row: TypeAlias = tuple[str, str, str, float, float, float, float, float, float, float]
_ROWS: tuple[_Row, ...] = (
    # the paper's head
    ("R_50_FPN_s1x_legacy", "164832157", "d366fa", 0.307, 0.051, 3.2, 58.1, 58.2, 52.1, 54.9),
    ("R_101_FPN_s1x_legacy", "164832182", "10af0e", 0.39, 0.063, 4.3, 59.5, 59.3, 53.2, 56.0),
    # pyramid decoder, 2 coarse channels
    ("R_50_FPN_s1x", "165712039", "162be9", 0.359, 0.066, 4.5, 61.2, 67.2, 63.7, 65.3),
    ("R_101_FPN_s1x", "165712084", "c6ab63", 0.428, 0.079, 5.8, 62.3, 67.8, 64.5, 66.2),
    # DeepLab head (DL)
    ("R_50_FPN_DL_s1x", "165712097", "0ed407", 0.392, 0.07, 6.7, 61.1, 68.3, 65.6, 66.7),
    ("R_101_FPN_DL_s1x", "165712116", "844d15", 0.478, 0.083, 7.0, 62.3, 68.7, 66.3, 67.6),
    # UV confidence: WC1 isotropic, WC2 anisotropic
    ("R_50_FPN_WC1_s1x", "173862049", "289019", 0.353, 0.064, 4.6, 60.5, 67.0, 64.2, 65.4),
    ("R_50_FPN_WC2_s1x", "173861455", "3abe14", 0.364, 0.066, 4.8, 60.7, 66.9, 64.2, 65.7),
    ("R_50_FPN_DL_WC1_s1x", "173067973", "b1e525", 0.397, 0.068, 6.7, 61.1, 68.1, 65.8, 67.0),
    ("R_50_FPN_DL_WC2_s1x", "173859335", "60fed4", 0.41, 0.07, 6.8, 60.8, 67.9, 65.6, 66.7),
    ("R_101_FPN_WC1_s1x", "171402969", "9e47f0", 0.435, 0.076, 5.7, 62.5, 67.6, 64.9, 66.3),
    ("R_101_FPN_WC2_s1x", "173860702", "5ea023", 0.45, 0.078, 5.7, 62.3, 67.6, 64.8, 66.4),
    ("R_101_FPN_DL_WC1_s1x", "173858525", "f359f3", 0.479, 0.081, 7.9, 62.0, 68.4, 66.2, 67.2),
    ("R_101_FPN_DL_WC2_s1x", "173294801", "6e1ed1", 0.491, 0.082, 7.6, 61.7, 68.3, 65.9, 67.2),
    # and segmentation confidence (M)
    ("R_50_FPN_WC1M_s1x", "217144516", "48a9d9", 0.381, 0.066, 4.8, 60.6, 66.7, 64.0, 65.4),
    ("R_50_FPN_WC2M_s1x", "216245640", "d79ada", 0.342, 0.068, 5.0, 60.7, 66.9, 64.2, 65.5),
    ("R_50_FPN_DL_WC1M_s1x", "216245703", "61971e", 0.371, 0.068, 6.0, 60.7, 68.0, 65.2, 66.7),
    ("R_50_FPN_DL_WC2M_s1x", "216245758", "7bfb43", 0.385, 0.071, 6.1, 60.8, 68.1, 65.0, 66.4),
    ("R_101_FPN_WC1M_s1x", "216453687", "0a7287", 0.423, 0.079, 5.9, 62.0, 67.3, 64.8, 66.0),
    ("R_101_FPN_WC2M_s1x", "216245682", "e354d9", 0.436, 0.08, 5.9, 62.5, 67.4, 64.5, 66.0),
    ("R_101_FPN_DL_WC1M_s1x", "216245771", "0ebeb3", 0.453, 0.079, 6.8, 62.0, 68.1, 66.4, 67.1),
    ("R_101_FPN_DL_WC2M_s1x", "216245790", "de6e7a", 0.464, 0.08, 6.9, 61.9, 68.2, 66.1, 67.1),
)
# Person and ten animal classes, class agnostic; B: students of the first. Tested on chimpanzees.
_EVOLUTION_ROWS: tuple[_Row, ...] = (
    (
        "R_50_FPN_DL_WC1M_3x_Atop10P_CA",
        "217578784",
        "9fe1cc",
        0.522,
        0.073,
        9.7,
        61.3,
        59.1,
        20.0,
        30.2,
    ),
    (
        "R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_uniform",
        "256453729",
        "241ff5",
        1.939,
        0.072,
        10.1,
        60.9,
        58.5,
        21.5,
        31.0,
    ),
    (
        "R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_uv",
        "256452095",
        "d689e2",
        1.985,
        0.072,
        9.6,
        61.4,
        58.9,
        22.2,
        32.1,
    ),
    (
        "R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_finesegm",
        "256452819",
        "cb4ac6",
        2.047,
        0.072,
        10.3,
        60.9,
        58.5,
        20.7,
        30.7,
    ),
    (
        "R_50_FPN_DL_WC1M_3x_Atop10P_CA_B_coarsesegm",
        "256455697",
        "a6a4bf",
        1.83,
        0.07,
        9.6,
        61.3,
        59.2,
        21.5,
        31.6,
    ),
)


def _model(row: _Row, stem: str) -> ReleasedModel:
    name, model_id, digits, train_s, test_s, memory, box, mask, gps, gpsm = row
    is_evolution = stem.startswith("evolution/")
    return ReleasedModel(
        name=name,
        config=f"{stem}{name}.yaml",
        path=f"{stem}{name}/{model_id}/model_final_{digits}.pkl",
        model_id=model_id,
        # The evolution configs name their own training sets; the release names none beside them.
        trained_on=() if is_evolution else COCO_TRAIN,
        tested_on="densepose_chimps" if is_evolution else "densepose_coco_2014_minival",
        box_ap=box,
        mask_ap=mask,
        gps_ap=gps,
        gpsm_ap=gpsm,
        train_seconds_per_iteration=train_s,
        test_seconds_per_image=test_s,
        train_memory_gb=memory,
    )


MODELS: tuple[ReleasedModel, ...] = (
    *(_model(row, "densepose_rcnn_") for row in _ROWS),
    *(_model(row, "evolution/densepose_") for row in _EVOLUTION_ROWS),
)
