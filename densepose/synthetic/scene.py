"""Compose a scene: people with bodies, poses and clothes, things around them, light and a camera.

World frame: metres, y up, floor at y = 0. All randomness comes from the given generator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy
from .camera import ANY_LENS, EVERYDAY, Camera, fit_camera
from .library import Library
from .light import Light, sample_light
from .objects import Thing, random_object
from .person import Person, moved, sample_person

_VOXEL_M = 0.07
_CLOSEST_M = 0.45
# Nearer to a person than this, the camera has nothing between them: it would hide everything.
_ROOM_M = 1.7
# How often there are 0, 1, ... things before people: usually, and in crowded scenes.
_FEW_THINGS, _MANY_THINGS = (0.5, 0.27, 0.15, 0.08), (0.0, 0.1, 0.2, 0.3, 0.2, 0.2)
_CROWDED = 1 / 8  # of the scenes with a library


@dataclass(frozen=True)
class Scene:
    """Everything but the background."""

    people: tuple[Person, ...]
    objects: tuple[Thing, ...]
    camera: Camera
    light: Light


def _cells(points: np.ndarray) -> np.ndarray:
    """Numbers of the voxels that points lie in."""
    index = np.floor(points / _VOXEL_M).astype(np.int64) + 512
    return np.unique((index[:, 0] * 1024 + index[:, 1]) * 1024 + index[:, 2])


def _place_people(
    rng: np.random.Generator, count: int, anatomy: Anatomy, library: Library | None
) -> tuple[list[Person], list[Thing]]:
    """``count`` people near one another who do not run into each other."""
    people: list[Person] = []
    objects: list[Thing] = []
    occupied = np.zeros(0, np.int64)
    for _ in range(count):
        person, seat = sample_person(rng, anatomy, library)
        offset = np.zeros(3)
        if people:
            direction = rng.uniform(0, 2 * np.pi)
            step = np.array([np.cos(direction), 0, np.sin(direction)])
            anchor = people[rng.integers(len(people))].skin.mean(axis=0) * [1, 0, 1]
            distance = rng.uniform(_CLOSEST_M, 1.1)
            offset = anchor + distance * step
            while np.isin(_cells(person.shell + offset), occupied).any():
                offset = offset + 0.15 * step
        people.append(moved(person, offset))
        objects += [replace(o, vertices=o.vertices + offset.astype(np.float32)) for o in seat]
        occupied = np.union1d(occupied, _cells(people[-1].shell))
    return people, objects


def _things_in_front(
    rng: np.random.Generator, people: list[Person], camera: Camera, odds: tuple[float, ...]
) -> list[Thing]:
    """Things between the camera and a person, how many by ``odds``, and some clutter behind."""
    things = []
    for _ in range(rng.choice(len(odds), p=odds)):
        person = people[rng.integers(len(people))]
        middle = person.skin.mean(axis=0)
        towards = (camera.position - middle) * [1, 0, 1]
        gap = np.linalg.norm(towards)
        if gap < _ROOM_M:
            continue
        towards = towards / max(gap, 1e-6)
        reach = float((person.shell @ towards).max() - middle @ towards)
        step = min(reach + rng.uniform(0.3, 0.9), 0.7 * gap)
        aside = np.array([-towards[2], 0, towards[0]]) * rng.normal(0, 0.4)
        things.append(random_object(rng, (middle + step * towards + aside) * [1, 0, 1]))
    forward = camera.rotation[2] * [1, 0, 1]
    forward = forward / max(np.linalg.norm(forward), 1e-6)
    for _ in range(rng.choice([0, 1, 2, 3])):
        aside = np.array([-forward[2], 0, forward[0]]) * rng.uniform(-2, 2)
        things.append(random_object(rng, forward * rng.uniform(1.0, 2.8) + aside))
    return things


def sample_scene(
    rng: np.random.Generator,
    anatomy: Anatomy,
    width: int,
    height: int,
    people: tuple[int, int],
    library: Library | None = None,
) -> Scene:
    """A random scene with ``people`` = (fewest, most) persons, dressed from a ``library``."""
    fewest, most = people
    odds = 0.62 ** np.arange(most - fewest + 1)
    count = fewest + int(rng.choice(len(odds), p=odds / odds.sum()))
    persons, objects = _place_people(rng, count, anatomy, library)
    lens = EVERYDAY if library is None else ANY_LENS
    camera = fit_camera(rng, persons, width, height, lens=lens)
    crowded = library is not None and rng.random() < _CROWDED
    odds_of_things = _MANY_THINGS if crowded else _FEW_THINGS
    objects += _things_in_front(rng, persons, camera, odds_of_things)
    return Scene(tuple(persons), tuple(objects), camera, sample_light(rng))
