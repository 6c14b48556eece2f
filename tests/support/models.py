"""Small models made from configs, and a step of their training on random people."""

from __future__ import annotations

from pathlib import Path

import torch

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage

from densepose.config import load_config
from densepose.modeling import register_all

from .random_people import IMAGE_SIZE

QUICK = Path(__file__).parents[1] / "configs"
LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
# Narrow layers and few boxes; depths, resolutions and all that tells the configs apart stay.
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "",
    "MODEL.TIMM.PRETRAINED": "",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.NORM": "BN",  # frozen norms without trained weights let the values grow
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.RPN.CONV_DIMS": [16],
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 20,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 8,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM": 8,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS": 8,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_NUM_CLASSES": 8,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 8,
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": [8, 8],
}
SMALL_CROPS = {
    "MODEL.DP_FCN.CROP_SIZE": 64,
    "MODEL.DP_FCN.BOX_MAP_SIZE": 16,
    "MODEL.ROI_DENSEPOSE_HEAD.DECODER_CONV_DIMS": 32,  # as many as GroupNorm has groups
}


def quick_config(name: str = "synthetic_cpu", *opts: object) -> CfgNode:
    return load_config(str(QUICK / f"{name}.yaml"), [str(word) for word in opts])


def quick_model(name: str = "synthetic_cpu", *opts: object) -> torch.nn.Module:
    register_all()
    torch.manual_seed(0)
    return build_model(quick_config(name, *opts))


def batch(*targets: Instances) -> list[dict[str, object]]:
    height, width = IMAGE_SIZE
    g = torch.Generator().manual_seed(3)
    return [
        {
            "image": 255 * torch.rand(3, height, width, generator=g),
            "instances": people,
            "height": height,
            "width": width,
        }
        for people in targets
    ]


def train_step(model: torch.nn.Module, *targets: Instances) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad(set_to_none=True)
    with EventStorage():
        losses = model(batch(*targets))
    sum(losses.values()).backward()
    return losses


def parameters_without_gradient(model: torch.nn.Module) -> list[str]:
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
