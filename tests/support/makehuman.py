"""A tiny folder of MakeHuman items, motions and panoramas, made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SCALE = "x_scale 5399 11998 1.4\ny_scale 791 881 2.4\nz_scale 962 5320 2.0\n"
# Bones of the skeletons of the CMU Graphics Lab: parent, name, direction at rest.
_SIDE = (
    ("root", "hipjoint", (0.6, -0.7, 0.3)),
    ("hipjoint", "femur", (0.3, -0.95, 0)),
    ("femur", "tibia", (0.3, -0.95, 0)),
    ("tibia", "foot", (0.1, -0.2, 1)),
    ("foot", "toes", (0, 0, 1)),
    ("thorax", "clavicle", (1, 0.3, 0)),
    ("clavicle", "humerus", (1, 0, 0)),
    ("humerus", "radius", (1, 0, 0)),
    ("radius", "wrist", (1, 0, 0)),
    ("wrist", "hand", (1, 0, 0)),
)
_TRUNK = (
    ("root", "lowerback"),
    ("lowerback", "upperback"),
    ("upperback", "thorax"),
    ("thorax", "lowerneck"),
    ("lowerneck", "upperneck"),
    ("upperneck", "head"),
)


def write_item(
    folder: Path,
    rows: Sequence[str],
    places: np.ndarray,
    faces: Sequence[Sequence[int]],
    *,
    texture: np.ndarray | None = None,
    words: str = SCALE,
    hidden: str = "",
) -> Path:
    """An item of ``folder``'s name: lines of the binding, (T, 2) places, faces of 0-based corners.

    The corners of faces count vertices and places alike; ``texture`` is (H, W, 3 or 4) RGB(A).
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = folder.name
    hides = f"delete_verts\n{hidden}\n" if hidden else ""
    text = f"name {name}\nobj_file {name}.obj\n{words}material {name}.mhmat\nverts 0\n"
    path = folder / f"{name}.mhclo"
    path.write_text(text + "\n".join(rows) + "\n" + hides)
    lines = [f"v 0 0 {k}" for k in range(len(rows))]
    lines += [f"vt {u} {v}" for u, v in places]
    lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in face) for face in faces]
    (folder / f"{name}.obj").write_text("\n".join(lines) + "\n")
    if texture is not None:
        (folder / f"{name}.mhmat").write_text(f"diffuseTexture {name}.png\n")
        order = cv2.COLOR_RGBA2BGRA if texture.shape[2] == 4 else cv2.COLOR_RGB2BGR
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(texture, order))
    return path


def write_motion(folder: Path, angles: str, name: str = "01") -> None:
    """A skeleton with the arms level, and a motion of one frame in it."""
    folder.mkdir(parents=True, exist_ok=True)
    bones = [(parent, bone, (0, 1, 0)) for parent, bone in _TRUNK]
    for letter, sign in (("l", 1), ("r", -1)):
        for parent, bone, (x, y, z) in _SIDE:
            above = parent if parent in ("root", "thorax") else letter + parent
            bones.append((above, letter + bone, (sign * x, y, z)))
    text = ":bonedata\n"
    for _, bone, (x, y, z) in bones:
        text += f"begin\nname {bone}\ndirection {x} {y} {z}\naxis 0 0 0 XYZ\ndof rx ry rz\nend\n"
    text += ":hierarchy\nbegin\n" + "".join(f"{parent} {bone}\n" for parent, bone, _ in bones)
    (folder / f"{name}.asf").write_text(text + "end\n")
    (folder / f"{name}_01.amc").write_text(f":DEGREES\n1\nroot 0 0 0 0 0 0\n{angles}\n")
