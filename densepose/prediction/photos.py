"""Which files are meant, and reading a photo whatever its format, mode and orientation."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_WILD = "*?["
_UINT8_MAX, _UINT16_MAX = np.iinfo(np.uint8).max, np.iinfo(np.uint16).max
_PAPER = (_UINT8_MAX,) * 4


def find_inputs(words: Sequence[str], leave_out: Path | None = None) -> list[Path]:
    """Photos and videos that files, folders and patterns name, each once.

    Args:
        words: files, in the order they are wanted; folders, searched to the bottom and sorted;
            patterns such as ``day1/*.jpg`` or ``**/*.png``, sorted.
        leave_out: folder of results; what lies in it is no input of a folder or a pattern.

    Raises:
        FileNotFoundError: a file does not exist, a folder or a pattern has no photo or video.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word).expanduser()
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            several = path.rglob("*")
        elif any(sign in word for sign in _WILD):
            several = (Path(name) for name in glob.glob(str(path), recursive=True))
        else:
            raise FileNotFoundError(f"{word}: no such photo, video or folder")
        listed = _known_files(several, leave_out)
        if not listed:
            raise FileNotFoundError(
                f"{word}: no photo or video in it; known endings are"
                f" {', '.join(PHOTO_SUFFIXES + VIDEO_SUFFIXES)}"
            )
        found.update(dict.fromkeys(listed))
    return list(found)


def _known_files(paths: Iterable[Path], leave_out: Path | None) -> list[Path]:
    outside = None if leave_out is None else leave_out.resolve()
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in PHOTO_SUFFIXES + VIDEO_SUFFIXES
        and path.is_file()
        and (outside is None or outside not in path.resolve().parents)
    )


def is_video(path: Path) -> bool:
    """Whether the ending is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_photo(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright as its EXIF entry says; transparent pixels become white.

    Of an animation the first picture is read. Grey, palette, CMYK and 16-bit pictures are fine.

    Raises:
        ValueError: no picture, damaged, or a mode without a fixed white.
    """
    try:
        with Image.open(path) as opened:
            return _as_rgb(ImageOps.exif_transpose(opened), path)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not a picture that can be read; convert it to JPEG") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as a picture ({error})") from error


def _as_rgb(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits; Pillow alone would cut everything off at 255
        grey = np.asarray(image).astype(np.float64) * (_UINT8_MAX / _UINT16_MAX)
        grey = np.clip(np.rint(grey), 0, _UINT8_MAX).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError(f"{path}: floating-point pixels have no fixed white; save it as 8 bits")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, _PAPER), image.convert("RGBA"))
    return np.array(image.convert("RGB"))
