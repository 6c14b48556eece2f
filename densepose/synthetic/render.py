"""Turn a scene into a picture: material, light and shadow where rays hit.

Colour comes from the ray through every pixel centre that the truth comes from too, and from three
more rays in pixels where the outline of something passes.
"""

from __future__ import annotations

import cv2
import numpy as np

from densepose.surface.mesh import vertex_normals
from densepose.surface.raycast import Hits, RayCaster, even_directions

from .appearance import paint_body
from .backgrounds import Background
from .light import Light
from .noise import smooth_noise
from .texture import Texture
from .truth import SceneGeometry

_SUBPIXELS = np.array([[-0.3, -0.1], [0.1, 0.3], [0.25, -0.3]])
_EDGE_DEPTH_M = 0.03
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))  # a pixel and its four neighbours
# Folds of cloth: noise units a metre of waves and of creases, width (noise units of height), depth
# and darkness of creases.
_WAVES = np.array([16.0, 7.0, 16.0], np.float32)
_CREASES = np.array([8.0, 4.5, 8.0], np.float32)
_CREASE_WIDTH, _CREASE_DEPTH, _CREASE_SHADE = 0.35, 2.5, 0.6
# Light from all sides: directions it is asked for, rounds of averaging with the neighbours that
# hide how few they are, and what reaches the deepest corners from other surfaces.
_DIRECTIONS, _OPENNESS_SMOOTHING, _LEAST_OPENNESS = 12, 2, 0.25


def _outline_pixels(hits: Hits, height: int, width: int) -> np.ndarray:
    """Flat indices of pixels next to another mesh or to a step in depth."""
    mesh = hits.mesh.reshape(height, width)
    depth = hits.depth.reshape(height, width)
    edge = np.zeros((height, width), bool)
    with np.errstate(invalid="ignore"):
        across = (np.diff(mesh, axis=1) != 0) | (np.abs(np.diff(depth, axis=1)) > _EDGE_DEPTH_M)
        along = (np.diff(mesh, axis=0) != 0) | (np.abs(np.diff(depth, axis=0)) > _EDGE_DEPTH_M)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= along
    edge[:-1] |= along
    near_something = cv2.dilate((mesh >= 0).astype(np.uint8), _CROSS) > 0
    return np.flatnonzero(edge & near_something)


def render(geometry: SceneGeometry, background: Background) -> np.ndarray:
    """(H, W, 3) linear RGB picture of the scene."""
    scene = geometry.scene
    camera = scene.camera
    hits, rays = geometry.hits, geometry.rays
    seen = np.flatnonzero(hits.mesh >= 0)
    outline = _outline_pixels(hits, camera.height, camera.width)
    more_px = (geometry.pixels[outline][:, None] + _SUBPIXELS).reshape(-1, 2)
    more_rays = camera.rays(more_px)
    more = geometry.first_hits(more_rays)
    more_seen = np.flatnonzero(more.mesh >= 0)
    all_hits = hits[seen].joined(more[more_seen])
    all_rays = np.concatenate([rays[seen], more_rays[more_seen]])
    openness = np.concatenate([_openness_of_dressed(geometry)[seen], np.ones(len(more_seen), "f4")])
    color = _shade(geometry, all_hits, all_rays, openness)

    image = background.color.reshape(-1, 3).copy()
    if background.floor_depth is not None:
        _floor_shadow(geometry, image, background.floor_depth.reshape(-1))
    behind = image[outline]
    image[seen] = color[: len(seen)]
    extra = np.repeat(behind, len(_SUBPIXELS), axis=0)
    extra[more_seen] = color[len(seen) :]
    extra = extra.reshape(len(outline), len(_SUBPIXELS), 3)
    image[outline] = (image[outline] + extra.sum(axis=1)) / (1 + len(_SUBPIXELS))
    return image.reshape(camera.height, camera.width, 3)


