"""Clothes, shoes, hats, hair, eyes, brows, lashes and skins made for MakeHuman, read from a folder.

An item is an ``.mhclo`` file beside its ``.obj``, ``.mhmat`` and texture. Each of its vertices is
bound to three vertices of ``base_mesh`` by weights and an offset, or is one of them. The folder may
be laid out in any way; folders called hair, eyes, eyebrows, eyelashes, teeth, tongue and skins name
what is in them, all other items are classed by the joints they hang on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from densepose.errors import InputError
from densepose.surface.body import load_template

from .base_mesh import load_base_mesh
from .texture import read_picture

logger = logging.getLogger(__name__)

_FOLDER_KINDS = ("hair", "eyes", "eyebrows", "eyelashes", "teeth", "tongue", "skins")
_TEXTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif")
# Of each kind, every so many-eth is kept for the held-out split, where there are as many.
_HELD_OUT_STEP = 6
_LARGEST_NUMBER = 1e9
_STIFF = 24  # base vertices that a stiff item is bound to at most
# What an item covers: joints, and the fraction of its vertices that hang on them at least.
_COVERS = {
    "feet": (("ankle", "toes"), 0.4),
    "legs": (("hip",), 0.1),
    "trunk": (("spine1", "spine2", "chest", "clavicle", "shoulder"), 0.12),
    "hat": (("head",), 0.5),
}


@dataclass(frozen=True)
class Item:
    """A mesh bound to the base mesh; I vertices, one for each place in the texture."""

    name: str  # path below the folder
    covers: frozenset[str]  # "feet", "legs", "trunk", "hat", or the name of its kind alone
    women: bool | None  # whether it was made for women; None: for all
    binding: np.ndarray  # (I, 3) int32 vertices of the base mesh
    weight: np.ndarray  # (I, 3) float32
    offset: np.ndarray  # (I, 3) float32, in units of ``scale``
    scale: tuple[tuple[int, int, float], ...]  # of x, y, z: two base vertices, their distance
    uv: np.ndarray  # (I, 2) float32
    faces: np.ndarray  # (F, 3) int32
    hides: np.ndarray  # (H,) int64 base vertices that are not seen under it
    textures: tuple[Path, ...]  # to choose from

    @cached_property
    def texture_m(self) -> float:
        """How many metres the width of its texture covers, about."""
        corner, uv = self.resting(load_base_mesh().vertices_m)[self.faces], self.uv[self.faces]
        side, along = corner[:, 1:] - corner[:, :1], uv[:, 1:] - uv[:, :1]
        area = np.linalg.norm(np.cross(side[:, 0], side[:, 1]), axis=1).sum()
        covered = np.abs(along[:, 0, 0] * along[:, 1, 1] - along[:, 0, 1] * along[:, 1, 0]).sum()
        return float(np.sqrt(area / max(covered, 1e-6)))

    @cached_property
    def joint_weights(self) -> np.ndarray:
        """(I, J) joints that move its vertices: those of what they are bound to.

        Of a stiff item, which is bound to a few vertices of one place, those of the skin below it.
        """
        base = load_base_mesh()
        if len(np.unique(self.binding)) > _STIFF:
            return np.einsum("ic,icj->ij", self.weight, base.joint_weights[self.binding])
        skin = np.unique(base.skin_vertex)
        below = cKDTree(base.vertices_m[skin]).query(self.resting(base.vertices_m))[1]
        return base.joint_weights[skin[below]]

    def resting(self, base: np.ndarray) -> np.ndarray:
        """(B, 3) shaped base mesh in the rest pose -> (I, 3) vertices of the item."""
        size = [abs(base[a, k] - base[b, k]) / d for k, (a, b, d) in enumerate(self.scale)]
        bound = np.einsum("ic,ick->ik", self.weight, base[self.binding])
        return bound + self.offset * np.array(size, np.float32)


@dataclass(frozen=True)
class Wardrobe:
    """All items of a folder by what they are, and the pictures of skins."""

    items: dict[str, tuple[Item, ...]] = field(default_factory=dict)
    skins: tuple[Path, ...] = ()

    def of_split(self, split: str) -> Wardrobe:
        """What one split may use: the splits share nothing of which there are six or more."""
        items = {kind: tuple(split_part(found, split)) for kind, found in self.items.items()}
        return Wardrobe(items, tuple(split_part(self.skins, split)))


def split_part(found: Sequence, split: str) -> Sequence:
    """Those of ``found`` that a split may use."""
    if len(found) < _HELD_OUT_STEP:
        return found
    held_out = found[_HELD_OUT_STEP - 1 :: _HELD_OUT_STEP]
    return held_out if split == "val" else [one for one in found if one not in held_out]


def read_wardrobe(folder: Path) -> Wardrobe:
    """Read every item below ``folder``, and check it.

    Raises:
        InputError: no folder, no item in it; an item that is damaged or was made for another mesh.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --assets takes a folder of MakeHuman items")
    files = sorted(folder.rglob("*.mhclo"))
    if not files:
        raise InputError(
            f"{folder}: expected MakeHuman items (.mhclo) below it, found none; give MakeHuman's"
            " data folder, or omit --assets"
        )
    items: dict[str, list[Item]] = {}
    for path in files:
        item = _read_item(path, folder)
        kind = next((kind for kind in _FOLDER_KINDS if item.covers == {kind}), "clothes")
        if kind == "hair" and not item.textures:
            logger.warning("%s: its texture is missing, hair needs one: skipped", path)
            continue
        items.setdefault(kind, []).append(item)
    skins = [
        texture
        for path in sorted(folder.rglob("*.mhmat"))
        if _kind_of_folder(path, folder) == "skins" and "toon" not in path.stem
        for texture in _texture_of(path)
    ]
    for texture in {*skins, *(t for found in items.values() for i in found for t in i.textures)}:
        read_picture(texture)
    return Wardrobe({k: tuple(found) for k, found in items.items()}, tuple(dict.fromkeys(skins)))


