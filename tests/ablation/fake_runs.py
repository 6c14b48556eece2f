"""A list of experiments, and a command that writes scores in place of training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from densepose.ablation.experiments import Experiments, read_experiments

CONFIGS = Path(__file__).parents[1] / "configs"


def content(**changes: Any) -> dict[str, Any]:
    plain = {"NAME": "plain", "TITLE": "DP-RCNN", "CONFIG": str(CONFIGS / "synthetic_cpu.yaml")}
    cascade = {"NAME": "cascade", "CONFIG": str(CONFIGS / "cascade_cpu.yaml"), "OVER": "plain"}
    return {
        "TITLE": "A table",
        "BUDGET": {"ITERATIONS": 3},
        "SEEDS": [0, 1],
        "OPTIONS": {"DATASETS.TEST": ["tiny"], "SOLVER.BASE_LR": 0.5},
        "ROWS": [plain, cascade],
        **changes,
    }


def experiments(folder: Path, **changes: Any) -> Experiments:
    path = folder / "experiments.yaml"
    path.write_text(yaml.safe_dump(content(**changes)))
    return read_experiments(path)


def options_of(words: Sequence[str]) -> dict[str, str]:
    pairs = list(words[words.index("--resume") + 1 :])
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def write_scores(folder: Path, gpsm: float, share: float) -> None:
    inference = folder / "inference" / "tiny"
    inference.mkdir(parents=True)
    scores = {
        "tables": {"densepose_gpsm": {"AP": gpsm}, "bbox": {"AP": None}},
        "points": {"auc10": share / 2, "auc30": share},
        "rcp": {"threshold_m": [0.0, 0.1, 0.2], "share": [0.0, share / 2, share]},
    }
    (inference / "densepose_evaluation.json").write_text(json.dumps(scores))
    (inference.parent / "metrics.json").write_text(json.dumps({"iteration": 3}))


class FakeCommand:
    """Notes what is run; ``behave`` may return another status or raise."""

    def __init__(self, behave: Callable[[str, int], int] = lambda row, seed: 0) -> None:
        self.behave = behave
        self.lines: list[list[str]] = []

    def __call__(self, words: Sequence[str]) -> int:
        self.lines.append(list(words))
        if words[0] != "train":
            return 0
        options = options_of(words)
        folder, seed = Path(options["OUTPUT_DIR"]), int(options["SEED"])
        status = self.behave(folder.parent.name, seed)
        if not status:
            better = folder.parent.name == "cascade"
            write_scores(folder, 10 + 2 * seed + 3 * better, 0.4 + 0.1 * seed)
        return status

    @property
    def trained(self) -> list[tuple[str, int]]:
        folders = [Path(options_of(w)["OUTPUT_DIR"]) for w in self.lines if w[0] == "train"]
        return [(f.parent.name, int(f.name.removeprefix("seed"))) for f in folders]
