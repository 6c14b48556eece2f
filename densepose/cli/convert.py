"""``densepose convert``: any file of weights as safetensors or .pth."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .parser import add_config_pairs

if TYPE_CHECKING:
    from torch import Tensor

    from densepose.engine.weights_file import WeightsFile

HELP = "write weights (.pkl, .pth, .safetensors, zoo://NAME, shipped://) as safetensors or .pth"
EXAMPLE = """\
a released pickle        densepose convert model_final_162be9.pkl R_50_FPN_s1x.safetensors
a model of the zoo       densepose convert zoo://R_50_FPN_DL_WC1M_s1x
half the size            densepose convert output/model_final.pth small.safetensors --half
under the model's names  densepose convert DensePose_ResNet50_FPN_s1x-e2e.pkl R50.pth \\
                             --config-file densepose_rcnn_R_50_FPN_s1x_legacy
"""


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
        help="name that ends in .safetensors or .pth (default: the source's, as safetensors)",
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
        "--zoo-dir", default="", metavar="DIR", help="folder of released models; nothing is fetched"
    )
    # Pairs need no option before them any more.
    add("--opts", action="store_true", dest="before_pairs", help=SUPPRESS)
    add_config_pairs(parser, "config keys that replace those of --config-file")


def run(args: Namespace) -> int:
    """Convert, and print what was written."""
    from densepose.engine.weights_convert import convert_weights
    from densepose.engine.weights_file import read_weights, resolve_weights

    target = _target(args)
    notes = {}
    if args.source.startswith("zoo://"):
        from densepose.model_zoo import fetch, find

        path = fetch(args.source, args.zoo_dir, say=print)
        notes = {"licence": find(args.source).licence, "name": find(args.source).name}
    else:
        path = resolve_weights(args.source, args.zoo_dir)
    file = read_weights(path)
    named = None
    if args.config_file:
        named = _under_names_of_model(args, file)
        notes["config"] = args.config_file.removeprefix("configs/").removesuffix(".yaml")
    elif args.opts:
        raise ValueError(f"{' '.join(args.opts)}: config keys need --config-file")
    done = convert_weights(file, target, named=named, half=args.half, notes=notes)
    print(f"{done.text()}\nWeights: {done.target}")
    return 0


def _target(args: Namespace) -> Path:
    from densepose.engine.weights_file import resolve_weights

    if args.target:
        target = Path(args.target)
    elif "://" in args.source:
        name = Path(args.source.partition("://")[2]).stem or resolve_weights(args.source).stem
        target = Path(f"{name}.safetensors")
    else:
        target = Path(args.source).with_suffix(".safetensors")
    if target.exists() and not args.overwrite:
        raise FileExistsError(f"{target} exists; give another name, or --overwrite")
    return target


def _under_names_of_model(args: Namespace, file: WeightsFile) -> dict[str, Tensor]:
    """The weights that the model of a config has, after a report of what fits."""
    from densepose.config import check_config, find_config, load_config
    from densepose.engine.load_report import check_anything_matched, check_complete, compare_weights
    from densepose.engine.model import build_run_model
    from densepose.engine.name_matching import match_names

    # Names and shapes are all that is needed of the model.
    plain = ["MODEL.DEVICE", "cpu", "MODEL.CPU_OPS", "off", "MODEL.TIMM.PRETRAINED", ""]
    cfg = load_config(find_config(args.config_file), [*args.opts, *plain])
    check_config(cfg)
    state = build_run_model(cfg).state_dict()
    weights = match_names(file, state)
    report = compare_weights(str(file.path), weights, state)
    print(report.short_text())
    check_anything_matched(report)
    if not args.partial:
        check_complete(report, override="--partial writes what fits")
    return {name: weights[name] for name in report.matched}