def _shade(
    geometry: SceneGeometry, hits: Hits, rays: np.ndarray, openness: np.ndarray
) -> np.ndarray:
    """(S, 3) light that comes back from each hit; ``openness`` (S,) is filled in for bodies."""
    scene = geometry.scene
    color = np.zeros((len(rays), 3), np.float32)
    gloss = np.zeros(len(rays), np.float32)
    normal = np.zeros((len(rays), 3), np.float32)
    order = np.argsort(hits.mesh, kind="stable")
    first = np.searchsorted(hits.mesh[order], np.arange(len(geometry.meshes) + 1))
    for number in range(len(geometry.meshes)):
        index = order[first[number] : first[number + 1]]
        if len(index) == 0:
            continue
        own = hits[index]
        painted = geometry.thing(number) is None
        material = _person_material if painted else _thing_material
        color[index], gloss[index], normal[index] = material(geometry, number, own)
        if painted:
            vertices, faces = geometry.meshes[number]
            fraction = _openness(geometry, geometry.caster, vertices)
            openness[index] = _at(fraction, faces[own.face], own.barycentric)
    points = scene.camera.position.astype(np.float32) + rays * hits.depth[:, None]
    normal = _towards_viewer(normal, rays)
    dark = geometry.caster.in_shadow(points, normal, scene.light.to_lamp)
    return _lit(scene.light, color, gloss, normal, rays, dark, openness)


def _openness(geometry: SceneGeometry, caster: RayCaster, vertices: np.ndarray) -> np.ndarray:
    """(V,) fraction of the light from all sides that reaches a body: low under arms and chins."""
    normals = vertex_normals(vertices, geometry.anatomy.template.mesh.faces)
    fraction = caster.open_fraction(vertices, normals, even_directions(_DIRECTIONS))
    for _ in range(_OPENNESS_SMOOTHING):
        fraction = geometry.anatomy.smoothing @ fraction
    return fraction


def _at(fraction: np.ndarray, corners: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    at = np.einsum("pc,pc->p", fraction[corners], barycentric)
    return _LEAST_OPENNESS + (1 - _LEAST_OPENNESS) * at


def _openness_of_dressed(geometry: SceneGeometry) -> np.ndarray:
    """(R,) of each pixel that shows a person in an outfit, how open the body below is; else 1."""
    openness = np.ones(len(geometry.rays), np.float32)
    pixels, face, barycentric = geometry.on_body
    owner = geometry.owner(geometry.hits[pixels])
    faces = geometry.anatomy.template.mesh.faces
    for number, person in enumerate(geometry.scene.people):
        mine = np.flatnonzero(owner == number)
        if person.bare is None or len(mine) == 0:
            continue
        fraction = _openness(geometry, geometry.bodies, person.skin)
        openness[pixels[mine]] = _at(fraction, faces[face[mine]], barycentric[mine])
    return openness


def _thing_material(
    geometry: SceneGeometry, number: int, hits: Hits
) -> tuple[np.ndarray, float, np.ndarray]:
    """Colour, gloss and normals where rays hit a worn thing or an object."""
    vertices, faces = geometry.meshes[number]
    thing = geometry.thing(number)
    local = geometry.local(number, hits)
    normal = _surface_normal(vertices, faces, hits, smooth=thing.smooth)
    if isinstance(thing.pattern, Texture):
        color = thing.pattern.paint(local[:, :2], geometry.pixel_m(hits))
        local = local * np.float32(thing.pattern.metres)
    else:
        color = thing.pattern.paint(local)
    if thing.fold > 0:
        normal, light = _wrinkled(normal, local, np.full(len(local), thing.fold, np.float32))
        color = color * light[:, None]
    return color, thing.gloss, normal


def _surface_normal(
    vertices: np.ndarray, faces: np.ndarray, hits: Hits, *, smooth: bool
) -> np.ndarray:
    if smooth:
        normals = vertex_normals(vertices, faces)
        blended = np.einsum("pck,pc->pk", normals[faces[hits.face]], hits.barycentric)
    else:
        corner = vertices[faces[hits.face]]
        blended = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    return blended / np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), 1e-9)


