"""``densepose ablate``: two rows, two seeds, a few iterations each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from densepose.ablation import runs
from densepose.cli.__main__ import run_verb
from tests.tiny_dataset import write_tiny_densepose_coco

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A file of experiments on a tiny data set."""
    annotations, images = write_tiny_densepose_coco(tmp_path / "data", num_images=4)
    entry = {"NAME": "tiny", "ANNOTATIONS": str(annotations), "IMAGES": str(images)}
    content = {
        "BUDGET": {"ITERATIONS": 2},
        "SEEDS": [0, 1],
        "OPTIONS": {
            "DATASETS.REGISTER": [{**entry, "SURFACE": "template"}],
            "DATASETS.TRAIN": ["tiny"],
            "DATASETS.TEST": ["tiny"],
            "TEST.EVAL_PERIOD": 0,
        },
        "ROWS": [
            {"NAME": "multitask", "CONFIG": str(CONFIGS / "multitask_cpu.yaml")},
            {"NAME": "cascade", "CONFIG": str(CONFIGS / "cascade_cpu.yaml"), "OVER": "multitask"},
        ],
    }
    path = tmp_path / "experiments.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_trains_scores_and_writes_one_table(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    trained: list[str] = []

    def here(words: list[str]) -> int:
        trained.append(words[words.index("OUTPUT_DIR") + 1])
        return run_verb(words[0], words[1:])

    monkeypatch.setattr(runs, "in_a_process", here)
    output = tmp_path / "table"
    words = ["--experiments", str(listed), "--output", str(output)]
    assert run_verb("ablate", [*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("densepose train") == 4
    assert run_verb("ablate", words) == 0
    assert len(trained) == 4
    told = capsys.readouterr().out
    assert f"Table: {output}/table.md" in told and "| cascade over multitask |" in told
    table = json.loads((output / "table.json").read_text())
    for row in table["rows"]:
        assert [run["seed"] for run in row["runs"]] == [0, 1]
        for run in row["runs"]:
            assert run["iterations"] == 2 and run["minutes"] > 0
            # Scores of all three branches.
            scored = {name for name, value in run["values"].items() if value is not None}
            assert {"mean_gps", "auc30", "gpsm_ap", "mask_ap", "keypoint_ap"} <= scored
    assert (output / "rcp.png").is_file()
    assert run_verb("ablate", words) == 0
    assert len(trained) == 4
