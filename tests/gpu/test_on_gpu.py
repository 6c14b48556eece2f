"""What the tests of the CPU cannot show; skipped where there is no GPU.

make test ARGS="tests/gpu"
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from detectron2.modeling import build_model

from densepose.config import find_config, load_config
from densepose.modeling.inference import instances_to_prediction
from tests.support import ROOT
from tests.support.training import SMALL, options, train_net
from tools.upstream import inputs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    # The first scaled step in float16 may be skipped; the rate's schedule goes on.
    pytest.mark.filterwarnings("default:Detected call of .lr_scheduler.step:UserWarning"),
    # Workers are forked after CUDA has started threads; they do not use it.
    pytest.mark.filterwarnings("default:This process .* is multi-threaded:DeprecationWarning"),
]

TRAINED = (
    "densepose_rcnn_R_50_FPN_DL_WC2M_s1x",
    "densepose_rcnn_R_50_FPN_s1x_legacy",
    "HRNet/densepose_rcnn_HRFPN_HRNet_w32_s1x",
    "multitask/masks_keypoints_R_50_FPN_s1x",
    "cascade/masks_keypoints_R_50_FPN_s1x",
    "distilled/cascade_keypoints_R_50_FPN_s1x",
    "dp_fcn/R_50_FPN_crops_figure_ground_s1x",
    "cpu/cascade_masks_keypoints",
    "teacher/R_50_FPN_s1x",
)
LARGER = {
    "MODEL.DEVICE": "cuda",
    "MODEL.FPN.OUT_CHANNELS": 64,  # as DeepLab's head needs
    "MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM": 64,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS": 64,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES": 64,
    "DATALOADER.NUM_WORKERS": 2,
}
COMPARED = ("densepose_rcnn_R_50_FPN_s1x", "densepose_rcnn_R_50_FPN_DL_WC2M_s1x")


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "channels_last"])
@pytest.mark.parametrize("name", TRAINED)
def test_trains_and_is_evaluated(
    name: str,
    precision: str,
    tiny_coco,
    tiny_inpainted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    changes = SMALL | LARGER | {"SOLVER.CHANNELS_LAST": precision == "channels_last"}
    if precision.endswith("float16"):
        changes |= {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.PRECISION": precision}
    if name.startswith("distilled/"):
        changes["DATASETS.INPAINTED"] = tiny_inpainted
    words = options(tiny_coco, tmp_path, **changes)
    config = str(ROOT / "configs" / f"{name}.yaml")
    torch.cuda.reset_peak_memory_stats()
    assert train_net(monkeypatch, "--config-file", config, *words) == 0
    assert torch.cuda.max_memory_allocated() > 2**20  # it was there
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert losses and all(map(math.isfinite, losses))
    scores = json.loads((tmp_path / "inference/metrics.json").read_text())["results"]["tiny"]
    assert {"densepose_gps", "densepose_gpsm", "densepose_points"} <= set(scores)


def test_trains_with_a_compiled_backbone(
    tiny_coco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changes = SMALL | LARGER | {"SOLVER.COMPILE": "inductor"}
    words = options(tiny_coco, tmp_path, **changes)
    config = str(ROOT / "configs" / f"{COMPARED[0]}.yaml")
    assert train_net(monkeypatch, "--config-file", config, *words) == 0
    assert "inductor" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize("name", COMPARED)
def test_predicts_what_the_cpu_predicts(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    picture = inputs.make_picture(0, size=(192, 256), people=3)
    maps, people = {}, {}
    for device in ("cpu", "cuda"):
        words = ["MODEL.DEVICE", device, "MODEL.WEIGHTS", "", "MODEL.CPU_OPS", "off"]
        cfg = load_config(find_config(name), words)
        model = build_model(cfg).eval()
        inputs.fill_with_seeded(model, seed=1)
        with torch.no_grad():
            images = model.preprocess_image([{"image": picture.image}])
            features = model.backbone(images.tensor)
            person = inputs.detections_of(picture).to(model.device)
            (found,) = model.roi_heads.forward_with_given_boxes(features, [person])
        charts = found.pred_densepose
        maps[device] = [charts.part_logits.cpu(), charts.u.cpu(), charts.v.cpu()]
        people[device] = instances_to_prediction(found, 1)
    for here, there in zip(maps["cpu"], maps["cuda"], strict=True):
        torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)
    same = different = 0
    for here, there in zip(people["cpu"].labels, people["cuda"].labels, strict=True):
        assert here.shape == there.shape
        same += int((here == there).sum())
        different += int((here != there).sum())
    assert different <= 1e-3 * (same + different)  # rounding decides between equal scores alone
