"""``densepose convert``: any file of weights as safetensors or .pth.

Only weights are written. What else a checkpoint holds (optimiser, schedule) is reported, not kept.
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densepose.errors import InputError

from .parser import add_config_pairs

if TYPE_CHECKING:
    from torch import Tensor

HELP = "write weights (.pkl, .pth, .safetensors, zoo://NAME, shipped://) as safetensors or .pth"
EXAMPLE = """\
a released pickle        densepose convert model_final_162be9.pkl R_50_FPN_s1x.safetensors
a model of the zoo       densepose convert zoo://R_50_FPN_DL_WC1M_s1x
half the size            densepose convert output/model_final.pth small.safetensors --half
under the model's names  densepose convert DensePose_ResNet50_FPN_s1x-e2e.pkl R50.pth \\
                             --config-file densepose_rcnn_R_50_FPN_s1x_legacy
"""
SUFFIXES = (".safetensors", ".pth")
NOTES = (
    "config",
    "iteration",
    "licence",
    "__author__",
)  # entries that are kept as text


def add_arguments(parser: ArgumentParser) -> None:
    """Add source, target and form."""
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="file, shipped://, zoo://NAME, https://... or detectron2://...",
    )
    add(
        "target",
        nargs="?",
        metavar="TARGET",
        help="name that ends in .safetensors or .pth [the source's, as safetensors]",
    )
    add("--half", action="store_true", help="matrices and kernels in half precision")
    add(
        "--config-file",
        metavar="FILE",
        help="the model: its names are written, and weights that do not fit it are an error",
    )
    add("--partial", action="store_true", help="write what fits although the model needs more")
    add("--overwrite", action="store_true", help="replace a file that is there")
    add(
        "--zoo-dir",
        default="",
        metavar="DIR",
        help="folder of released models; nothing is downloaded",
    )
    # Pairs need no option before them any more.
    add("--opts", action="store_true", dest="before_pairs", help=SUPPRESS)
    add_config_pairs(parser, "config keys that replace those of --config-file")


def run(args: Namespace) -> int:
    """Convert, and print what was written."""
    from densepose.engine.weights import read_checkpoint
    from densepose.model_zoo import fetch, find, resolve_weights

    target = _target(args)
    notes = {}
    if args.source.startswith("zoo://"):
        path = fetch(args.source, args.zoo_dir)
        notes = {"licence": find(args.source).licence, "name": find(args.source).name}
    else:
        path = resolve_weights(args.source, args.zoo_dir)
    checkpoint = read_checkpoint(path)
    if args.config_file:
        checkpoint, notes["config"] = _under_names_of_model(args, checkpoint)
    elif args.opts:
        raise InputError(f"{' '.join(args.opts)}: config keys need --config-file")
    print(convert(checkpoint, target, half=args.half, notes={**notes, "source": path.name}))
    print(f"Weights: {target}, {path.stat().st_size:,} bytes -> {target.stat().st_size:,}")
    return 0


def _target(args: Namespace) -> Path:
    from densepose.model_zoo import resolve_weights

    if args.target:
        target = Path(args.target)
    elif "://" in args.source:
        name = Path(args.source.partition("://")[2]).stem or resolve_weights(args.source).stem
        target = Path(f"{name}.safetensors")
    else:
        target = Path(args.source).with_suffix(".safetensors")
    if target.exists() and not args.overwrite:
        raise InputError(f"{target} exists; give another name, or --overwrite")
    return target


def _under_names_of_model(
    args: Namespace, checkpoint: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The checkpoint with the weights that the model of a config has, after a report of them.

    And its config: the name of a shipped one where nothing of it was replaced, else its text.
    """
    from densepose.config import check_config, config_names, find_config, load_config
    from densepose.engine.load_report import compare_weights
    from densepose.engine.model import build_run_model
    from densepose.engine.weights import HEURISTICS, match_names

    # Names and shapes are all that is needed of the model.
    plain = ["MODEL.DEVICE", "cpu", "MODEL.CPU_OPS", "off", "MODEL.TIMM.PRETRAINED", ""]
    cfg = load_config(find_config(args.config_file), [*args.opts, *plain])
    check_config(cfg)
    state = build_run_model(cfg).state_dict()
    weights = match_names(args.source, checkpoint, state)
    report = compare_weights(args.source, weights, state)
    print(report.short_text())
    report.check_matched()
    if not args.partial:
        report.check_complete(override="--partial writes what fits")
    named = {name: weights[name] for name in report.matched}
    name = args.config_file.removeprefix("configs/").removesuffix(".yaml")
    if args.opts or f"{name}.yaml" not in config_names():
        name = load_config(find_config(args.config_file), args.opts).dump()
    return {**checkpoint, "model": named, HEURISTICS: False}, name


