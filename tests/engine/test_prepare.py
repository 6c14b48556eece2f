from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml

from densepose.config import get_densepose_cfg, load_config
from densepose.engine import prepare
from densepose.engine.logs import remove_handlers
from densepose.engine.prepare import choose_device


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "auto"])
def test_without_a_gpu_the_cpu_is_taken_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = get_densepose_cfg()
    cfg.MODEL.DEVICE = device
    with caplog.at_level("INFO"):
        assert choose_device(cfg).MODEL.DEVICE == "cpu"
    assert caplog.messages == [f"No CUDA device: MODEL.DEVICE {device} is cpu"]
    assert cfg.MODEL.DEVICE == device


@pytest.mark.parametrize(
    ("device", "processes", "chosen"),
    [("cuda", 8, "cuda"), ("cuda:0", 8, "cuda"), ("cuda:1", 1, "cuda:1"), ("cpu", 8, "cpu")],
)
def test_with_gpus_each_process_takes_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str, processes: int, chosen: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(prepare.comm, "get_world_size", lambda: processes)
    cfg = get_densepose_cfg()
    cfg.MODEL.DEVICE = device
    assert choose_device(cfg).MODEL.DEVICE == chosen


@pytest.mark.parametrize("has_gpu", [False, True])
def test_a_saved_config_names_the_device_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_gpu: bool
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    opts = ["OUTPUT_DIR", str(tmp_path), "SOLVER.IMS_PER_BATCH", "2", "SOLVER.BASE_LR", "0.0025"]
    name = "densepose_rcnn_R_50_FPN_s1x"
    cfg = prepare.setup(Namespace(config_file=name, opts=opts, eval_only=False))
    remove_handlers()
    saved = load_config(str(tmp_path / "config.yaml"), [])
    assert (saved.MODEL.DEVICE, saved.BOOTSTRAP_MODEL.DEVICE) == ("cuda", "cuda")
    assert yaml.safe_load(saved.dump()) == yaml.safe_load(cfg.dump())
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.0025, 130_000)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    opts = ["OUTPUT_DIR", str(tmp_path / "file" / "out")]
    with pytest.raises(ValueError, match="OUTPUT_DIR .*file/out cannot be written"):
        prepare.setup(Namespace(config_file="", opts=opts, eval_only=False))
