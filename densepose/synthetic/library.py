"""What a folder of assets holds: items to wear, recorded motions, light from all around."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .environment import SUFFIXES, read_environment
from .mocap import Motion, read_motions
from .wardrobe import Wardrobe, read_wardrobe, split_part


@dataclass(frozen=True)
class Library:
    """The assets that one split may use."""

    wardrobe: Wardrobe
    motions: tuple[Motion, ...]
    environments: tuple[Path, ...]


@lru_cache(maxsize=4)
def open_library(folder: str, split: str) -> Library:
    """Read the assets below ``folder``; the splits share none of which there are six or more.

    Raises:
        InputError: no items in it; an item, a motion or a panorama that cannot be used.
    """
    root = Path(folder)
    wardrobe, motions, panoramas = _read(root)
    return Library(
        wardrobe.of_split(split),
        tuple(split_part(motions, split)),
        tuple(split_part(panoramas, split)),
    )


@lru_cache(maxsize=2)
def _read(root: Path) -> tuple[Wardrobe, list[Motion], list[Path]]:
    wardrobe = read_wardrobe(root)
    panoramas = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in panoramas:
        read_environment(path)
    return wardrobe, read_motions(root), panoramas


def library_files(folder: str) -> list[Path]:
    """Every file below ``folder``: what the images made with it depend on."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())