def _towards_viewer(normal: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Normals that point away, at outlines and inside thin things, turned to the viewer."""
    along = (normal * rays).sum(axis=1)
    excess = 2 * np.clip(along, 0, None) / (rays**2).sum(axis=1)
    return normal - excess[:, None] * rays


def _person_material(
    geometry: SceneGeometry, number: int, hits: Hits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour, gloss and wrinkled normals where rays hit a person."""
    vertices, faces = geometry.meshes[number]
    look = geometry.scene.people[number].look
    points = geometry.anatomy.points(hits.face, hits.barycentric)
    paint = paint_body(look, points)
    normal = _surface_normal(vertices, faces, hits, smooth=True)
    normal, light = _wrinkled(normal, points.rest + look.texture_shift, paint.fold)
    return paint.color * light[:, None], paint.gloss, normal


def _wrinkled(
    normal: np.ndarray, points: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normals (S, 3) of cloth with folds of strength ``fold`` (S,), and light (S,) left in them.

    Soft waves, longer along the body, and between them creases: the lines where a slower field
    changes its sign are valleys.
    """
    at = points * _WAVES
    bend = np.stack([smooth_noise(at), smooth_noise(at + 31.7), smooth_noise(at + 57.1)], axis=1)
    at = points * _CREASES + 11.3
    field = smooth_noise(at)
    step = np.float32(0.12)
    slope = np.stack([smooth_noise(at + step * axis) - field for axis in np.eye(3, dtype="f4")], 1)
    valley = np.exp(-((field / _CREASE_WIDTH) ** 2))
    # Height -valley: its slope is 2 field / width^2 * valley * slope of the field, and the surface
    # leans away from where it rises.
    lean = (2 / _CREASE_WIDTH * field * valley)[:, None] * slope / step * _CREASES
    lean *= _CREASE_DEPTH / _CREASES.max()
    normal = normal + fold[:, None] * (bend - lean)
    light = 1 - _CREASE_SHADE * np.minimum(fold, 1) * valley
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9), light


def _lit(
    light: Light,
    color: np.ndarray,
    gloss: np.ndarray,
    normal: np.ndarray,
    rays: np.ndarray,
    dark: np.ndarray,
    openness: np.ndarray,
) -> np.ndarray:
    to_lamp = light.to_lamp.astype(np.float32)
    reaches = 1 - light.shadow * dark.astype(np.float32)
    lamp = np.clip(normal @ to_lamp, 0, 1) * reaches
    ambient = light.ambient(normal)
    view = -rays / np.linalg.norm(rays, axis=1, keepdims=True)
    half = view + to_lamp
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    # Phong's highlight: the cosine to the power of 24, by squares.
    square = np.clip((normal * half).sum(axis=1), 0, 1) ** 2
    power_8 = (square**2) ** 2
    shine = power_8 * power_8**2 * gloss * reaches * 0.5
    light_in = openness[:, None] * ambient + lamp[:, None] * light.lamp
    return (color * light_in + shine[:, None] * light.lamp).astype(np.float32)


def _floor_shadow(geometry: SceneGeometry, image: np.ndarray, floor_depth: np.ndarray) -> None:
    """Darken the floor where people and things keep the lamp away, in place."""
    light = geometry.scene.light
    open_floor = np.flatnonzero((geometry.hits.mesh < 0) & (floor_depth < 12))
    if len(open_floor) == 0:
        return
    origin = geometry.scene.camera.position.astype(np.float32)
    points = origin + geometry.rays[open_floor] * floor_depth[open_floor, None].astype(np.float32)
    up = np.array([[0, 1, 0]], np.float32)
    dark = geometry.caster.in_shadow(points, np.broadcast_to(up, points.shape), light.to_lamp)
    darkening = light.shadow * light.lamp.mean() / (light.lamp.mean() + light.sky.mean())
    image[open_floor[dark]] *= np.float32(1 - 0.8 * darkening)
