"""The trained model that comes with the package, where there is one."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

FOLDER = Path(__file__).parents[1] / "shipped_weights"
SCHEME = "shipped"  # MODEL.WEIGHTS shipped:// stands for these weights
CONFIG = "config"  # key in the metadata of the weights: name of the shipped config they belong to


def find_shipped_model(folder: str | Path | None = None) -> tuple[str, Path]:
    """Name of the config and path of the weights in the package.

    Args:
        folder: holds one ``.safetensors`` file whose metadata names its config; default FOLDER.

    Raises:
        FileNotFoundError: this package comes without weights.
        ValueError: there are several, or the config is not named.
    """
    folder = Path(FOLDER if folder is None else folder)
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(
            f"no weights come with this package ({folder} has none): give --config-file FILE and"
            " --weights FILE of a model of yours, or --weights zoo://NAME"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{folder}: several models ({names}); give --config-file and --weights")
    with safe_open(found[0], framework="np") as file:
        metadata = file.metadata() or {}
    if CONFIG not in metadata:
        raise ValueError(f"{found[0]}: its metadata has no {CONFIG!r}; give --config-file")
    return metadata[CONFIG], found[0]