def _kind_of_folder(path: Path, folder: Path) -> str | None:
    names = [part.lower() for part in path.relative_to(folder).parts[:-1]] or [folder.name.lower()]
    return next((kind for kind in _FOLDER_KINDS if kind in names), None)


def _read_item(path: Path, folder: Path) -> Item:
    words, rows, hidden = _read_mhclo(path)
    base = load_base_mesh()
    count = len(base.vertices_m)
    binding, weight, offset = _binding(path, rows)
    for what, used in (("", binding), ("delete_verts: ", hidden)):
        if len(used) and (used.min() < 0 or used.max() >= count):
            worst = used.max() if used.max() >= count else used.min()
            raise InputError(
                f"{path}: {what}refers to vertex {worst}, expected 0 to {count - 1} of MakeHuman's"
                " base mesh hm08; the item was made for another mesh, remove it"
            )
    mesh = path.parent / words.get("obj_file", path.with_suffix(".obj").name)
    corner_vertex, corner_uv, places = _read_obj(mesh)
    if len(corner_vertex) and corner_vertex.max() >= len(binding):
        raise InputError(
            f"{mesh}: refers to vertex {corner_vertex.max() + 1}, {path.name} binds"
            f" {len(binding)}; the two files do not belong together"
        )
    pairs = np.stack([corner_vertex, corner_uv], axis=-1).reshape(-1, 2)
    pairs, faces = np.unique(pairs, axis=0, return_inverse=True)
    vertex = pairs[:, 0]
    kind = _kind_of_folder(path, folder)
    tags = {tag.lower() for tag in words.get("tag", "").split()}
    item = Item(
        name=str(path.relative_to(folder)),
        covers=frozenset([kind]) if kind else frozenset(),
        women=True if "female" in tags else False if "male" in tags else None,
        binding=binding[vertex],
        weight=weight[vertex],
        offset=offset[vertex],
        scale=_scale(path, words, count),
        uv=places[pairs[:, 1]],
        faces=faces.reshape(-1, 3).astype(np.int32),
        hides=hidden,
        textures=_textures(path, words),
    )
    return item if kind else replace(item, covers=_covers(path, item.joint_weights.mean(axis=0)))


def _read_mhclo(path: Path) -> tuple[dict[str, str], list[list[float]], np.ndarray]:
    """Words by their first one (all tags in one), rows of numbers below verts, hidden vertices."""
    words: dict[str, str] = {}
    rows: list[list[float]] = []
    hidden: list[str] = []
    section = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        first, _, rest = line.strip().partition(" ")
        if not first or first.startswith("#"):
            continue
        if first in ("verts", "delete_verts"):
            section = first
        elif first[0].isdigit() or first[0] in "-.":
            if section == "verts":
                rows.append(finite_numbers(path, line))
            elif section == "delete_verts":
                hidden += line.split()
        else:
            rest = rest.strip()
            words[first] = f"{words[first]} {rest}" if first == "tag" and first in words else rest
    return words, rows, _ranges(path, hidden)


def finite_numbers(source: Path, line: str) -> list[float]:
    """The numbers of a line of a text file.

    Raises:
        InputError: a word is no number, or none that a vertex, a metre or an angle could have.
    """
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        numbers = [math.nan]
    if not all(abs(number) < _LARGEST_NUMBER for number in numbers):
        raise InputError(f"{source}: expected numbers, got {line.strip()[:60]!r}")
    return numbers


