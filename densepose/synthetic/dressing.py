"""People in what a wardrobe holds: chosen at random, and hung on a posed body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base_mesh import load_base_mesh
from .head import random_hair, random_skin
from .materials import Pattern, random_pattern
from .objects import Thing
from .texture import NUM_REGIONS, Texture, read_picture
from .wardrobe import Item, Wardrobe

# How often hair and hats are worn, and a garment of the other sex.
_HAIR, _HAT, _CROSS_DRESSED = 0.93, 0.12, 0.25
# How often a garment gets other colours than its own, and a region of it a pattern.
_RECOLORED, _PATTERNED = 0.7, 0.2
_PLAIN = ("plain", "plain", "plain", "plain", "melange")
_CLOTHS = ("stripes", "checks", "dots", "melange", "camouflage")
_GLOSS = {"hair": 0.25, "eyes": 0.6, "skins": 0.15}
_CLOTH_GLOSS, _CLOTH_FOLD = 0.06, 0.18
_SKIN_METRES = 3.0  # that the width of a skin texture covers on the body


@dataclass(frozen=True)
class Outfit:
    """What a person wears: items with their material, and the picture of the skin."""

    worn: tuple[tuple[Item, str, Texture | Pattern], ...]  # item, kind, material
    skin: Texture | Pattern


def sample_outfit(rng: np.random.Generator, wardrobe: Wardrobe, sex: float, age: float) -> Outfit:
    """Garments that cover trunk, legs and feet as far as there are some, hair, eyes and so on.

    Args:
        rng: draws everything.
        wardrobe: what there is.
        sex: -1 female to 1 male; shifts the odds only.
        age: -1 to 1.6; the old have grey hair more often.
    """
    woman = bool(rng.random() < 0.5 - 0.45 * sex)
    tone = rng.uniform(0, 7)
    hair_color = random_hair(rng, tone, age)
    worn = [(item, "clothes", _cloth(rng, item)) for item in _garments(rng, wardrobe, woman)]
    hat = any(item.covers == {"hat"} for item, _, _ in worn)
    for kind in ("hair", "eyes", "eyebrows", "eyelashes", "teeth"):
        found = [item for item in wardrobe.items.get(kind, ()) if item.textures]
        if not found or (kind == "hair" and rng.random() > _HAIR):
            continue
        item = _choose(rng, found, woman)
        if kind == "hair" and hat and len(item.binding) > 6000:
            continue  # voluminous hair does not go under a hat
        tint = None if kind in ("eyes", "teeth") else hair_color
        worn.append((item, kind, _hairlike(rng, item, tint)))
    return Outfit(tuple(worn), _skin(rng, wardrobe, tone, woman))


def _choose(rng: np.random.Generator, found: list[Item], woman: bool) -> Item:
    fitting = [item for item in found if item.women in (None, woman)]
    pool = found if not fitting or rng.random() < _CROSS_DRESSED else fitting
    return pool[rng.integers(len(pool))]


def _garments(rng: np.random.Generator, wardrobe: Wardrobe, woman: bool) -> list[Item]:
    """One for each of trunk, legs and feet, unless another one covers it; sometimes a hat."""
    items = list(wardrobe.items.get("clothes", ()))
    chosen: list[Item] = []
    wanted = ["trunk", "legs", "feet"] + (["hat"] if rng.random() < _HAT else [])
    for part in wanted:
        if any(part in item.covers for item in chosen):
            continue
        found = [item for item in items if part in item.covers]
        found = [item for item in found if not any(item.covers & other.covers for other in chosen)]
        if found:
            chosen.append(_choose(rng, found, woman))
    return chosen


def _cloth(rng: np.random.Generator, item: Item) -> Texture | Pattern:
    """The texture of a garment, recombined; without one, a pattern."""
    if not item.textures:
        return random_pattern(rng, _CLOTHS, period_m=(0.02, 0.12))
    picture = read_picture(item.textures[rng.integers(len(item.textures))])
    patterns: list[Pattern | None] = [None] * NUM_REGIONS
    tint = np.ones(3)
    if rng.random() < _RECOLORED:
        for region in range(NUM_REGIONS):
            kinds = _CLOTHS if rng.random() < _PATTERNED else _PLAIN
            patterns[region] = random_pattern(rng, kinds, period_m=(0.02, 0.12))
        if rng.random() < 0.35:  # one region keeps its own colour
            patterns[rng.integers(NUM_REGIONS)] = None
    else:
        tint = np.exp(rng.normal(0, 0.12, 3))
    return Texture(picture, item.texture_m, tint, tuple(patterns))


def _hairlike(rng: np.random.Generator, item: Item, color: np.ndarray | None) -> Texture:
    picture = read_picture(item.textures[rng.integers(len(item.textures))])
    if color is None:
        return Texture(picture, item.texture_m, np.ones(3))
    plain = Pattern("plain", np.stack([color] * 3), 0.1, np.eye(3), 0.0)
    return Texture(picture, item.texture_m, np.ones(3), (plain,) * NUM_REGIONS)


def _skin(
    rng: np.random.Generator, wardrobe: Wardrobe, tone: float, woman: bool
) -> Texture | Pattern:
    """A photographed skin, drawn towards one of the tones of people."""
    color = random_skin(rng, tone)
    fitting = [path for path in wardrobe.skins if ("female" in path.stem) == woman]
    found = fitting or wardrobe.skins
    if not found:
        return Pattern("plain", np.stack([color] * 3), 0.1, np.eye(3), 0.04)
    picture = read_picture(found[rng.integers(len(found))])
    usual = picture.mean_color()
    weight = rng.uniform(0.5, 1.0)
    return Texture(picture, _SKIN_METRES, np.exp(weight * np.log(color / usual)))


def dress(
    outfit: Outfit, shape: np.ndarray, linear: np.ndarray, offset: np.ndarray
) -> tuple[Thing, tuple[Thing, ...]]:
    """The skin that shows, and everything worn, on a posed body.

    Args:
        outfit: what is worn.
        shape: (S,) coefficients of the template.
        linear: (J, 3, 3) rotation of each joint from the rest pose.
        offset: (J, 3) its shift.
    """
    base = load_base_mesh()
    resting = base.shaped(shape)
    motion = np.concatenate([linear.reshape(-1, 9), offset], axis=1)
    worn = []
    for item, kind, material in outfit.worn:
        vertices = _posed(item.resting(resting), item.joint_weights, motion)
        cloth = kind == "clothes"
        local = np.column_stack([item.uv, np.zeros(len(item.uv), np.float32)])
        if isinstance(material, Pattern):
            local = item.resting(base.vertices_m)
        gloss = _CLOTH_GLOSS if cloth else _GLOSS.get(kind, 0.1)
        fold = _CLOTH_FOLD if cloth else 0.0
        worn.append(Thing(vertices, item.faces, local, material, gloss, fold=fold, is_person=True))
    hidden = np.zeros(len(resting), bool)
    for item, _, _ in outfit.worn:
        hidden[item.hides] = True
    seen = ~hidden[base.skin_vertex[base.skin_faces]].all(axis=1)
    posed = _posed(resting, base.joint_weights, motion)[base.skin_vertex]
    local = np.column_stack([base.skin_uv, np.zeros(len(base.skin_uv), np.float32)])
    if isinstance(outfit.skin, Pattern):
        local = base.vertices_m[base.skin_vertex]
    skin = Thing(posed, base.skin_faces[seen], local, outfit.skin, _GLOSS["skins"], is_person=True)
    return skin, tuple(worn)


def _posed(resting: np.ndarray, weights: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Linear blend skinning: (N, 3), (N, J) and (J, 12) -> (N, 3)."""
    blended = weights @ motion
    moved = np.einsum("nij,nj->ni", blended[:, :9].reshape(-1, 3, 3), resting)
    return (moved + blended[:, 9:]).astype(np.float32)