def convert(
    checkpoint: Mapping[str, Any],
    target: Path,
    *,
    half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> str:
    """Write the weights of a checkpoint to ``target``, in full or not at all.

    Args:
        checkpoint: from ``read_checkpoint``. Caffe2's names are rewritten to detectron2's.
        target: ends in ``.safetensors`` or ``.pth``; an existing file is replaced.
        half: matrices and kernels as float16; norms, biases and statistics stay as they are.
        notes: further metadata.

    Returns:
        Lines that say what was written, what half precision cannot hold, and what was dropped.

    Raises:
        InputError: another ending, or names that cannot be rewritten.
        OSError: the file cannot be written.
    """
    import densepose
    from densepose.engine.weights import HEURISTICS

    if target.suffix not in SUFFIXES:
        raise InputError(f"{target}: the name has to end in {' or '.join(SUFFIXES)}")
    if checkpoint.get("__author__") == "Caffe2":
        checkpoint = _renamed(checkpoint)
    weights = checkpoint["model"]
    known = {"__author__": "unknown", **checkpoint, **checkpoint.get("metadata", {})}
    metadata = {key: str(known[key]) for key in NOTES if key in known} | dict(notes or {})
    metadata |= {"format": "pt", "written_by": f"densepose {densepose.__version__}"}
    if checkpoint.get(HEURISTICS):
        metadata[HEURISTICS] = "True"
    written = {name: _halved(value) if half else value for name, value in weights.items()}
    # Tensors may be views of one another, which safetensors refuses.
    written = {name: value.contiguous().clone() for name, value in written.items()}
    _write(target, written, metadata)
    dropped = sorted(checkpoint.keys() - {*NOTES, "model", "metadata", HEURISTICS})
    return _description(weights, written, dropped)


def _renamed(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Caffe2's names rewritten to the ends of detectron2's names; class 0 becomes the last."""
    from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

    try:
        weights, _ = convert_c2_detectron_names(dict(checkpoint["model"]))
    except (AssertionError, IndexError) as error:
        raise InputError(
            f"the names of the weights are not those of a Caffe2 model"
            f" ({error or 'two become one'}); if another program made the file, save"
            " model.state_dict() with torch.save"
        ) from error
    return {**checkpoint, "model": weights, "__author__": "Caffe2, renamed"}


def _halved(value: Tensor) -> Tensor:
    """The tensor in half precision; the same where it is no matrix, or half cannot hold it."""
    if value.ndim < 2 or not value.is_floating_point():
        return value
    small = value.half()
    return small if small.isfinite().all() else value


def _write(target: Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    import torch
    from safetensors.torch import save_file

    from densepose.files import atomic

    with atomic(target) as part:
        if part.suffix == ".safetensors":
            save_file(weights, part, metadata=metadata)
        else:
            shown = {key: metadata[key] for key in metadata if key.startswith(("__", "matching"))}
            torch.save({"model": weights, "metadata": metadata, **shown}, part)


def _description(before: Mapping[str, Tensor], after: Mapping[str, Tensor], dropped: list) -> str:
    import torch

    values = sum(value.numel() for value in after.values())
    lines = [f"{len(after)} tensors, {values / 1e6:.1f} million values"]
    halved = [name for name, value in after.items() if value.dtype != before[name].dtype]
    if halved:
        worst = max(float((after[n] - before[n]).abs().max()) for n in halved if after[n].numel())
        lines.append(f"{len(halved)} in half precision, largest rounding {worst:.1e}")
        kept = [n for n, v in after.items() if v.ndim > 1 and v.dtype == torch.float32]
        lines += [f"too large for half precision: {', '.join(kept)}"] * bool(kept)
    lines += [f"skipped, not weights: {', '.join(dropped)}"] * bool(dropped)
    return "\n".join(lines)
