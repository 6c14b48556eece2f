"""A model that takes photos and gives their people."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from PIL import Image

from densepose.errors import InputError

from .people import People
from .photos import as_rgb, read_photo

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from densepose.engine.predictor import Predictor

Photo: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"
_PHOTO = (str, os.PathLike, Image.Image, np.ndarray)
BATCH_ON_GPU, BATCH_ON_CPU = 8, 1


class Model:
    """A DensePose model: call it with a photo, or with a list of photos.

    Attributes:
        config: of the model; MODEL.WEIGHTS names the weights.
        source: where the config came from.
        predictor: takes and returns arrays; ``predictor.model`` is the module of torch.
        batch_size: how many photos go through the network at once.
        arguments: with which ``load`` makes the same model in another process.
    """

    def __init__(
        self,
        config: CfgNode,
        source: str,
        predictor: Predictor,
        batch_size: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.source, self.predictor = config, source, predictor
        self.arguments = dict(arguments or {})
        usual = BATCH_ON_CPU if predictor.device.type == "cpu" else BATCH_ON_GPU
        self.batch_size = batch_size or usual

    @overload
    def __call__(self, photos: Photo) -> People: ...
    @overload
    def __call__(self, photos: Sequence[Photo]) -> list[People]: ...
    def __call__(self, photos: Photo | Sequence[Photo]) -> People | list[People]:
        """Find the people of one photo or of several.

        Args:
            photos: a path, an image of Pillow or an (H, W, 3) uint8 RGB array, or a list of such.

        Returns:
            The people of the photo; of a list the people of each.

        Raises:
            InputError: a file is missing or not readable as a photo, or an array has another shape
                or type.
        """
        if isinstance(photos, _PHOTO):
            return next(self.stream([photos]))
        return list(self.stream(photos))

    def stream(self, photos: Iterable[Photo]) -> Iterator[People]:
        """The people of each photo, in order; a batch of photos is in memory at a time."""
        batch: list[tuple[np.ndarray, str]] = []
        for photo in photos:
            batch.append(_pixels(photo))
            if len(batch) == self.batch_size:
                yield from self._people(batch)
                batch = []
        if batch:
            yield from self._people(batch)

    def _people(self, batch: Sequence[tuple[np.ndarray, str]]) -> Iterator[People]:
        images, names = zip(*batch, strict=True)
        found = self.predictor.batch(images, range(1, len(batch) + 1))
        for prediction, image, name in zip(found, images, names, strict=True):
            yield People.of(prediction, image, name)


def _pixels(photo: Photo) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 RGB, and the name of the file where there is one."""
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise InputError(
                f"a photo as an array must be (H, W, 3) uint8 RGB, got {photo.shape} {photo.dtype}"
            )
        return photo, ""
    if isinstance(photo, Image.Image):
        return as_rgb(photo, "image"), ""
    return read_photo(photo), Path(photo).name


def load(
    weights: str | os.PathLike[str] = "",
    config_file: str | os.PathLike[str] = "",
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "",
    min_score: float = 0.5,
    largest: int | None = None,
    half: bool = False,
    confidence: bool = False,
    batch_size: int = 0,
) -> Model:
    """Load a model that is ready to predict.

    Args:
        weights: ``.pth``, ``.safetensors`` or ``.pkl`` file, name of a released model
            (``densepose download --list``), or an address. Empty: the weights of the package.
        config_file: file, or name of a shipped config. Needed only where the weights do not carry
            theirs: checkpoints of this package do, detectron2's trainer writes it beside them.
        options: config keys that replace those of the config, ``{"INPUT.MIN_SIZE_TEST": 640}``.
        device: ``cpu``, ``cuda`` or ``cuda:1``. Empty: a GPU where there is one.
        min_score: people with a lower score are not returned.
        largest: at most this many people of a photo, those with the largest boxes.
        half: half precision, on a GPU.
        confidence: also find how probable the part of each pixel is, for ``style="confidence"``.
        batch_size: photos that go through the network at once. 0: 8 on a GPU, 1 on the CPU.

    Raises:
        InputError: config or weights are missing, cannot be downloaded, or do not fit together; no
            such released model or key.
    """
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    from densepose.engine.predictor import load_predictor, model_config

    opts = as_pairs({**(options or {}), **({"MODEL.DEVICE": device} if device else {})})
    source, config = model_config(os.fspath(weights), os.fspath(config_file), opts)
    wanted = {"min_score": min_score, "largest": largest, "half": half, "confidence": confidence}
    predictor = load_predictor(config, **wanted)
    arguments = {"weights": weights, "config_file": config_file, "options": options, **wanted}
    arguments |= {"device": predictor.device.type, "batch_size": batch_size}
    return Model(config, source, predictor, batch_size, arguments)


def as_pairs(options: Mapping[str, Any]) -> list[str]:
    """KEY, VALUE, KEY, VALUE ... as on a command line."""
    return [word for key, value in options.items() for word in (key, str(value))]
