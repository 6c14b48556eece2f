"""A pinhole camera, and where it stands so that people fit into its frame.

Frames: world metres, y up, floor at y = 0; camera x right, y down, z forward; image px as in
``structures.annotations``: (0, 0) is the outer corner of the top-left pixel, pixel centres lie at
half numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .person import Person


@dataclass(frozen=True)
class Camera:
    """Perspective camera whose axis meets the middle of the image."""

    position: np.ndarray  # (3,) world
    rotation: np.ndarray  # (3, 3) world -> camera; rows are right, down, forward
    focal_px: float
    width: int
    height: int

    @property
    def centre_px(self) -> np.ndarray:
        """(2,) where the axis meets the image."""
        return np.array([self.width / 2, self.height / 2])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(P, 3) world points -> (P, 2) image px and (P,) depth in metres, <= 0 behind."""
        local = (np.asarray(points) - self.position) @ self.rotation.T
        depth = local[:, 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return local[:, :2] / safe[:, None] * self.focal_px + self.centre_px, depth

    def rays(self, points_px: np.ndarray) -> np.ndarray:
        """(P, 2) image px -> (P, 3) float32 world directions, one metre deep."""
        # The same as adding (x - cx) / f of right, (y - cy) / f of down and 1 of forward.
        linear = (self.rotation[:2] / self.focal_px).astype(np.float32)
        corner = self.rotation[2] - self.centre_px / self.focal_px @ self.rotation[:2]
        return points_px.astype(np.float32) @ linear + corner.astype(np.float32)

    def pixel_centres(self) -> np.ndarray:
        """(height * width, 2) image px of all pixel centres, row by row."""
        return _pixel_centres(self.height, self.width)

    def floor_depth(self) -> np.ndarray:
        """(H, W) depth in metres at which each pixel meets the floor y = 0, inf above it."""
        down = self.rays(self.pixel_centres())[:, 1]
        depth = np.full(len(down), np.inf, np.float32)
        below = down < 0
        depth[below] = -np.float32(self.position[1]) / down[below]
        return depth.reshape(self.height, self.width)


@lru_cache(maxsize=4)
def _pixel_centres(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    centres = np.stack([columns.reshape(-1), rows.reshape(-1)], axis=1).astype(np.float32) + 0.5
    centres.setflags(write=False)
    return centres


def look_at(
    position: np.ndarray,
    target: np.ndarray,
    roll_rad: float,
    focal_px: float,
    width: int,
    height: int,
) -> Camera:
    """Camera at ``position`` whose axis goes through ``target``; up stays up but for the roll.

    Raises:
        ValueError: position and target coincide, or lie above one another.
    """
    forward = np.asarray(target, float) - position
    right = np.cross(forward, [0.0, 1.0, 0.0])
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f"a camera at {position} cannot look at {target}: no way is up")
    forward = forward / np.linalg.norm(forward)
    right = right / np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll_rad), np.sin(roll_rad)
    rows = [cosine * right + sine * down, cosine * down - sine * right, forward]
    return Camera(np.asarray(position, float), np.stack(rows), float(focal_px), width, height)


@dataclass(frozen=True)
class Lens:
    """What a picture is about, and how wide its view is.

    Of all pictures: everybody in the frame, one person cut by the border, the upper body of one
    person (most photos that people take of one another), everybody from far away, a face.
    """

    odds: tuple[float, ...]
    focal_mm: tuple[float, float] | None = None  # of a 36 mm film, evenly in its logarithm


EVERYDAY = Lens((0.5, 0.2, 0.18, 0.12))  # and a view of 22 to 68 degrees
ANY_LENS = Lens((0.22, 0.1, 0.33, 0.07, 0.28), focal_mm=(14.0, 400.0))
_FILM_MM = 36.0
_NOSE, _SHOULDERS, _HIPS = 0, [5, 6], [11, 12]
# How often the camera stands before a person's chest, and how far beside that it is, radians.
_FACED, _FACED_PORTRAIT = 0.25, 0.7
_BESIDE = 0.6
_NEAREST_M = 0.45
_OF_ONE = (2, 4)  # upper bodies and faces: the others may stand behind the camera


@dataclass(frozen=True)
class _Frame:
    fitted: np.ndarray  # (P, 3) points that are to be in the frame
    target: np.ndarray  # (3,) middle of the frame
    fill: float  # fraction of the frame that the points take


def fit_camera(
    rng: np.random.Generator,
    people: Sequence[Person],
    width: int,
    height: int,
    *,
    whole: bool = False,
    lens: Lens = EVERYDAY,
) -> Camera:
    """A camera around the people: all in the frame, one of them cut by the border, or far away.

    Args:
        rng: draws direction, lens and framing.
        people: at least one.
        width: of the image in px.
        height: of the image in px.
        whole: the people fit into the frame in any case.
        lens: framings and focal lengths to draw from.
    """
    focus = people[rng.integers(len(people))]
    everybody = np.concatenate([person.shell[::15] for person in people])
    kind = 0 if whole else int(rng.choice(len(lens.odds), p=lens.odds))
    frame = (_group, _cut_person, _portrait, _far, _face)[kind](rng, everybody, focus)
    yaw = rng.uniform(0, 2 * np.pi)
    if rng.random() < (_FACED_PORTRAIT if kind in _OF_ONE else _FACED):
        yaw = facing(focus) + rng.normal(0, _BESIDE)
    pitch = np.radians(_pitch_degrees(rng))
    away = np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)])
    if lens.focal_mm is None:
        view = np.radians(rng.uniform(22, 68))
        focal = 0.5 * max(width, height) / np.tan(view / 2)
    else:
        focal = max(width, height) * np.exp(rng.uniform(*np.log(lens.focal_mm))) / _FILM_MM
    roll = np.radians(rng.normal(0, 3))
    probe = look_at(frame.target + away, frame.target, roll, focal, width, height)
    local = (frame.fitted - frame.target) @ probe.rotation.T
    half = 0.5 * frame.fill * np.array([width, height])
    distance = float((np.abs(local[:, :2]) * focal / half - local[:, 2:]).max())
    # No one reaches into the camera; of a portrait, the others may stand behind it.
    solid = focus.shell[::15] if kind in _OF_ONE else everybody
    nearest = float(((solid - frame.target) @ probe.rotation[2]).min())
    position = frame.target + away * max(distance, _NEAREST_M - nearest)
    position[1] = max(position[1], 0.12)
    return look_at(position, frame.target, roll, focal, width, height)


def facing(person: Person) -> float:
    """Yaw, in radians, of the side that the chest of a person shows: 0 is +z, pi / 2 is +x."""
    across = person.keypoints[_SHOULDERS[0]] - person.keypoints[_SHOULDERS[1]]
    # (left - right) x up; of a person who lies on the side it may be of no length.
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


def _face(rng: np.random.Generator, everybody: np.ndarray, focus: Person) -> _Frame:
    """The head and some of what is around it."""
    near = np.linalg.norm(focus.skin - focus.keypoints[_NOSE], axis=1)
    head = focus.skin[near < 0.24]
    return _Frame(head[::7], _middle(head) + rng.normal(0, 0.05, 3), rng.uniform(0.3, 1.1))
