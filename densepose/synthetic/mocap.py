"""Poses of motions recorded by the CMU Graphics Lab: ``.asf`` skeletons and ``.amc`` motions.

A bone of the skeleton turns from its own rest pose; a joint of the template gets the same turn,
after one that lays the template's resting limb along the skeleton's. Frames of the files: y up, the
resting person faces +z with the left side at +x, as the template does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from densepose.errors import InputError
from densepose.surface.body import BodyTemplate

from .wardrobe import finite_numbers

# Joint of the template: bone that moves it, and the joint its limb leads to, if it is a limb.
_TRUNK = {
    "pelvis": "root",
    "spine1": "lowerback",
    "spine2": "upperback",
    "chest": "thorax",
    "neck": "lowerneck",
    "head": "head",
}
_LIMBS = {
    "clavicle": ("clavicle", None),
    "shoulder": ("humerus", "elbow"),
    "elbow": ("radius", "wrist"),
    "wrist": ("hand", "fingers"),
    "hip": ("femur", "knee"),
    "knee": ("tibia", "ankle"),
    "ankle": ("foot", None),
    "toes": ("toes", None),
}


@dataclass(frozen=True)
class _Bone:
    parent: str | None
    direction: np.ndarray  # (3,) in the rest pose
    axis: Rotation  # frame that its angles are given in
    channels: tuple[str, ...]  # of rx, ry, rz


@dataclass(frozen=True)
class Motion:
    """One recording."""

    path: Path
    bones: dict[str, _Bone]
    frames: tuple[dict[str, list[float]], ...]  # degrees by bone

    def rotations(self, frame: int, template: BodyTemplate) -> np.ndarray:
        """(J, 3) axis times angle of the template's joints; the heading of the person is lost."""
        turn = self._turns(frame)
        at = {name: template.joints_m[k] for k, name in enumerate(template.joint_names)}
        upright = _without_heading(turn["root"])
        whole: dict[str, Rotation] = {}
        for joint, bone in _TRUNK.items():
            whole[joint] = upright * turn[bone]
        for side in ("l", "r"):
            for name, (bone_name, end) in _LIMBS.items():
                bone, joint = side + bone_name, f"{side}_{name}"
                whole[joint] = upright * turn[bone]
                if end is not None:
                    limb = at[f"{side}_{end}"] - at[joint]
                    whole[joint] *= _onto(limb, self.bones[bone].direction)
            whole[f"{side}_fingers"] = whole[f"{side}_wrist"]
        local = [
            whole[name] if parent < 0 else whole[template.joint_names[parent]].inv() * whole[name]
            for name, parent in zip(template.joint_names, template.joint_parents, strict=True)
        ]
        return np.stack([one.as_rotvec() for one in local])

    def _turns(self, frame: int) -> dict[str, Rotation]:
        """How each bone is turned from its rest pose, in the world."""
        turn: dict[str, Rotation] = {}
        for name, bone in self.bones.items():
            given = dict(zip(bone.channels, self.frames[frame].get(name, ()), strict=False))
            angles = [given.get(channel, 0.0) for channel in ("rx", "ry", "rz")]
            own = bone.axis * Rotation.from_euler("xyz", angles, degrees=True) * bone.axis.inv()
            turn[name] = own if bone.parent is None else turn[bone.parent] * own
        return turn


def _without_heading(root: Rotation) -> Rotation:
    """The turn about y that takes the heading out of ``root``."""
    forward = root.apply([0.0, 0.0, 1.0])
    return Rotation.from_rotvec([0.0, -np.arctan2(forward[0], forward[2]), 0.0])


def _onto(start: np.ndarray, end: np.ndarray) -> Rotation:
    """The smallest rotation that takes the direction of ``start`` to that of ``end``."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    length = np.linalg.norm(axis)
    if length < 1e-9:
        return Rotation.identity()
    return Rotation.from_rotvec(axis / length * np.arctan2(length, start @ end))


def read_motions(folder: Path) -> list[Motion]:
    """All motions below ``folder``; ``02_05.amc`` moves the skeleton ``02.asf`` beside it.

    Raises:
        InputError: a motion without its skeleton, or a file that is not what its name says.
    """
    skeletons: dict[Path, dict[str, _Bone]] = {}
    motions = []
    for path in sorted(folder.rglob("*.amc")):
        skeleton = path.with_name(path.stem.split("_")[0] + ".asf")
        if skeleton not in skeletons:
            if not skeleton.is_file():
                raise InputError(f"{path}: expected its skeleton {skeleton.name} beside it")
            skeletons[skeleton] = _read_skeleton(skeleton)
        motions.append(Motion(path, skeletons[skeleton], _read_frames(path, skeletons[skeleton])))
    return motions


def _read_skeleton(path: Path) -> dict[str, _Bone]:
    """Bones by name, parents first."""
    found: dict[str, tuple[np.ndarray, Rotation, tuple[str, ...]]] = {}
    parents: dict[str, str] = {}
    section, fields = "", {}
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith(":"):
            section = words[0]
        elif section == ":bonedata" and words[0] == "begin":
            fields = {}
        elif section == ":bonedata" and words[0] == "end":
            name, bone = _bone(path, fields)
            found[name] = bone
        elif section == ":bonedata":
            fields[words[0]] = words[1:]
        elif section == ":hierarchy" and len(words) > 1:
            parents |= dict.fromkeys(words[1:], words[0])
    root = _Bone(None, np.zeros(3), Rotation.identity(), ("tx", "ty", "tz", "rx", "ry", "rz"))
    bones = {"root": root}
    for name, parent in parents.items():
        if name not in found or parent not in bones:
            raise InputError(f"{path}: bone {name!r} below {parent!r} is not described")
        direction, axis, channels = found[name]
        bones[name] = _Bone(parent, direction, axis, channels)
    needed = {*_TRUNK.values(), *(s + bone for s in "lr" for bone, _ in _LIMBS.values())}
    if missing := sorted(needed - set(bones)):
        raise InputError(
            f"{path}: expected a skeleton of the CMU Graphics Lab, without {missing[0]}"
        )
    return bones


def _bone(
    path: Path, fields: dict[str, Sequence[str]]
) -> tuple[str, tuple[np.ndarray, Rotation, tuple[str, ...]]]:
    name = " ".join(fields.get("name", ()))
    direction, angles = (
        finite_numbers(path, " ".join(fields.get(key, ())[:3])) for key in ("direction", "axis")
    )
    if not name or len(direction) != 3 or len(angles) != 3 or not any(direction):
        raise InputError(f"{path}: bone {name!r}: expected a name, a direction and an axis")
    axis = Rotation.from_euler("xyz", angles, degrees=True)
    return name, (np.array(direction), axis, tuple(fields.get("dof", ())))


def _read_frames(path: Path, bones: dict[str, _Bone]) -> tuple[dict[str, list[float]], ...]:
    frames: list[dict[str, list[float]]] = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.split()
        if not words or words[0][0] in "#:":
            continue
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
            continue
        values = finite_numbers(path, " ".join(words[1:]))
        if not frames or words[0] not in bones or len(values) != len(bones[words[0]].channels):
            raise InputError(
                f"{path}: line {number}: expected a bone of the skeleton and its angles, got"
                f" {line.strip()[:50]!r}"
            )
        frames[-1][words[0]] = values
    if not frames:
        raise InputError(f"{path}: no frames; copy the file again")
    return tuple(frames)
