"""Where the camera stands and what fits into its frame. World frame: metres, y up, floor at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .camera import Camera, look_at
from .person import Person

# Of all pictures: everybody in the frame, one person cut by the border, the upper body of one
# person (most photos that people take of one another), everybody from far away.
_SHARES = (0.5, 0.2, 0.18, 0.12)
_NOSE, _SHOULDERS, _HIPS = 0, [5, 6], [11, 12]
# How often the camera stands before somebody's chest, and how far beside that it is, radians.
_FACED, _FACED_PORTRAIT = 0.25, 0.7
_BESIDE = 0.6
_NEAREST_M = 0.45


@dataclass(frozen=True)
class _Frame:
    fitted: np.ndarray  # (P, 3) points that are to be in the frame
    target: np.ndarray  # (3,) middle of the frame
    fill: float  # share of the frame that the points take


def fit_camera(
    rng: np.random.Generator,
    people: Sequence[Person],
    width: int,
    height: int,
    *,
    whole: bool = False,
) -> Camera:
    """A camera around the people: all in the frame, one of them cut by the border, or far away.

    Args:
        rng: draws direction, lens and framing.
        people: at least one.
        width: of the image in px.
        height: of the image in px.
        whole: the people fit into the frame in any case.
    """
    focus = people[rng.integers(len(people))]
    everybody = np.concatenate([person.shell[::15] for person in people])
    kind = 0 if whole else int(rng.choice(len(_SHARES), p=_SHARES))
    frame = (_group, _cut_person, _portrait, _far)[kind](rng, everybody, focus)
    yaw = rng.uniform(0, 2 * np.pi)
    if rng.random() < (_FACED_PORTRAIT if kind == 2 else _FACED):
        yaw = facing(focus) + rng.normal(0, _BESIDE)
    pitch = np.radians(_pitch_degrees(rng))
    away = np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)])
    view = np.radians(rng.uniform(22, 68))
    focal = 0.5 * max(width, height) / np.tan(view / 2)
    roll = np.radians(rng.normal(0, 3))
    probe = look_at(frame.target + away, frame.target, roll, focal, width, height)
    local = (frame.fitted - frame.target) @ probe.rotation.T
    half = 0.5 * frame.fill * np.array([width, height])
    distance = float((np.abs(local[:, :2]) * focal / half - local[:, 2:]).max())
    # Nobody reaches into the camera; of a portrait, the others may stand behind it.
    solid = focus.shell[::15] if kind == 2 else everybody
    nearest = float(((solid - frame.target) @ probe.rotation[2]).min())
    position = frame.target + away * max(distance, _NEAREST_M - nearest)
    position[1] = max(position[1], 0.12)
    return look_at(position, frame.target, roll, focal, width, height)


def facing(person: Person) -> float:
    """Yaw, in radians, of the side that the chest of a person shows: 0 is +z, pi / 2 is +x."""
    across = person.keypoints[_SHOULDERS[0]] - person.keypoints[_SHOULDERS[1]]
    # (left - right) x up; of somebody who lies on the side it may be of no length.
    return float(np.arctan2(-across[2], across[0]))


def _pitch_degrees(rng: np.random.Generator) -> float:
    """Mostly from eye height, sometimes from above or below."""
    kind = rng.random()
    if kind < 0.72:
        return float(rng.normal(4, 6))
    return float(rng.uniform(12, 55) if kind < 0.9 else rng.uniform(-22, 0))


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _group(rng: np.random.Generator, everybody: np.ndarray, focus: Person) -> _Frame:
    return _Frame(everybody, _middle(everybody), rng.uniform(0.7, 1.0))


def _cut_person(rng: np.random.Generator, everybody: np.ndarray, focus: Person) -> _Frame:
    target = focus.joints[rng.choice(len(focus.joints))] + rng.normal(0, 0.1, 3)
    return _Frame(focus.shell[::15], target, rng.uniform(1.0, 2.1))


def _portrait(rng: np.random.Generator, everybody: np.ndarray, focus: Person) -> _Frame:
    """From the head to somewhere between the shoulders and the thighs; arms may be cut."""
    hips = focus.keypoints[_HIPS].mean(axis=0)
    up = focus.keypoints[_SHOULDERS].mean(axis=0) - hips
    length = max(float(np.linalg.norm(up)), 0.1)
    height = (focus.shell - hips) @ (up / length)
    upper = focus.shell[height > rng.uniform(-0.45, 0.75) * length]
    # Elbows that stick out do not push the camera back.
    near = np.linalg.norm(upper - focus.keypoints[_NOSE], axis=1)
    upper = upper[near <= np.quantile(near, rng.uniform(0.7, 1.0))]
    return _Frame(upper[::15], _middle(upper) + rng.normal(0, 0.04, 3), rng.uniform(0.75, 1.25))


def _far(rng: np.random.Generator, everybody: np.ndarray, focus: Person) -> _Frame:
    target = _middle(everybody) + rng.normal(0, 0.3, 3) * [1, 0.3, 1]
    return _Frame(everybody, target, rng.uniform(0.45, 0.7))
