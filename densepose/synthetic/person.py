"""A person: body, pose and clothes, put together and set on the floor.

Frame: metres, y up, floor at y = 0; before they are placed, people stand at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy
from .appearance import Appearance, clothed_surface, sample_appearance
from .dressing import Outfit, dress, sample_outfit
from .library import Library
from .materials import random_color, random_pattern
from .objects import Thing, chair, cylinder, place, turn_about_y
from .poses import Pose, joint_rotations, sample_pose
from .worn import PosedBody, things_worn

# With a library: how often people wear items of it, and how often they take a recorded pose.
_DRESSED, _RECORDED = 0.85, 0.4


@dataclass(frozen=True)
class Person:
    """A posed and dressed body in the world."""

    shape: np.ndarray  # (S,) coefficients
    pose: Pose
    look: Appearance | Outfit
    skin: np.ndarray  # (V, 3) bare body
    shell: np.ndarray  # (V, 3) the same with clothes, shoes and hair: what is seen
    keypoints: np.ndarray  # (17, 3)
    joints: np.ndarray  # (J, 3)
    worn: tuple[Thing, ...]  # skirts, tied hair, brims, backpacks; all items of an outfit
    bare: Thing | None = None  # the skin that shows of a person in an outfit; its mesh is the shell


def sample_shape(rng: np.random.Generator, anatomy: Anatomy) -> np.ndarray:
    """(S,) body shape: any sex, the rest bell-shaped within the limits of the template."""
    template = anatomy.template
    shape = np.clip(0.5 * rng.standard_normal(template.num_shapes), -1, 1)
    span = np.where(shape > 0, template.shape_high, -template.shape_low)
    shape = shape * span
    names = list(template.shape_names)
    sex = names.index("sex")
    shape[sex] = rng.uniform(template.shape_low[sex], template.shape_high[sex])
    if "child" in names:
        grown = rng.random() < 0.88
        shape[names.index("child")] = 0.0 if grown else rng.uniform(0.3, 1.0)
    return shape.astype(np.float32)


def make_person(
    shape: np.ndarray, pose: Pose, look: Appearance | Outfit, turn: np.ndarray, anatomy: Anatomy
) -> Person:
    """A dressed body turned by ``turn`` (3, 3), on the floor with its pelvis above the origin."""
    template = anatomy.template
    rest_joints = template.shaped(shape)[1]
    rotations = pose.rotations
    if rotations is None:
        rotations = joint_rotations(pose.angles, template.joint_names, rest_joints)
    skin = template.posed(shape, rotations)
    linear, offset = template.joint_motions(rest_joints, rotations)
    joints = np.einsum("jik,jk->ji", linear, rest_joints) + offset
    if isinstance(look, Outfit):
        bare, worn = dress(look, shape, linear, offset)
        shell = bare.vertices
    else:
        body = PosedBody(skin, joints, linear, offset, rest_joints)
        bare, worn = None, things_worn(look, body, anatomy)
        shell = clothed_surface(look, anatomy, skin)
    person = Person(
        shape=shape,
        pose=pose,
        look=look,
        skin=skin,
        shell=shell,
        keypoints=template.keypoints(skin),
        joints=joints,
        worn=worn,
        bare=bare,
    )
    person = _transformed(person, turn, np.zeros(3))
    hips = person.joints[template.joint("pelvis")]
    lowest = min(float(part[:, 1].min()) for part in (person.shell, *_soles(person)))
    return moved(person, -np.array([hips[0], lowest, hips[2]]))


def _soles(person: Person) -> list[np.ndarray]:
    """Items that may reach below the skin."""
    return [thing.vertices for thing in person.worn] if person.bare is not None else []


def sample_person(
    rng: np.random.Generator, anatomy: Anatomy, library: Library | None = None
) -> tuple[Person, tuple[Thing, ...]]:
    """A person at the origin with a random heading, on the floor, and what they sit on.

    With a library most people wear its items, and some take poses of its motions.
    """
    shape = sample_shape(rng, anatomy)
    names = list(anatomy.template.shape_names)
    pose = sample_pose(rng)
    sex, age = float(shape[names.index("sex")]), float(shape[names.index("age")])
    if library is not None and library.motions and rng.random() < _RECORDED:
        motion = library.motions[rng.integers(len(library.motions))]
        frame = int(rng.integers(len(motion.frames)))
        pose = Pose({}, "stand", motion.rotations(frame, anatomy.template))
    look: Appearance | Outfit
    if library is not None and rng.random() < _DRESSED:
        look = sample_outfit(rng, library.wardrobe, sex, age)
    else:
        look = sample_appearance(rng, sex, age)
    heading = rng.uniform(0, 2 * np.pi)
    turn = turn_about_y(heading).astype(np.float32)
    if pose.posture == "lie":
        up = rng.choice([-1.0, 1.0])  # on the back or on the belly
        turn = turn @ np.array([[1, 0, 0], [0, 0, up], [0, -up, 0]], np.float32)
    person = make_person(shape, pose, look, turn, anatomy)
    if pose.posture != "sit":
        return person, ()
    return person, _seat(rng, person, anatomy, heading)


def _seat(
    rng: np.random.Generator, person: Person, anatomy: Anatomy, heading: float
) -> tuple[Thing, ...]:
    """A chair, or a stool, under a person who sits."""
    seat_m = person.shell if person.bare is None else person.skin
    height = max(float(seat_m[np.isin(anatomy.vertex_part, (1, 2)), 1].min()), 0.1)
    pattern = random_pattern(
        rng,
        ("plain", "plain", "planks", "checks", "stripes"),
        base=random_color(rng, dull=0.8),
        contrast=0.4,
    )
    turn = turn_about_y(heading).astype(np.float32)
    if rng.random() < 0.2:
        stool = cylinder(rng.uniform(0.15, 0.25), height, np.array([0, height / 2, 0]))
        return (place(stool, turn @ np.array([0, 0, 0.03]), heading, pattern, smooth=True),)
    back = float(rng.choice([0.0, rng.uniform(0.25, 0.6)]))
    mesh = chair(rng.uniform(0.4, 0.7), height, rng.uniform(0.38, 0.5), back)
    return (place(mesh, turn @ np.array([0, 0, 0.22]), heading, pattern),)


def _transformed(person: Person, turn: np.ndarray, offset: np.ndarray) -> Person:
    def apply(points: np.ndarray) -> np.ndarray:
        return (points @ turn.T + offset).astype(np.float32)

    return replace(
        person,
        skin=apply(person.skin),
        shell=apply(person.shell),
        keypoints=apply(person.keypoints),
        joints=apply(person.joints),
        worn=tuple(replace(thing, vertices=apply(thing.vertices)) for thing in person.worn),
    )


def moved(person: Person, offset: np.ndarray) -> Person:
    """The person shifted by ``offset`` (3,)."""
    return _transformed(person, np.eye(3, dtype=np.float32), offset)
