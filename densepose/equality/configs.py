"""The chart configs of a checkout of detectron2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

from .our_model import load_checked

PROJECT = Path("projects") / "DensePose"


def project_of(checkout: Path) -> Path:
    """Folder of the DensePose project of a checkout.

    Raises:
        FileNotFoundError: it is not there.
    """
    project = checkout.expanduser().resolve() / PROJECT
    if not (project / "densepose" / "config.py").is_file():
        raise FileNotFoundError(
            f"{checkout}: no {PROJECT} in it; give the folder of a checkout of detectron2"
        )
    return project


def chart_configs(project: Path, only: Sequence[str] = ()) -> list[str]:
    """Names relative to ``configs/`` and without ``.yaml``; neither bases nor embeddings (CSE).

    Args:
        project: folder of the DensePose project.
        only: names, or words of which one has to be in the name; all when empty.

    Raises:
        ValueError: no name has one of the words.
    """
    folder = project / "configs"
    names = [p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml")]
    names = [n for n in names if "cse/" not in n and not n.rpartition("/")[2].startswith("Base-")]
    names.sort()
    words = [word for word in only if word not in names]
    chosen = [n for n in names if not only or n in only or any(word in n for word in words)]
    if not chosen:
        raise ValueError(f"no config has {' or '.join(only)} in its name; there are {names}")
    return chosen


def group_by_model(
    project: Path, names: Sequence[str], opts: Sequence[str]
) -> dict[str, list[str]]:
    """Config -> further configs of the same model: they differ in data and schedule alone."""
    first_of: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    # The short names first: quick schedules join the model that they are a schedule of.
    for name in sorted(names, key=lambda n: (n.count("/"), n)):
        model = _model_text(load_checked(project / "configs" / f"{name}.yaml", opts))
        groups.setdefault(first_of.setdefault(model, name), []).append(name)
    return {name: members[1:] for name, members in groups.items()}


def _model_text(cfg: CfgNode) -> str:
    """All that model and losses depend on."""
    model = cfg.MODEL.clone()
    model.WEIGHTS = ""
    return model.dump() + repr(cfg.INPUT.FORMAT)
