"""The chart models that detectron2's DensePose released: where they are and what they score.

``assets/models.csv`` has one line a model. Figures are those of the release (detectron2,
projects/DensePose, doc/DENSEPOSE_IUV.md), in percent; none of them was measured here. Sizes and
hashes were not published with it. Which hash the six digits in a file's name were taken from is
not said either, so they are not checked.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from densepose.errors import InputError
from densepose.files import did_you_mean

SCHEME = "zoo://"
BASE_URL = "https://dl.fbaipublicfiles.com/densepose/"
MIRROR = "DENSEPOSE_ZOO_URL"  # environment variable: another place of the same files
LICENCE = "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/)"
_TEXT = ("name", "config", "path", "tested_on")


@dataclass(frozen=True, kw_only=True)
class ReleasedModel:
    """One file of weights. Average precision in percent."""

    name: str  # "R_50_FPN_s1x"
    config: str  # name of the shipped config, see densepose.config.find_config
    path: str  # of the file, below BASE_URL
    tested_on: str = "densepose_coco_2014_minival"
    box_ap: float | None = None
    mask_ap: float | None = None  # of the figure against the background
    gps_ap: float | None = None  # constants of the 2018 challenge
    gpsm_ap: float | None = None
    train_seconds_per_iteration: float | None = None  # 8 GPUs, 16 images
    test_seconds_per_image: float | None = None
    train_memory_gb: float | None = None
    licence: str = LICENCE

    @property
    def file_name(self) -> str:
        """Last part of ``path``."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where to download it; $DENSEPOSE_ZOO_URL names a mirror."""
        return os.environ.get(MIRROR, BASE_URL).rstrip("/") + "/" + self.path


def _read_models() -> tuple[ReleasedModel, ...]:
    with open(Path(__file__).parent / "assets" / "models.csv", encoding="utf-8") as file:
        return tuple(
            ReleasedModel(**{k: v if k in _TEXT else float(v) for k, v in row.items()})
            for row in csv.DictReader(file)
        )


MODELS = _read_models()


def is_name(name: str) -> bool:
    """Whether a released model has exactly this name, and no file of this name lies here."""
    return any(name == model.name for model in MODELS) and not Path(name).exists()


def find(name: str) -> ReleasedModel:
    """The model of a name, with or without ``zoo://``, or of its config or file.

    Raises:
        InputError: there is none; the message has the nearest names.
    """
    key = name.removeprefix(SCHEME).removeprefix("configs/").removesuffix(".yaml")
    for model in MODELS:
        if key in (model.name, model.config.removesuffix(".yaml"), model.file_name, model.path):
            return model
    names = [model.name for model in MODELS]
    hint = did_you_mean(key, names, count=3) or f"; known are {', '.join(names)}"
    raise InputError(f"no released model is called {name!r}{hint}")
