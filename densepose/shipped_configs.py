"""Where the configs of the project are: inside an installed package, beside it in a checkout."""

from __future__ import annotations

import difflib
from pathlib import Path

PACKAGE = Path(__file__).parent
# Folder of lists of experiments, which are no configs of a run.
EXPERIMENTS = "ablation"


def config_dir() -> Path:
    """Folder of the YAML files that come with the package.

    Raises:
        FileNotFoundError: they were not installed.
    """
    installed, checkout = PACKAGE / "configs", PACKAGE.parent / "configs"
    for folder in (installed, checkout):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the configs are neither in {installed} nor in {checkout}; install the package again:"
        " pip install --force-reinstall --no-deps ."
    )


def config_names() -> list[str]:
    """Names of all shipped configs that can be run, relative to their folder; not the bases."""
    folder = config_dir()
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))
    runnable = (name for name in names if not name.startswith(f"{EXPERIMENTS}/"))
    return sorted(name for name in runnable if not name.rpartition("/")[2].startswith("Base-"))


def find_config(name: str) -> str:
    """Path of a config: a file that exists, or one of the shipped ones.

    Args:
        name: a path, or a name as ``config_names`` gives it, with or without ``configs/`` before
            and ``.yaml`` behind it.

    Raises:
        FileNotFoundError: neither exists; the message has the nearest shipped name.
    """
    if Path(name).is_file():
        return name
    short = name.removeprefix("configs/").removesuffix(".yaml") + ".yaml"
    shipped = config_dir() / short
    if not Path(name).is_absolute() and shipped.is_file():
        return str(shipped)
    close = difflib.get_close_matches(short, config_names(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"Shipped are: {', '.join(config_names())}"
    raise FileNotFoundError(
        f"config file {name!r} does not exist (working folder: {Path.cwd()}), nor does a config of"
        f" that name come with the package; {hint}"
    )
