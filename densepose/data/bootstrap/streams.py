"""Endless streams of samples: labelled by a teacher, and mixed with annotated ones."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from detectron2.structures import Instances

from densepose.errors import InputError

from .image_sources import SourceImages

logger = logging.getLogger(__name__)

Sample = dict[str, Any]
Label = Callable[[list[Tensor]], list[Instances]]


@dataclass(frozen=True)
class PseudoLabelStream:
    """Samples as the mapper gives them, from images that a teacher labels.

    Images without detections of the teacher are skipped.
    """

    sources: Iterable[Sequence[SourceImages]]  # endless groups of files
    label: Label  # images (3, H, W) -> what the model is to learn from each
    _: KW_ONLY
    name: str  # of the stream, in messages and as ``dataset`` of its samples
    images_at_once: int = 4  # that ``label`` gets at most
    rng: random.Random | None = None  # shuffles the images of a group; None keeps their order
    patience: int = 2000  # files, or images, without any label after which to give up

    def __iter__(self) -> Iterator[Sample]:
        """Samples one by one.

        Raises:
            InputError: no file can be read, or the teacher detects nothing in many images.
        """
        reported: set[str] = set()
        unread = unlabelled = 0
        for group in self.sources:
            for source in group:
                unread = unread + 1 if source.problem else 0
                if source.problem and source.path not in reported:
                    reported.add(source.path)
                    logger.warning("%s: skipped %s: %s", self.name, source.path, source.problem)
                if unread >= self.patience:
                    raise InputError(
                        f"BOOTSTRAP_DATASETS {self.name}: none of {unread} files could be read, the"
                        f" last is {source.path}: {source.problem}"
                    )
            for sample in self._samples(group):
                if sample is None:
                    unlabelled += 1
                    if unlabelled >= self.patience:
                        raise InputError(
                            f"BOOTSTRAP_DATASETS {self.name}: the teacher detected nothing in"
                            f" {unlabelled} images one after another; lower FILTER.MIN_VALUE or"
                            " check BOOTSTRAP_MODEL.WEIGHTS"
                        )
                else:
                    unlabelled = 0
                    yield sample

    def _samples(self, group: Sequence[SourceImages]) -> Iterator[Sample | None]:
        """Samples of the files' images; None for an image without people."""
        images = [(source.path, image) for source in group for image in source.images]
        if self.rng is not None:
            self.rng.shuffle(images)
        remaining = iter(images)
        while batch := list(islice(remaining, self.images_at_once)):
            found = self.label([image for _, image in batch])
            for (path, image), instances in zip(batch, found, strict=True):
                if not len(instances):
                    yield None
                    continue
                height, width = image.shape[-2:]
                yield {
                    "file_name": path,
                    "image_id": path,
                    "height": height,
                    "width": width,
                    "dataset": self.name,
                    "image": image,
                    "instances": instances,
                }


class MixedBatches:
    """Batches whose samples come from several streams, each drawn with a fixed probability."""

    def __init__(
        self,
        streams: Sequence[Iterable[Sample]],
        ratios: Sequence[float],
        batch_size: int,
        rng: random.Random,
    ) -> None:
        """Keep the streams.

        Args:
            streams: of samples.
            ratios: the probability of each stream is its fraction of their sum.
            batch_size: samples of a batch.
            rng: draws the streams.

        Raises:
            InputError: not one ratio for each stream, or one that is not positive.
        """
        if len(streams) != len(ratios) or not all(ratio > 0 for ratio in ratios):
            raise InputError(
                f"{len(streams)} streams need as many positive ratios, got {list(ratios)}"
            )
        self.streams = streams
        self.ratios = list(ratios)
        self.batch_size = batch_size
        self.rng = rng

    def __iter__(self) -> Iterator[list[Sample]]:
        """Batches until a stream ends."""
        iterators = [iter(stream) for stream in self.streams]
        while True:
            drawn = self.rng.choices(iterators, self.ratios, k=self.batch_size)
            batch = [sample for iterator in drawn for sample in islice(iterator, 1)]
            if len(batch) < self.batch_size:
                return
            yield batch


def one_by_one(batches: Iterable[Sequence[Sample]]) -> Iterator[Sample]:
    """The samples of batches."""
    for batch in batches:
        yield from batch
