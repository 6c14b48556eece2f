"""Images without annotations: from a folder, a list of files, or key frames of videos.

Shapes: n images of one source, 3 x H x W each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from detectron2.data import detection_utils

from densepose.errors import InputError

from .videos import list_key_frames, read_key_frames, select_frames

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class SourceImages(NamedTuple):
    """What one file gave."""

    path: str
    images: list[Tensor]  # n of (3, H, W) float32 in [0, 255]
    problem: str  # why there are no images; empty when there are


class ImageSource(Dataset):
    """Images of files, resized; a file that cannot be read gives none, and says why."""

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[int, Path], list[np.ndarray]],
        *,
        min_size: int = 800,
        max_size: int = 1333,
    ) -> None:
        """Keep the paths.

        Args:
            paths: files.
            read: number and path of a file -> images (H, W, 3) uint8, of one size.
            min_size: px, of the shorter side after resizing.
            max_size: px, limit of the longer side.
        """
        self.paths = list(paths)
        self.read = read
        self.min_size, self.max_size = min_size, max_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> SourceImages:
        path = self.paths[index]
        try:
            images = self.read(index, path)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three
            return SourceImages(str(path), [], str(error) or type(error).__name__)
        if not images:
            return SourceImages(str(path), [], "no frames")
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        resized = resize_images(pixels, self.min_size, self.max_size)
        return SourceImages(str(path), list(resized), "")


@dataclass(frozen=True)
class ReadImage:
    """Reads an image file, turned as its EXIF entry says."""

    image_format: str  # order of the channels

    def __call__(self, index: int, path: Path) -> list[np.ndarray]:
        """One image (H, W, 3) uint8 in channel order ``image_format``."""
        image = detection_utils.read_image(str(path), format=self.image_format)
        return [np.ascontiguousarray(image)]


@dataclass(frozen=True)
class ReadKeyFrames:
    """Reads some key frames of a video."""

    image_format: str  # order of the channels
    strategy: str  # see ``select_frames``
    count: int  # frames of a video at most
    # time stamps of key frames by the video's number; others are listed
    known: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def __call__(self, index: int, path: Path) -> list[np.ndarray]:
        """Frames (H, W, 3) uint8 in channel order ``image_format``."""
        stamps = self.known[index] if index in self.known else list_key_frames(path)
        frames = read_key_frames(path, select_frames(stamps, self.strategy, self.count))
        convert = detection_utils.convert_PIL_to_numpy
        return [np.array(convert(Image.fromarray(f), self.image_format)) for f in frames]


def resize_images(images: Tensor, min_size: int, max_size: int) -> Tensor:
    """(n, 3, H, W) of any type -> float32 of a size as for INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST.

    The same bilinear resizing of tensors as detectron2's bootstrapping, which smooths nothing when
    it shrinks; annotated images are resized by Pillow.
    """
    height, width = images.shape[-2:]
    scale = min(min_size / min(height, width), max_size / max(height, width))
    return F.interpolate(images.float(), scale_factor=scale, mode="bilinear", align_corners=False)


def list_images(folder: str | Path) -> list[Path]:
    """All images below a folder, sorted.

    Raises:
        InputError: the folder is missing; there are none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: the folder of images is missing")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise InputError(f"{folder}: no images in it; known endings are {', '.join(IMAGE_ENDINGS)}")
    return paths
