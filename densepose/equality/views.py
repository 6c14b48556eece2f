"""Test-time augmentation on both sides."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fvcore.transforms.transform import NoOpTransform, TransformList
from safetensors.torch import load_file
from torch import Tensor

from detectron2.data.transforms import RotationTransform
from detectron2.structures import Boxes

from densepose.modeling.views import View, turned_back

from . import same_batch
from .compare import MAP_LIMIT, UV_LIMIT, compare_decoded, difference

if TYPE_CHECKING:
    from .run import Sides

CONFIG = "densepose_rcnn_R_50_FPN_s1x"
COMMON = (
    *("TEST.AUG.MIN_SIZES", "(160, 192)", "TEST.AUG.MAX_SIZE", "400"),
    # Random weights find somebody everywhere.
    *("TEST.DETECTIONS_PER_IMAGE", "4", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"),
)
CASES = {
    "two sizes": ("TEST.AUG.FLIP", "False"),
    "two sizes, each also mirrored": ("TEST.AUG.FLIP", "True"),
    "and turned by 90 degrees": ("TEST.AUG.FLIP", "True", "TEST.AUG.ROTATION_ANGLES", "(90,)"),
    "and turned by 20 degrees": ("TEST.AUG.FLIP", "True", "TEST.AUG.ROTATION_ANGLES", "(20,)"),
}
# There the checkout turns maps in another way, see test_time_augmentation.py.
DEVIATES = "turned"


@dataclass(frozen=True)
class ViewEquality:
    """One choice of views; largest absolute differences."""

    views: str
    people: int
    boxes: float  # px
    maps: float
    above_limit: float  # share of map values that differ by more than 1e-4
    labels_differ: int
    labels: int
    uv_steps: int
    uv_differ: int
    expected_to_differ: bool

    @property
    def passed(self) -> bool:
        """Whether decoded results are the same; raw UV may be a step of the flip's table apart."""
        same = self.labels_differ == 0 and self.uv_steps <= UV_LIMIT and self.boxes <= 1e-3
        return self.expected_to_differ or same

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class TurnError:
    """How far off maps of a turned view are read whose cells know their place, in px."""

    angle: int  # degrees
    box: tuple[float, float]  # width, height in px, upright
    ours: float  # largest error of an inner cell
    theirs: float


def mirror_table() -> Tensor:
    """(25, 256, 256, 2) left-right map of (u, v) at [part, 255 v, 255 u]; smooth, no mere 1 - u."""
    step = torch.arange(256, dtype=torch.float32) / 255
    v, u = torch.meshgrid(step, step, indexing="ij")
    bend = torch.linspace(0, 0.2, 25)[:, None, None] * u * (1 - u)
    return torch.stack([1 - u - bend, v.expand(25, -1, -1) * 0.95], dim=-1).contiguous()


def compare_views(sides: Sides, tell: Callable[[str], None]) -> list[ViewEquality]:
    """Every case of ``CASES`` on the config of the plain model."""
    found = []
    for views, opts in CASES.items():
        tell(f"views: {views}")
        ours, theirs = sides.views(CONFIG, [*COMMON, *opts])
        names = [name for name in ours if name.startswith("map/")]
        apart = torch.cat([(ours[n] - theirs[n]).abs().flatten() for n in names])
        found.append(
            ViewEquality(
                views=views,
                people=len(theirs["boxes"]),
                boxes=difference(ours["boxes"], theirs["boxes"]),
                maps=float(apart.max()),
                above_limit=float((apart > MAP_LIMIT).double().mean()),
                expected_to_differ=DEVIATES in views,
                **compare_decoded(ours, theirs),
            )
        )
    return found


def compare_turns(sides: Sides) -> list[TurnError]:
    """Bring maps back from turned views on both sides; the right answer is known."""
    size, side, border = (192, 256), 112, 8
    boxes = np.array([[60.0, 30, 120, 90], [60, 30, 100, 150], [30, 60, 200, 110]])
    wanted = same_batch.place_maps(NoOpTransform(), boxes, side)
    found = []
    for angle in (90, 20):
        turn = RotationTransform(*size, angle, expand=True)
        view = View(torch.zeros(3, 1, 1), TransformList([turn]))
        upright = Boxes(torch.from_numpy(boxes).float())
        maps = same_batch.place_maps(turn, boxes, side)
        ours = turned_back(maps, view, upright, view.to_view(upright))
        with tempfile.TemporaryDirectory(prefix="densepose_equality_") as folder:
            case = {"angle": angle, "size": size, "boxes": boxes.tolist(), "side": side}
            sides.ask(CONFIG, folder, work="turn", **case)
            theirs = load_file(Path(folder) / "turned.safetensors")["maps"]
        inner = (slice(None), slice(None), *[slice(border, side - border)] * 2)
        errors = [(m - wanted)[inner].abs().amax(dim=(1, 2, 3)) for m in (ours, theirs)]
        extents = (boxes[:, 2:] - boxes[:, :2]).tolist()
        for extent, here, there in zip(extents, *(e.tolist() for e in errors), strict=True):
            found.append(TurnError(angle, tuple(extent), here, there))
    return found
