"""A teacher that labels images while a tiny model trains."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from densepose.config import bootstrap_entries, check_config, load_config
from densepose.data.registration import register_from_config
from densepose.engine.bootstrap import (
    Labeller,
    build_source,
    build_stream,
    build_teacher,
    build_training_batches,
    check_source,
    counted,
)
from densepose.engine.model import build_run_model
from densepose.engine.trainer import Trainer
from tests.support.random_people import IMAGE_SIZE, random_output, random_people

pytestmark = pytest.mark.usefixtures("catalog_as_before")
QUICK = str(Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml")
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
Tiny = tuple[Path, Path]


def config(tiny: Tiny, output: Path, **entry: Any) -> CfgNode:
    """The quick config on the tiny set, with its images once more for the teacher."""
    annotations, images = tiny
    words = ["MODEL.DEVICE", "cpu", "BOOTSTRAP_MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(output)]
    words += ["MODEL.ALLOW_RANDOM_HEAD", "True", "INPUT.RANDOM_FLIP", "none", "SEED", "1"]
    words += ["DATALOADER.NUM_WORKERS", "0", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "2"]
    words += ["DATASETS.TRAIN", "('tiny_boot',)", "DATASETS.TEST", "()", "LOG_PERIOD", "1"]
    words += [f"{HEAD}.UV_CONFIDENCE.ENABLED", "True", f"{HEAD}.SEGM_CONFIDENCE.ENABLED", "True"]
    words += [f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS", "True"]
    cfg = load_config(QUICK, words)
    named = {"NAME": "tiny_boot", "ANNOTATIONS": str(annotations), "IMAGES": str(images)}
    cfg.DATASETS.REGISTER = [{**named, "SURFACE": "template"}]
    wild = {
        "DATASET": "wild",
        "RATIO": 1.0,
        "IMAGE_LOADER": {
            "TYPE": "image_folder",
            "PATH": str(images),
            "BATCH_SIZE": 2,
            "NUM_WORKERS": 0,
            "TRANSFORM": {"TYPE": "resize", "MIN_SIZE": 64, "MAX_SIZE": 128},
        },
        "DATA_SAMPLER": {"TYPE": "densepose_uniform", "COUNT_PER_CLASS": 2},
        "FILTER": {"TYPE": "detection_score", "MIN_VALUE": 0.0},
    }
    cfg.BOOTSTRAP_DATASETS = [{**wild, **entry}]
    register_from_config(cfg)
    check_config(cfg)
    return cfg


def people(scores: list[float]) -> Instances:
    """What a teacher finds in an image of IMAGE_SIZE."""
    count = len(scores)
    found = Instances(IMAGE_SIZE)
    found.pred_boxes = Boxes(random_people(count).boxes_xyxy_px)
    found.pred_classes = torch.arange(count)
    found.scores = torch.tensor(scores)
    found.pred_densepose = random_output(count, log_variance=True)
    return found


def labeller(scores: list[float], **changes: Any) -> Labeller:
    settings = {"certainty": "sigma_2", "per_part": 2, "largest": False, "min_score": 0.8}
    settings |= {"use_masks": True, "generator": torch.Generator().manual_seed(0)}
    return Labeller(
        lambda batch: [{"instances": people(scores)} for _ in batch], **{**settings, **changes}
    )


def test_people_the_teacher_is_not_sure_of_are_left_out():
    (truth,) = labeller([0.9, 0.5, 0.8])([torch.zeros(3, *IMAGE_SIZE)])
    assert truth.gt_classes.tolist() == [0, 2]
    torch.testing.assert_close(truth.gt_boxes.tensor, people([1, 1, 1]).pred_boxes.tensor[[0, 2]])
    annotations = truth.gt_densepose
    assert 0 < len(annotations.part) <= 2 * 24 * 2
    owner_and_part = annotations.owner * 25 + annotations.part
    assert torch.bincount(owner_and_part).max() <= 2
    assert truth.gt_masks.tensor.shape == (2, *IMAGE_SIZE)
    assert [len(t) for t in labeller([0.1])([torch.zeros(3, *IMAGE_SIZE)] * 2)] == [0, 0]


@pytest.mark.parametrize("sampler", ["UV_confidence", "fine_segm_confidence"])
def test_an_entry_chooses_the_sampler(tiny_coco: Tiny, tmp_path: Path, sampler: str):
    cfg = config(tiny_coco, tmp_path, DATA_SAMPLER={"TYPE": f"densepose_{sampler}"})
    (entry,) = bootstrap_entries(cfg)
    made = Labeller.from_config(cfg, entry, torch.nn.Identity())
    assert made.certainty == {"UV_confidence": "sigma_2"}.get(sampler, sampler)
    assert (made.per_part, made.largest, made.use_masks) == (8, False, True)


def test_the_teacher_is_loaded_frozen_and_must_know_everything(tiny_coco: Tiny, tmp_path: Path):
    cfg = config(tiny_coco, tmp_path)
    teacher = build_teacher(cfg)
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    state = teacher.state_dict()
    torch.save({"model": state}, tmp_path / "whole.pth")
    heads = [name for name in state if name.startswith("roi_heads.densepose_predictor")]
    torch.save({"model": {k: v for k, v in state.items() if k not in heads}}, tmp_path / "half.pth")
    cfg.MODEL.ALLOW_RANDOM_HEAD = False
    cfg.BOOTSTRAP_MODEL.WEIGHTS = str(tmp_path / "whole.pth")
    torch.manual_seed(5)
    again = build_teacher(cfg).state_dict()
    assert all(torch.equal(again[name], state[name]) for name in state)
    cfg.BOOTSTRAP_MODEL.WEIGHTS = str(tmp_path / "half.pth")
    with pytest.raises(ValueError, match="densepose_predictor"):
        build_teacher(cfg)


def test_two_iterations_on_mixed_batches(tiny_coco: Tiny, tmp_path: Path):
    cfg = config(tiny_coco, tmp_path)
    trainer = Trainer(cfg)
    before = {k: v.clone() for k, v in trainer.bare_model.state_dict().items()}
    trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert all("batch/wild" in line and "batch/annotated" in line for line in lines)
    assert all(abs(line["total_loss"]) < 1e4 for line in lines)
    after = trainer.bare_model.state_dict()
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert any(name.startswith("roi_heads.densepose_predictor") for name in changed)


def test_samples_of_both_kinds_have_the_same_fields(tiny_coco: Tiny, tmp_path: Path):
    cfg = config(tiny_coco, tmp_path)
    with EventStorage():
        batches = itertools.islice(build_training_batches(cfg), 12)
        samples = [sample for batch in batches for sample in batch]
    wild = [sample for sample in samples if sample.get("dataset") == "wild"]
    assert 0 < len(wild) < len(samples) == 24
    fields = {frozenset(sample["instances"].get_fields()) for sample in samples}
    assert fields == {frozenset({"gt_boxes", "gt_classes", "gt_masks", "gt_densepose"})}
    assert {sample["image"].shape[0] for sample in samples} == {3}
    assert min(wild[0]["image"].shape[1:]) == 64
    pointed = [sample for sample in wild if len(sample["instances"].gt_densepose.part)]
    with EventStorage():
        losses = build_run_model(cfg)(pointed)
    assert all(losses[f"loss_densepose_{name}"].item() != 0 for name in ("S", "I", "UV"))


def test_the_same_seed_gives_the_same_stream(tiny_coco: Tiny, tmp_path: Path):
    from densepose.engine.seeding import prepare_torch

    cfg = config(tiny_coco, tmp_path)
    (entry,) = bootstrap_entries(cfg)

    def first() -> dict[str, Any]:
        prepare_torch(cfg)
        return next(iter(build_stream(cfg, entry, build_teacher(cfg))))

    one, two = first(), first()
    assert one["file_name"] == two["file_name"]
    points = [sample["instances"].gt_densepose.points_grid for sample in (one, two)]
    assert len(points[0]) and torch.equal(*points)


def test_people_of_each_source_are_counted():
    batch = [{"instances": [1, 2]}, {"instances": [1], "dataset": "w"}, {"instances": []}]
    with EventStorage() as storage:
        assert list(counted([batch], ["annotated", "w", "x"])) == [batch]
        latest = {name: value for name, (value, _) in storage.latest().items()}
    assert latest == {"batch/annotated": 2, "batch/w": 1, "batch/x": 0}


def test_files_are_looked_at_before_the_run(
    tiny_coco: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cfg = config(tiny_coco, tmp_path)

    def check() -> None:
        check_source(*bootstrap_entries(cfg), "BGR")

    check()
    monkeypatch.setenv("WILD", str(tiny_coco[1].parent))
    loader = cfg.BOOTSTRAP_DATASETS[0]["IMAGE_LOADER"]
    loader["PATH"] = "$WILD/images"
    check()
    loader["PATH"] = str(tmp_path / "none")
    with pytest.raises(ValueError, match="folder of images is miss"):
        check()
    (tmp_path / "list.txt").write_text("broken.jpg\n")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    loader.update(TYPE="image_list", PATH=str(tmp_path / "list.txt"))
    with pytest.raises(ValueError, match="broken.jpg"):
        check()
    loader.update(TYPE="video_keyframe", PATH="")
    with pytest.raises(ValueError, match=r"'wild' is no known set of videos \(chimpnsee\); give"):
        check()


def test_a_known_set_of_videos_lies_below_the_data_sets(
    tiny_coco: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    pytest.importorskip("av", reason="PyAV is not installed (pip install av)")
    cfg = config(tiny_coco, tmp_path, DATASET="chimpnsee", IMAGE_LOADER={"TYPE": "video_keyframe"})
    (entry,) = bootstrap_entries(cfg)
    with pytest.raises(ValueError, match=r"cdna.eva.mpg.de/video_list.txt: the list of"):
        build_source(entry, "BGR")
    folder = tmp_path / "chimpnsee" / "cdna.eva.mpg.de"
    folder.mkdir(parents=True)
    (folder / "video_list.txt").write_text("clips/a.mp4\n")
    assert build_source(entry, "BGR").paths == [folder / "clips" / "a.mp4"]
