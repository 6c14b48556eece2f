"""The demo: synthetic people, a training on CPU, scores before and after, a page; in one folder.

Every stage is the verb that a user would call (``make-data``, ``evaluate``, ``train``); a stage
that is finished is not repeated, so that an interrupted demo goes on where it stopped.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rich.console import Console

from densepose.cli import evaluate, make_data, train
from densepose.cli.parser import VerbParser
from densepose.config import find_config
from densepose.files import to_json, write_text
from densepose.surface.geodesics import template_geodesics

from .page import TRAIN, VAL, write_page

console = Console(stderr=True)
FINE_TUNE = "cpu/fine_tune.yaml"
FROM_SCRATCH = "cpu/densepose_rcnn.yaml"


@dataclass(frozen=True)
class DemoSettings:
    """Where the demo goes and how much it does."""

    folder: str | Path
    minutes: float = 4.0
    num_train: int = 600
    num_val: int = 100
    image_size: int = 320
    seed: int = 0
    config_file: str = ""
    weights: str = "shipped://"  # where the training starts; "" from scratch
    camera: str = "night"  # of the images, as for make-data: one that the weights have not seen

    @property
    def data(self) -> Path:
        """Folder of the synthetic set; another one for other settings."""
        size = f"{self.num_train}_{self.num_val}_{self.image_size}px"
        return Path(self.folder) / f"data_{self.camera}_{size}_seed{self.seed}"

    @property
    def before(self) -> Path:
        """Folder of the evaluation of the weights the training starts from."""
        return self.data.with_name(self.data.name.replace("data", "before", 1))

    @property
    def model(self) -> Path:
        """Folder of the training; another one for other data, another time or another start."""
        start = "model" if self.weights else "model_from_scratch"
        name = self.data.name.replace("data", start, 1)
        return self.data.with_name(f"{name}_{self.minutes:g}min")


def run_demo(settings: DemoSettings) -> Path | None:
    """Run all stages.

    Returns:
        The page; None when a stage has failed (it has said why).
    """
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    stages = 5 if settings.weights else 4
    times = StageTimes(Path(settings.folder) / f"times_{settings.model.name}.json", stages)
    with times.stage("distances on the body surface", "distances"):
        template_geodesics()
    with times.stage("synthetic people", "data"):
        if _run_verb(make_data, _data_arguments(settings)) != 0:
            return None
    if settings.weights:
        with times.stage("evaluation of the weights to start from", "evaluation before"):
            command = evaluation_arguments(settings)
            if not _is_scored(settings.before) and _run_verb(evaluate, command) != 0:
                return None
    with times.stage("training and evaluation", "training and evaluation"):
        command = training_arguments(settings)
        if not _is_trained(settings.model) and _run_verb(train, command) != 0:
            return None
    with times.stage("page", "page"):
        return write_page(settings, times.seconds, "densepose train " + shlex.join(command))


def _is_trained(folder: Path) -> bool:
    """Whether the training in this folder has come to its end and was scored."""
    return (folder / "model_final.pth").is_file() and _is_scored(folder)


def _is_scored(folder: Path) -> bool:
    return (folder / "inference" / "metrics.json").is_file()


def training_arguments(settings: DemoSettings) -> list[str]:
    """Arguments of ``densepose train``, as a user would type them."""
    keys = {
        **_common_keys(settings),
        "SOLVER.MAX_MINUTES": str(settings.minutes),
        "SOLVER.MAX_ITER": "1000000",  # never reached: the time ends the training
        "SEED": str(settings.seed),
        "OUTPUT_DIR": str(settings.model),
    }
    return ["--config-file", _config(settings), "--resume", *_pairs(keys)]


def evaluation_arguments(settings: DemoSettings) -> list[str]:
    """Arguments of ``densepose evaluate`` for the weights that the training starts from."""
    keys = {**_common_keys(settings), "OUTPUT_DIR": str(settings.before)}
    return ["--config-file", _config(settings), *_pairs(keys)]


def _config(settings: DemoSettings) -> str:
    return find_config(settings.config_file or (FINE_TUNE if settings.weights else FROM_SCRATCH))


def _common_keys(settings: DemoSettings) -> dict[str, str]:
    register = [
        {
            "NAME": name,
            "ANNOTATIONS": str(settings.data / "annotations" / f"densepose_{split}.json"),
            "IMAGES": str(settings.data / "images" / split),
            "SURFACE": "template",
        }
        for name, split in ((TRAIN, "train"), (VAL, "val"))
    ]
    keys = {
        "DATASETS.REGISTER": repr(register),
        "DATASETS.TRAIN": f"('{TRAIN}',)",
        "DATASETS.TEST": f"('{VAL}',)",
        "DENSEPOSE_EVALUATION.STORAGE": "file",  # the page shows predictions
    }
    return {**keys, "MODEL.WEIGHTS": settings.weights} if settings.weights else keys


def _pairs(keys: dict[str, str]) -> list[str]:
    return [word for pair in keys.items() for word in pair]


def _data_arguments(settings: DemoSettings) -> list[str]:
    values = {
        "--out": settings.data,
        "--num-train": settings.num_train,
        "--num-val": settings.num_val,
        "--image-size": settings.image_size,
        "--seed": settings.seed,
        "--camera": settings.camera,
    }
    return _pairs({key: str(value) for key, value in values.items()})


def _run_verb(verb: ModuleType, arguments: list[str]) -> int:
    name = verb.__name__.rpartition(".")[2].replace("_", "-")
    return verb.run(VerbParser(name, verb).parse_args(arguments))


class StageTimes:
    """Seconds of each stage, kept over interruptions."""

    def __init__(self, path: Path, count: int) -> None:
        """Read the file if it is there; ``count`` stages are announced."""
        self.path, self.count, self.number = path, count, 0
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}

    @contextmanager
    def stage(self, title: str, name: str) -> Iterator[None]:
        """Announce a stage and add its time, also when it fails."""
        self.number += 1
        console.rule(f"[bold]{self.number} of {self.count}: {title}", align="left")
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
            write_text(self.path, to_json(self.seconds))
