"""All (detection, person) pairs of several images, and the points that each pair has to compare.

Shapes: I images, D detections, G people and P points of all of them; N pairs: image after image,
in each the people of its best detection, then those of the next; E entries: the points of the first
pair's person, then those of the second pair's, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .detections import PackedDetections
from .packed_people import PackedPeople


@dataclass(frozen=True)
class ImagePairs:
    """People and detections of the same I images."""

    people: PackedPeople
    detections: PackedDetections

    def __len__(self) -> int:
        return int(self.first_pair[-1])

    @cached_property
    def first_person(self) -> np.ndarray:
        """(I + 1,) where the people of each image start."""
        return np.searchsorted(self.people.image, np.arange(len(self.people.image_ids) + 1))

    @cached_property
    def first_detection(self) -> np.ndarray:
        """(I + 1,) where the detections of each image start."""
        return np.searchsorted(self.detections.image, np.arange(len(self.people.image_ids) + 1))

    @cached_property
    def first_pair(self) -> np.ndarray:
        """(I + 1,) where the pairs of each image start."""
        return starts(np.diff(self.first_detection) * np.diff(self.first_person))

    @cached_property
    def detection(self) -> np.ndarray:
        """(N,) detection of each pair."""
        people = np.diff(self.first_person)[self.detections.image]
        return np.repeat(np.arange(len(self.detections)), people)

    @cached_property
    def person(self) -> np.ndarray:
        """(N,) person of each pair."""
        people = np.diff(self.first_person)[self.detections.image]
        first = self.first_person[self.detections.image]
        return ranges(first, people)

    @cached_property
    def first_point(self) -> np.ndarray:
        """(G + 1,) where the points of each person start."""
        return starts(self.people.num_points)

    @cached_property
    def num_points(self) -> np.ndarray:
        """(N,) points of each pair."""
        return self.people.num_points[self.person]

    @cached_property
    def first_entry(self) -> np.ndarray:
        """(N + 1,) where the entries of each pair start."""
        return starts(self.num_points)

    @cached_property
    def point(self) -> np.ndarray:
        """(E,) annotated point of each entry."""
        return ranges(self.first_point[self.person], self.num_points)

    @cached_property
    def first_label(self) -> np.ndarray:
        """(D + 1,) where each map starts in ``labels``, and half of where it starts in ``uv``."""
        return starts(self.detections.map_sizes.prod(axis=1))

    @cached_property
    def labels(self) -> np.ndarray:
        """Label maps of all detections one after another, uint8."""
        return _flat(self.detections.labels)

    @cached_property
    def uv(self) -> np.ndarray:
        """Of each detection all U, then all V, uint8."""
        return _flat(self.detections.uv)


def starts(counts: np.ndarray) -> np.ndarray:
    """(K,) lengths -> (K + 1,) where each begins when laid end to end, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(K,) starts and lengths -> the numbers first, first + 1, ... of each, one after another."""
    place = starts(counts)
    return np.arange(place[-1]) + np.repeat(first - place[:-1], counts)


def _flat(maps: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.uint8), *(one.ravel() for one in maps)])
