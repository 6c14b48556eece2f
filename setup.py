"""What pyproject.toml cannot say: configs/ is shipped inside the package, needs are in files."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The requirements of one file in requirements/, without comments."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [line for line in (line.split("#")[0].strip() for line in lines) if line]


setup(
    packages=[*find_packages(include=["densepose", "densepose.*"]), "densepose.configs"],
    package_dir={"densepose.configs": "configs"},
    package_data={
        "densepose": ["**/assets/*", "shipped_weights/*", "py.typed"],
        "densepose.configs": ["**/*.yaml"],
    },
    install_requires=requirements("run.txt"),
    extras_require={
        "dev": requirements("dev.txt"),
        "bake": requirements("bake.txt"),
        "video": requirements("video.txt"),
        "heic": requirements("heic.txt"),
        "all": requirements("dev.txt") + requirements("bake.txt"),
    },
)
