"""Which files are meant, and reading a photo whatever its format, mode and orientation."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from densepose.errors import InputError

from .results_folder import FOLDERS

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_WILD = "*?["
_UINT8_MAX, _UINT16_MAX = np.iinfo(np.uint8).max, np.iinfo(np.uint16).max
_PAPER = (_UINT8_MAX,) * 4


def find_inputs(words: Sequence[str], results: Path | None = None) -> list[Path]:
    """Photos and videos that files, folders, patterns and lists name, each once.

    Args:
        words: files, in the order they are wanted; folders, searched to the bottom and sorted;
            patterns such as ``day1/*.jpg`` or ``**/*.png``, sorted; ``@list.txt``, a file of such
            words, one a line, whose relative paths start at the working folder.
        results: folder of results; what was written into it is no input of a folder or a pattern.

    Raises:
        InputError: a file does not exist, a folder or a pattern has no photo or video.
    """
    found: dict[Path, None] = {}
    for word in _without_lists(words):
        path = Path(word).expanduser()
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            several = path.rglob("*")
        elif any(sign in word for sign in _WILD):
            several = (Path(name) for name in glob.glob(str(path), recursive=True))
        else:
            raise InputError(f"{word}: no such photo, video or folder")
        listed = _known_files(several, results)
        if not listed:
            raise InputError(
                f"{word}: no photo or video in it; known endings are"
                f" {', '.join(PHOTO_SUFFIXES + VIDEO_SUFFIXES)}"
            )
        found.update(dict.fromkeys(listed))
    return list(found)


def _without_lists(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if not word.startswith("@") or Path(word).exists():
            yield word
            continue
        path = Path(word[1:]).expanduser()
        if not path.is_file():
            raise InputError(f"{path}: the list of photos is missing; expected one a line")
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        yield from (line for line in lines if line)


def _known_files(paths: Iterable[Path], results: Path | None) -> list[Path]:
    written = [] if results is None else [(results / name).resolve() for name in FOLDERS.values()]
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in PHOTO_SUFFIXES + VIDEO_SUFFIXES
        and path.is_file()
        and not any(folder in path.resolve().parents for folder in written)
    )


def is_video(path: Path) -> bool:
    """Whether the ending is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_photo(path: str | os.PathLike[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright as its EXIF entry says; transparent pixels become white.

    Of an animation the first picture is read. Grey, palette, CMYK and 16-bit pictures are fine.

    Raises:
        InputError: no such file, no picture, damaged, of more than 179 million pixels, or of a mode
            without a fixed white.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such photo")
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            # Of pictures above 89 million pixels; above twice as many it is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return as_rgb(ImageOps.exif_transpose(opened), path)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a picture that can be read; convert it to JPEG") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large a picture; shrink it ({error})") from error
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from error


def as_rgb(image: Image.Image, path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image of any mode, see ``read_photo``; it is not turned."""
    if image.mode.startswith("I"):  # 16 bits; Pillow alone would cut everything off at 255
        grey = np.asarray(image).astype(np.float64) * (_UINT8_MAX / _UINT16_MAX)
        grey = np.clip(np.rint(grey), 0, _UINT8_MAX).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise InputError(f"{path}: floating-point pixels have no fixed white; save it as 8 bits")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, _PAPER), image.convert("RGBA"))
    return np.array(image.convert("RGB"))
