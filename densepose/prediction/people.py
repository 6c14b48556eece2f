"""The people of one photo as a program uses them: arrays, drawings and files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from densepose.errors import InputError
from densepose.evaluation.predictions import (
    prediction_paths,
    read_prediction,
    write_challenge_results,
    write_prediction,
)
from densepose.structures.body_parts import UV_STEPS
from densepose.structures.prediction import ImagePrediction
from densepose.vis.draw import draw
from densepose.vis.iuv_image import prediction_to_iuv, write_iuv_png

SUFFIXES = (".npz", ".json", ".png")


@dataclass(frozen=True, eq=False)
class Person:
    """One person. The maps cover the h x w whole pixels of the box, from its upper left corner."""

    box_xyxy_px: np.ndarray  # (4,) float32
    score: float
    part: np.ndarray  # (h, w) uint8: 0 background, 1..24 as in densepose.structures.body_parts
    uv: np.ndarray  # (2, h, w) float32 in [0, 1]: U and V of the part; 0 on the background


@dataclass(frozen=True, eq=False)
class People(ImagePrediction):
    """The people of one photo, best score first: ``people[0]`` is one, ``people[:2]`` are two.

    ``boxes_xyxy_px`` (N, 4) and ``scores`` (N,) are arrays of all.
    """

    photo: np.ndarray | None = None  # (H, W, 3) uint8 RGB; None where it was read from a file

    @classmethod
    def of(
        cls, prediction: ImagePrediction, photo: np.ndarray | None = None, file_name: str = ""
    ) -> People:
        """The same people, with the photo they are in and its name."""
        values = {field.name: getattr(prediction, field.name) for field in fields(ImagePrediction)}
        return cls(**{**values, "file_name": file_name or prediction.file_name}, photo=photo)

    @overload
    def __getitem__(self, index: int) -> Person: ...
    @overload
    def __getitem__(self, index: slice) -> People: ...
    def __getitem__(self, index: int | slice) -> Person | People:
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        return Person(
            self.boxes_xyxy_px[index],
            float(self.scores[index]),
            self.labels[index],
            (self.uv[index] / UV_STEPS).astype(np.float32),
        )

    def __iter__(self) -> Iterator[Person]:
        return (self[index] for index in range(len(self)))

    def iuv(self) -> np.ndarray:
        """(H, W, 3) uint8: part, U x 255, V x 255; where people overlap the better score wins."""
        return prediction_to_iuv(self)

    def part_map(self) -> np.ndarray:
        """(H, W) uint8: 0 background, 1..24 parts."""
        return self.iuv()[..., 0]

    def mask(self) -> np.ndarray:
        """(H, W) bool: where a body part was found."""
        return self.part_map() > 0

    def draw(
        self, style: str = "parts", background: str | None = None, *, boxes: bool = False
    ) -> Image.Image:
        """A picture of the size of the photo.

        Args:
            style: parts, u, v, contour, iuv, confidence, or a form that another program expects:
                see ``densepose.vis.styles.STYLES``.
            background: photo, grey (the photo without its colours), black or another colour; that
                of the style if None.
            boxes: draw boxes and scores too.

        Raises:
            InputError: no such style or background; the photo is needed and not known, as after
                ``read_predictions``; or the style needs a model loaded with ``confidence``.
        """
        drawn = draw(self.photo, self, style=style, background=background, boxes=boxes)
        return Image.fromarray(drawn)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all to a file, whose ending says which form it gets.

        Args:
            path: ``.npz`` for ``read_predictions`` and ``densepose score``, ``.json`` for a result
                file of the COCO challenge, ``.png`` for an IUV image (red is the part, green U x
                255, blue V x 255).

        Raises:
            InputError: another ending.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError(
                f"{path}: people are saved as {', '.join(SUFFIXES)}; for a picture use draw().save"
            )
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npz":
            write_prediction(path, self)
        elif suffix == ".json":
            write_challenge_results(path, [self])
        else:
            write_iuv_png(path, self.iuv())


def read_predictions(path: str | os.PathLike[str]) -> People | list[People]:
    """Read what ``People.save``, ``densepose predict`` or ``densepose evaluate`` has written.

    Args:
        path: one ``.npz`` file, or a folder of them.

    Returns:
        The people of the file, or of each file of the folder in the order of their names. Their
        ``photo`` is None.

    Raises:
        InputError: no such file, it is not a folder of predictions, or a file is damaged.
    """
    if not Path(path).is_dir():
        return People.of(read_prediction(path))
    return [People.of(read_prediction(file)) for file in prediction_paths(path)]