def _ranges(path: Path, words: list[str]) -> np.ndarray:
    """``3 5 - 8`` -> [3, 5, 6, 7, 8]; of vertices that the base mesh lacks, the first is named."""
    lacking = len(load_base_mesh().vertices_m)
    found: list[int] = []
    numbers = iter(words)
    for word in numbers:
        if word == "-" and found:
            last = int(finite_numbers(path, next(numbers, "-"))[0])
            found += range(found[-1] + 1, min(last, lacking) + 1)
        else:
            found.append(int(finite_numbers(path, word)[0]))
    return np.array(found, np.int64)


def _binding(path: Path, rows: list[list[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of one or nine numbers -> base vertices, weights and offsets, (N, 3) each."""
    wrong = next((row for row in rows if len(row) not in (1, 9)), None)
    if wrong is not None or not rows:
        got = f"a line of {len(wrong)}" if wrong else "none"
        raise InputError(f"{path}: expected lines of 1 or 9 numbers below 'verts', got {got}")
    full = [row if len(row) == 9 else [row[0]] * 3 + [1.0] + [0.0] * 5 for row in rows]
    table = np.array(full)
    return (
        table[:, :3].astype(np.int64),
        table[:, 3:6].astype(np.float32),
        table[:, 6:].astype(np.float32),
    )


def _scale(path: Path, words: dict[str, str], count: int) -> tuple[tuple[int, int, float], ...]:
    """What the units of the offsets are: distances on the base mesh along x, y and z."""
    scale = []
    for key in ("x_scale", "y_scale", "z_scale"):
        if key not in words:
            scale.append((0, 0, 1.0))  # only of items that have no offsets
            continue
        numbers = finite_numbers(path, words[key])
        if len(numbers) != 3 or numbers[2] <= 0 or not all(0 <= n < count for n in numbers[:2]):
            raise InputError(
                f"{path}: {key}: expected two vertices of the base mesh and their distance, got"
                f" {words[key]!r}"
            )
        scale.append((int(numbers[0]), int(numbers[1]), numbers[2]))
    return tuple(scale)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertex (F, 3) and place (F, 3) of the corners of triangles, and places (T, 2).

    Raises:
        InputError: no such file; a face without texture places, or with places that are not there.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, and the .mhclo beside it names it; copy both")
    places, vertex, place = [], [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("vt "):
            places.append((*finite_numbers(path, line[3:]), 0.0, 0.0)[:2])
        elif line.startswith("f "):
            corners = [corner.split("/")[:2] for corner in line[2:].split()]
            if any(len(corner) < 2 or not all(corner) for corner in corners):
                raise InputError(f"{path}: expected faces as vertex/texture, got {line[:60]!r}")
            numbers = [[int(n) - 1 for n in finite_numbers(path, " ".join(c))] for c in corners]
            for k in range(1, len(corners) - 1):
                triangle = (numbers[0], numbers[k], numbers[k + 1])
                vertex.append([corner[0] for corner in triangle])
                place.append([corner[1] for corner in triangle])
    corner_vertex, corner_uv = np.array(vertex, np.int64), np.array(place, np.int64)
    if not len(corner_vertex) or corner_vertex.min() < 0 or corner_uv.min() < 0:
        raise InputError(f"{path}: expected faces of vertices numbered from 1")
    if corner_uv.max() >= len(places):
        raise InputError(
            f"{path}: refers to texture place {corner_uv.max() + 1}, has {len(places)};"
            " the file is cut off, copy it again"
        )
    return corner_vertex, corner_uv, np.array(places, np.float32)


def _covers(path: Path, joints: np.ndarray) -> frozenset[str]:
    """What an item covers, by the (J,) fraction of it that hangs on each joint."""
    names = [name.split("_")[-1] for name in load_template().joint_names]
    covered = frozenset(
        what
        for what, (owned, least) in _COVERS.items()
        if joints[[name in owned for name in names]].sum() > least
    )
    if not covered:
        raise InputError(f"{path}: worn on neither head, trunk, legs nor feet; remove the item")
    return covered


def _textures(path: Path, words: dict[str, str]) -> tuple[Path, ...]:
    """Colour textures of the item's material and of the others in the same folder."""
    first = path.parent / words.get("material", path.with_suffix(".mhmat").name)
    others = sorted(first.parent.glob("*.mhmat")) if first.parent.is_dir() else []
    return tuple(texture for material in others for texture in _texture_of(material))


def _texture_of(material: Path) -> list[Path]:
    """The colour texture that a ``.mhmat`` names, if it is there, whatever its suffix."""
    for line in material.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, name = line.strip().partition(" ")
        if key == "diffuseTexture" and name:
            named = material.parent / name.strip()
            candidates = [named, *(named.with_suffix(suffix) for suffix in _TEXTURE_SUFFIXES)]
            return [path for path in candidates if path.is_file()][:1]
    return []
