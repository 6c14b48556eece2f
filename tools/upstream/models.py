"""Both packages' models on equal weights and inputs: every chart config of a checkout."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from densepose.errors import InputError
from densepose.files import markdown_table, write_text

from . import our_side, process, report
from .inputs import Case
from .record import group_by_model

MAP_LIMIT = 1e-4  # largest difference of raw outputs
RELATIVE_LIMIT = 1e-4  # of losses and gradients
UV_LIMIT = 1  # steps of 1 / 255
BOX_LIMIT_PX = 1e-3
VIEWS_CONFIG = "densepose_rcnn_R_50_FPN_s1x"
_AUG = ("TEST.AUG.MIN_SIZES", "(160, 192)", "TEST.AUG.MAX_SIZE", "400")
# Random weights find somebody everywhere.
_AUG += ("TEST.DETECTIONS_PER_IMAGE", "4", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0")
VIEWS = {
    "two sizes": ("TEST.AUG.FLIP", "False"),
    "two sizes, each also mirrored": ("TEST.AUG.FLIP", "True"),
    "and turned by 90 degrees": ("TEST.AUG.FLIP", "True", "TEST.AUG.ROTATION_ANGLES", "(90,)"),
}
DEVIATES = "turned"  # there detectron2 turns maps in another way, see test_time_augmentation.py


@dataclass(frozen=True)
class Equality:
    """One config or choice of views; differences are largest absolute ones unless relative."""

    name: str
    maps: float  # raw outputs of the heads
    largest_value: float  # of the checkout's raw outputs
    labels_differ: int  # pixels
    labels: int
    uv_steps: int
    uv_differ: int  # values
    tensors: int = 0  # in the state, with the same names and shapes
    accelerated: float = 0.0  # as maps, with the CPU operators
    losses: float = 0.0  # relative
    gradients: float = 0.0  # length of the difference of all / length of all
    gradient_worst: float = 0.0  # the same of the one tensor where it is largest
    boxes_px: float = 0.0
    same_models: tuple[str, ...] = ()  # configs of the same model

    @property
    def passed(self) -> bool:
        """Whether decoded results are equal, and all else within the limits."""
        return (
            # Mirrored views read U and V from a table: rounding may choose the next cell of it.
            (self.maps <= MAP_LIMIT or self.tensors == 0)
            and self.accelerated <= MAP_LIMIT
            and self.labels_differ == 0
            and self.uv_steps <= UV_LIMIT
            and max(self.losses, self.gradients) <= RELATIVE_LIMIT
            and self.boxes_px <= BOX_LIMIT_PX
        )


def compare(
    checkout: Path,
    names: Sequence[str],
    *,
    seed: int = 0,
    opts: Sequence[str] = (),
    keep: Path | None = None,
    progress: Callable[[str], None] = print,
) -> tuple[list[Equality], list[Equality]]:
    """Compare the models of configs, and test-time augmentation of one of them.

    Args:
        checkout: of detectron2.
        names: of its configs.
        seed: of weights and inputs.
        opts: KEY VALUE pairs for both sides.
        keep: folder in which each result outlives a stop, while no source has changed.
        progress: is given a line for each thing done.

    Returns:
        Of each model, and of each choice of views.
    """
    project = process.project_of(checkout)
    sources = (process.ROOT / "densepose", process.HERE, project / "densepose")
    state = [report.sources_digest(*sources), seed, list(opts), torch.__version__]

    def kept(name: str, measure: Callable[[], Equality]) -> Equality:
        file = None if keep is None else keep / f"{name.replace('/', '__')}.json"
        if file is not None and file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["state"] == state:
                return Equality(**content["value"])
        progress(name)
        found = measure()
        if file is not None:
            keep.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps({"state": state, "value": asdict(found)}, indent=1))
        return found

    with process.detectron2(checkout) as side:
        groups = group_by_model(side, names)
        views = []
        for views_name, aug in VIEWS.items() if VIEWS_CONFIG in groups else ():
            case = Case(VIEWS_CONFIG, (*opts, *_AUG, *aug), seed)
            measured = kept(views_name, lambda n=views_name, c=case: compare_views(side, n, c))
            views.append(measured)
        models = [
            replace(
                kept(name, lambda n=name: compare_model(side, project, Case(n, tuple(opts), seed))),
                same_models=tuple(others),
            )
            for name, others in groups.items()
        ]
    return models, views


def compare_model(side: process.Side, project: Path, case: Case) -> Equality:
    """All numbers of one config; this package reads the checkout's YAML file.

    Raises:
        ValueError: parameters or results are there on one side only.
        RuntimeError: a checkpoint written here does not load there, strictly and unchanged.
    """
    ours_case = replace(case, config=str(project / "configs" / f"{case.config}.yaml"))
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as name:
        folder = Path(name)
        shapes = side.call("state_shapes", case=asdict(case))
        model = our_side.seeded_model(ours_case)
        ours_shapes = {n: list(tensor.shape) for n, tensor in model.state_dict().items()}
        if ours_shapes != shapes:
            alone = [n for n in {**shapes, **ours_shapes} if shapes.get(n) != ours_shapes.get(n)]
            raise ValueError(f"{case.config}: on one side only, or of other shapes: {alone[:5]}")
        our_side.write_checkpoint(model, folder / "model_final.pth")
        side.call("load", case=asdict(case), file=str(folder / "model_final.pth"))
        side.call("model_results", case=asdict(case), file=str(folder / "theirs"))
        theirs = load_file(folder / "theirs")
        ours = our_side.model_results(model, case.seed)
        fast = our_side.accelerated_maps(our_side.seeded_model(ours_case), case.seed)
    return Equality(
        name=case.config,
        tensors=len(shapes),
        accelerated=max(difference(fast[n], theirs[n]) for n in fast if n.startswith("map/")),
        **compare_results(ours, theirs),
    )


def compare_views(side: process.Side, name: str, case: Case) -> Equality:
    """Test-time augmentation with one choice of views."""
    table = mirror_table()
    with tempfile.TemporaryDirectory(prefix="densepose_upstream_") as folder:
        save_file({"uv": table}, Path(folder) / "table")
        side.call("views", case=asdict(case), folder=folder)
        theirs = load_file(Path(folder) / "views")
    ours = our_side.views(case, table)
    boxes = difference(ours.pop("boxes"), theirs.pop("boxes"))
    return Equality(name=name, boxes_px=boxes, **compare_results(ours, theirs))


def mirror_table() -> Tensor:
    """(25, 256, 256, 2) left-right map of (u, v) at [part, 255 v, 255 u]; smooth, no mere 1 - u."""
    step = torch.arange(256, dtype=torch.float32) / 255
    v, u = torch.meshgrid(step, step, indexing="ij")
    bend = torch.linspace(0, 0.2, 25)[:, None, None] * u * (1 - u)
    return torch.stack([1 - u - bend, v.expand(25, -1, -1) * 0.95], dim=-1).contiguous()


def compare_results(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Numbers of an ``Equality`` from map/NAME, iuv/PERSON, loss/NAME and gradient/NAME.

    Gradients that are zero but for rounding (of a bias before a norm, say) have no direction to
    agree on: those below a millionth of all gradients' length do not count alone.

    Raises:
        ValueError: a result is there on one side only.
    """
    if set(ours) != set(theirs):
        alone = sorted(set(ours) ^ set(theirs))
        raise ValueError(f"{len(alone)} results on one side only: {', '.join(alone[:5])}")
    maps = [name for name in theirs if name.startswith("map/")]
    found: dict[str, Any] = {
        "maps": max(difference(ours[name], theirs[name]) for name in maps),
        "largest_value": max(float(theirs[name].abs().max()) for name in maps),
    }
    people = [(ours[n].int(), theirs[n].int()) for n in theirs if n.startswith("iuv/")]
    steps = [(a[1:] - b[1:]).abs()[:, a[0] == b[0]] for a, b in people]
    found |= {
        "labels": sum(a[0].numel() for a, _ in people),
        "labels_differ": sum(int((a[0] != b[0]).sum()) for a, b in people),
        "uv_steps": max((int(s.max()) for s in steps if s.numel()), default=0),
        "uv_differ": sum(int((s > 0).sum()) for s in steps),
    }
    losses = [(float(ours[n]), float(theirs[n])) for n in theirs if n.startswith("loss/")]
    gradients = [name for name in theirs if name.startswith("gradient/")]
    if not gradients:
        return found
    apart = {n: float((ours[n].double() - theirs[n].double()).norm()) for n in gradients}
    length = {n: float(theirs[n].double().norm()) for n in gradients}
    whole = sum(value**2 for value in length.values()) ** 0.5
    return {
        **found,
        "losses": max(abs(a - b) / max(abs(b), 1e-12) for a, b in losses),
        "gradients": sum(value**2 for value in apart.values()) ** 0.5 / whole,
        "gradient_worst": max(apart[n] / length[n] for n in length if length[n] > 1e-6 * whole),
    }


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape; 0 for empty ones."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes differ: {tuple(ours.shape)} here, {tuple(theirs.shape)} there")
    return float((ours.double() - theirs.double()).abs().max()) if ours.numel() else 0.0


