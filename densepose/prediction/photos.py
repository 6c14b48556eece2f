"""Reading a photo whatever its format, mode, depth and orientation."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from densepose.errors import InputError

with suppress(ImportError):  # not needed, but then Pillow reads HEIC too
    from pillow_heif import register_heif_opener

    register_heif_opener()

logger = logging.getLogger(__name__)

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
# Those of photos. Left out are formats that run other programs (EPS), that Pillow knows by name
# only (HDF5), or that any bytes may be taken for.
_FORMATS = (
    "JPEG MPO PNG GIF WEBP AVIF HEIF BMP DIB TIFF JPEG2000 PPM PSD QOI TGA SGI PCX ICO ICNS".split()
)
_MAY_BE_ANYTHING = {"TGA"}  # no first bytes of its own: only where the ending says so
# What decoders raise on damaged files, besides OSError.
_DAMAGE = (SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
_DAMAGE += (EOFError, RuntimeError, struct.error, zlib.error)
_UINT8_MAX, _UINT16_MAX = np.iinfo(np.uint8).max, np.iinfo(np.uint16).max
_DEPTHS = (8, 10, 12, 14, 16, 32)  # bits of cameras and scanners
_PAPER = (_UINT8_MAX,) * 4
# EXIF's orientation -> (H, W, 3) of the file as it is seen.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether Pillow knows the format of a file from its first bytes."""
    try:
        with Image.open(path, formats=_formats(path)):
            return True
    except Image.DecompressionBombError:
        return True
    except (OSError, *_DAMAGE):
        return False


def _formats(path: str | os.PathLike[str]) -> list[str]:
    Image.init()
    named = Path(path).suffix.lower() == ".tga"
    return [f for f in _FORMATS if f in Image.OPEN and (named or f not in _MAY_BE_ANYTHING)]


def read_photo(path: str | os.PathLike[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright as its EXIF entry says; transparent pixels become white.

    Of an animation the first picture is read. Grey, palette, CMYK and 16-bit pictures are fine. The
    white of more than 8 bits is that of the least depth that holds all values: 10, 12, 14 or 16.

    Raises:
        InputError: no such file, no picture, damaged, of more than 179 million pixels, or of a mode
            without a fixed white.
    """
    try:
        with Image.open(path, formats=_formats(path)) as opened:
            deep = _has_16_bit_colors(opened)
            in_file = _orientation(opened, path) if deep else 1
            opened.load()  # also where OpenCV reads it again: that finds no damage
            if deep and (pixels := _read_deep(path)) is not None:
                return _turned(_deep_as_rgb(pixels, path), in_file)
            if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
                logger.info("%s: the first of %d pictures is used", path, opened.n_frames)
            # Asked now: PNG may say it behind the pixels, a TIFF has been turned by Pillow.
            return _turned(as_rgb(opened, path), _orientation(opened, path))
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{path}: not a picture that can be read{_advice(path)}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large a picture; shrink it ({error})") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such photo") from error
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{path}: cannot be read as a picture ({why})") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: cannot be read as a picture, it is damaged ({error})") from error


def _advice(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        return ", the file is empty"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return ": it is HEIC; pip install pillow-heif, or convert it to JPEG"
    return "; convert it to JPEG"


def _orientation(opened: Image.Image, path: str | os.PathLike[str]) -> int:
    """1 to 8; 1 where EXIF has none or is damaged, which costs no photo."""
    try:
        return int(opened.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, *_DAMAGE) as error:
        logger.warning("%s: not turned, its EXIF entries are damaged (%s)", path, error)
        return 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    upright = _UPRIGHT.get(orientation)
    return pixels if upright is None else np.ascontiguousarray(upright(pixels))


def _has_16_bit_colors(opened: Image.Image) -> bool:
    """Whether Pillow would cut the pixels down to their upper 8 bits."""
    return not opened.mode.startswith("I") and any(";16" in str(tile[3]) for tile in opened.tile)


def _read_deep(path: str | os.PathLike[str]) -> np.ndarray | None:
    """(H, W), (H, W, 3) BGR or (H, W, 4) BGRA uint16; None if OpenCV does not read the file."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels if pixels is not None and pixels.dtype == np.uint16 else None


def _deep_as_rgb(pixels: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    colors = _to_8_bits(pixels if pixels.ndim == 2 else pixels[..., 2::-1], path)
    if pixels.ndim == 2:
        return np.repeat(colors[..., None], 3, axis=2)
    if pixels.shape[2] == 4:
        alpha = (pixels[..., 3:] // (_UINT16_MAX // _UINT8_MAX)).astype(np.uint8)
        return as_rgb(Image.fromarray(np.concatenate([colors, alpha], axis=2)), path)
    return np.ascontiguousarray(colors)


def _to_8_bits(values: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    """Values from 0 of an unknown depth -> uint8 of the same shape."""
    highest = int(values.max(initial=0))
    bits = next(depth for depth in _DEPTHS if highest < 2**depth)
    if bits != 16:
        logger.info("%s: values up to %d, taken for %d bits", path, highest, bits)
    scaled = values.clip(0).astype(np.float32) * np.float32(_UINT8_MAX / (2**bits - 1))
    return np.rint(scaled).astype(np.uint8)


def as_rgb(image: Image.Image, path: str | os.PathLike[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image of any mode, see ``read_photo``; it is not turned."""
    if image.mode.startswith("I"):  # Pillow alone would cut everything off at 255
        return np.repeat(_to_8_bits(np.asarray(image), path)[..., None], 3, axis=2)
    if image.mode == "F":
        raise InputError(f"{path}: floating-point pixels have no fixed white; save it as 8 bits")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, _PAPER), image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))
