"""The configs of configs/evolution: what they say, and two iterations of each on tiny data.

With DETECTRON2_CHECKOUT=PATH the YAML files of that checkout are read and run as well, unchanged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from densepose.config import SAMPLERS, bootstrap_entries, check_config, load_config
from densepose.data.coco import training_records
from densepose.data.registration import register_builtin
from densepose.engine.evaluation import evaluate
from densepose.engine.model import build_run_model
from densepose.engine.trainer import Trainer
from densepose.model_zoo import find
from tests.support.random_people import random_output
from tests.support.tiny_animals import write_tiny_animals, write_tiny_videos

OURS = Path(__file__).parents[2] / "configs" / "evolution"
MASTER = "densepose_R_50_FPN_DL_WC1M_3x_Atop10P_CA"
STUDENTS = {f"{MASTER}_B_{kind}": kind for kind in ("uniform", "uv", "finesegm", "coarsesegm")}
CHECKOUT = os.environ.get("DETECTRON2_CHECKOUT")
needs_checkout = pytest.mark.skipif(
    not CHECKOUT, reason="DETECTRON2_CHECKOUT names no checkout of detectron2"
)
# Nothing but size: layers, images, proposals, batch.
SMALL = (
    "MODEL.RESNETS.WIDTH_PER_GROUP 4 MODEL.RESNETS.RES2_OUT_CHANNELS 16"
    " MODEL.RESNETS.STEM_OUT_CHANNELS 8"
    " MODEL.FPN.OUT_CHANNELS 16 MODEL.RPN.POST_NMS_TOPK_TRAIN 20 MODEL.RPN.POST_NMS_TOPK_TEST 5"
    " MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 8 MODEL.ROI_BOX_HEAD.FC_DIM 16"
    " MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM 64 MODEL.ROI_DENSEPOSE_HEAD.NUM_STACKED_CONVS 1"
    " MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS 64 MODEL.ROI_DENSEPOSE_HEAD.POOLER_RESOLUTION 8"
    " MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES 64 MODEL.ROI_DENSEPOSE_HEAD.HEATMAP_SIZE 32"
    " MODEL.DEVICE cpu BOOTSTRAP_MODEL.DEVICE cpu MODEL.WEIGHTS '' BOOTSTRAP_MODEL.WEIGHTS ''"
    " MODEL.ALLOW_RANDOM_HEAD True INPUT.MIN_SIZE_TRAIN (64,) INPUT.MIN_SIZE_TEST 64"
    " INPUT.RANDOM_FLIP none DATALOADER.NUM_WORKERS 0 SOLVER.IMS_PER_BATCH 3 SOLVER.MAX_ITER 2"
    " LOG_PERIOD 1 SEED 3"
).split()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of all data sets, registered."""
    root = tmp_path_factory.mktemp("data")
    write_tiny_animals(root)
    before = set(DatasetCatalog.list())
    register_builtin(root)
    yield root
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def small(path: Path, output: Path) -> CfgNode:
    """A config as it is, but for its size."""
    opts = ["" if word == "''" else word for word in SMALL]
    cfg = load_config(str(path), [*opts, "OUTPUT_DIR", str(output)])
    for entry in cfg.BOOTSTRAP_DATASETS:
        entry["FILTER"]["MIN_VALUE"] = 0.4  # see write_teacher
        entry["IMAGE_LOADER"]["TRANSFORM"].update(MIN_SIZE=64, MAX_SIZE=96)
        entry["IMAGE_LOADER"]["NUM_WORKERS"] = 0
    check_config(cfg)
    return cfg


def write_teacher(cfg: CfgNode, folder: Path) -> Path:
    """Random weights of a model that takes every anchor for a person, half sure of it."""
    torch.manual_seed(0)
    state = build_run_model(cfg).state_dict()
    for name in state:
        if "box_predictor" in name or "objectness" in name or "anchor_deltas" in name:
            state[name].zero_()
    torch.save({"model": state}, folder / "teacher.pth")
    return folder / "teacher.pth"