def shipped_differences(side: process.Side, names: Sequence[str]) -> dict[str, list[str]]:
    """Config -> keys whose value differs from that of the config of the same name here.

    Keys of this package alone do not count, nor do addresses of weights, nor INPUT.MASK_FORMAT:
    detectron2's DensePose takes bitmasks whatever that says, and here it says so.
    """
    found = {}
    for name in names:
        try:
            ours = our_side.config_values(Case(name))
        except InputError:
            continue
        theirs = side.call("config_values", case=asdict(Case(name)))
        keys = {key for key in {*ours} & {*theirs} - {"INPUT.MASK_FORMAT"} if "WEIGHTS" not in key}
        found[name] = sorted(key for key in keys if ours[key] != theirs[key])
    return found


HEAD = ("config", "tensors", "maps", "value", "CPU operators", "labels", "UV", "losses")
HEAD += ("gradients", "worst", "equal")


def tables(models: Sequence[Equality], views: Sequence[Equality]) -> str:
    """Markdown of all numbers."""
    rows = [
        (
            m.name,
            str(m.tensors),
            f"{m.maps:.1e}",
            f"{m.largest_value:.3g}",
            f"{m.accelerated:.1e}",
            *_decoded(m),
            f"{m.losses:.1e}",
            f"{m.gradients:.1e}",
            f"{m.gradient_worst:.1e}",
            "yes" if m.passed else "**no**",
        )
        for m in models
    ]
    text = markdown_table(HEAD, rows)
    doubles = [f"- {m.name}: {', '.join(m.same_models)}" for m in models if m.same_models]
    if doubles:
        text += "\n\nOf the same model, so measured once:\n\n" + "\n".join(doubles)
    if views:
        rows = [
            (
                v.name,
                f"{v.boxes_px:.1e}",
                f"{v.maps:.1e}",
                *_decoded(v),
                "deviates" if DEVIATES in v.name else "yes" if v.passed else "**no**",
            )
            for v in views
        ]
        head = ("views", "boxes, px", "maps", "labels", "UV", "equal")
        text += "\n\n" + markdown_table(head, rows)
    return text


def _decoded(equality: Equality) -> tuple[str, str]:
    labels = f"{equality.labels_differ} of {equality.labels}"
    return labels, f"{equality.uv_steps} ({equality.uv_differ})"


def passed(models: Sequence[Equality], views: Sequence[Equality]) -> bool:
    """Whether everything that has to be equal is."""
    return all(m.passed for m in models) and all(v.passed or DEVIATES in v.name for v in views)