def run(path: Path, data: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Curves of two iterations, without the evaluation at the end."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data))
    cfg = small(path, output)
    if cfg.BOOTSTRAP_DATASETS:
        pytest.importorskip("av", reason="PyAV is not installed (pip install av)")
        if not (data / "chimpnsee").exists():
            write_tiny_videos(data, data / "densepose_chimps" / "images")
        cfg.BOOTSTRAP_MODEL.WEIGHTS = str(write_teacher(cfg, output))
    cfg.DATASETS.TEST = ()
    Trainer(cfg).train()
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert all(line[f"loss_densepose_{kind}"] >= 0 for line in lines for kind in "SI")
    return lines


def test_the_master_learns_bodies_of_people_and_animals(data: Path, tmp_path: Path):
    cfg = small(OURS / f"{MASTER}.yaml", tmp_path)
    records = training_records(cfg)
    # Four annotations, one of each category; the chair is on no whitelist.
    animals = [p for r in records if "train2017" in r["file_name"] for p in r["annotations"]]
    written = json.loads((data / "coco/annotations/instances_train2017.json").read_text())
    kept = [a["id"] for a in written["annotations"] if a["category_id"] != 62]
    assert [p["id"] for p in animals] == kept and len(kept) < len(written["annotations"])
    assert {p["category_id"] for r in records for p in r["annotations"]} == {0}
    assert any("dp_I" in p for r in records for p in r["annotations"])


@pytest.mark.parametrize("name", [MASTER, f"{MASTER}_B_uv"])
def test_two_iterations(name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines = run(OURS / f"{name}.yaml", data, tmp_path, monkeypatch)
    assert ("batch/chimpnsee" in lines[0]) == (name != MASTER)


def test_students_differ_by_what_their_points_are_chosen_by():
    kinds = {}
    for name in STUDENTS:
        (entry,) = bootstrap_entries(load_config(str(OURS / f"{name}.yaml")))
        kinds[STUDENTS[name]] = SAMPLERS[entry.DATA_SAMPLER.TYPE][0]
        assert (entry.RATIO, entry.FILTER.MIN_VALUE) == (1.0, 0.8)
    assert kinds == {
        "uniform": None,
        "uv": "sigma_2",
        "finesegm": "fine_segm_confidence",
        "coarsesegm": "coarse_segm_confidence",
    }


class Knowing(nn.Module):
    """Finds everything of the given categories that is annotated, with bodies at random."""

    def __init__(self, annotations: Path, category_ids: set[int]) -> None:
        super().__init__()
        written = json.loads(annotations.read_text())["annotations"]
        self.known = [a for a in written if a["category_id"] in category_ids]

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        outputs = []
        for record in batch:
            own = [a["bbox"] for a in self.known if a["image_id"] == record["image_id"]]
            boxes = torch.tensor(own).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            found = Instances((record["height"], record["width"]), pred_boxes=Boxes(boxes))
            found.scores = torch.ones(len(own))
            found.pred_classes = torch.zeros(len(own), dtype=torch.int64)
            found.pred_densepose = random_output(len(own))
            outputs.append({"instances": found})
        return outputs


@pytest.mark.parametrize(
    ("found", "precision"), [({1, 17, 25}, 100.0), ({1, 17}, None), ({1, 17, 25, 62}, None)]
)
def test_animals_are_scored_as_the_one_class(
    found: set[int], precision: float | None, data: Path, tmp_path: Path
):
    """Whitelisted animals count as truth, whatever their category, and the chair does not."""
    cfg = small(OURS / f"{MASTER}.yaml", tmp_path)
    cfg.DATASETS.TEST = ("base_coco_2017_val",)
    annotations = data / "coco" / "annotations" / "instances_val2017.json"
    got = evaluate(cfg, Knowing(annotations, found))["bbox"]["AP"]
    assert got == pytest.approx(100) if precision else 0 < got < 99


@needs_checkout
@pytest.mark.parametrize("name", [MASTER, *STUDENTS])
class TestUpstream:
    """Every YAML file of the checkout's configs/evolution."""

    def path(self, name: str) -> Path:
        return Path(CHECKOUT) / "projects/DensePose/configs/evolution" / f"{name}.yaml"

    def test_loads_and_says_the_same_as_ours(self, name: str):
        theirs, ours = load_config(str(self.path(name))), load_config(str(OURS / f"{name}.yaml"))
        check_config(theirs)
        assert [*bootstrap_entries(theirs)] == [*bootstrap_entries(ours)]
        for cfg in (theirs, ours):
            cfg.BOOTSTRAP_DATASETS = []
            for node in (cfg.MODEL, cfg.BOOTSTRAP_MODEL):
                if node.WEIGHTS.startswith("zoo://"):
                    node.WEIGHTS = find(node.WEIGHTS).url
            cfg.SOLVER.REFERENCE_BATCH_SIZE = 0  # a key of our own
            cfg.MODEL.ROI_MASK_HEAD = CfgNode()  # the mask branch is off
        assert theirs == ours

    def test_trains_two_iterations(
        self, name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        lines = run(self.path(name), data, tmp_path, monkeypatch)
        assert ("batch/chimpnsee" in lines[0]) == (name != MASTER)
