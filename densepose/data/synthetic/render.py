"""Turn a scene into a picture and its truth.

Truth comes from one ray through every pixel centre. Colour comes from the same rays, and from three more in pixels
where the outline of something passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densepose.surface.charts import ChartAtlas

from .anatomy import Anatomy
from .appearance import paint_body
from .background import Background
from .noise import smooth_noise
from .raycast import Hits, RayCaster, vertex_normals
from .scene import Light, Scene
from .truth import Truth

_SUBPIXELS = np.array([[-0.3, -0.1], [0.1, 0.3], [0.25, -0.3]])
# A keypoint inside the body is seen when the surface in front of it is at most this far away, metres.
_KEYPOINT_DEPTH_M = np.array(
    [0.03] + [0.03] * 2 + [0.04] * 2 + [0.11] * 2 + [0.08] * 2 + [0.07] * 2
)
_KEYPOINT_DEPTH_M = np.concatenate([_KEYPOINT_DEPTH_M, [0.17] * 2 + [0.11] * 2 + [0.09] * 2])
_EDGE_DEPTH_M = 0.03


@dataclass(frozen=True)
class Samples:
    """S shaded points of one mesh or of several."""

    color: np.ndarray  # (S, 3) linear RGB


class SceneGeometry:
    """The meshes of a scene ready for rays; people first, then objects."""

    def __init__(self, scene: Scene, anatomy: Anatomy) -> None:
        """Builds the acceleration structure."""
        self.scene = scene
        self.anatomy = anatomy
        faces = anatomy.template.mesh.faces
        meshes = [(person.shell, faces) for person in scene.people]
        meshes += [(thing.vertices, thing.faces) for thing in scene.objects]
        self.meshes = meshes
        self.caster = RayCaster(meshes)
        self.pixels = scene.camera.pixel_centres()
        self.rays = scene.camera.rays(self.pixels)
        self.hits = self.caster.first_hits(scene.camera.position, self.rays)

    @property
    def num_people(self) -> int:
        """People in the scene, seen or not."""
        return len(self.scene.people)

    def visible_pixels(self) -> np.ndarray:
        """(N,) number of pixels that show each person."""
        mesh = self.hits.mesh
        return np.bincount(mesh[(mesh >= 0) & (mesh < self.num_people)], minlength=self.num_people)

    def truth(self, atlas: ChartAtlas) -> Truth:
        """Instance, part, UV of every pixel and the keypoints."""
        camera = self.scene.camera
        on_body = np.flatnonzero((self.hits.mesh >= 0) & (self.hits.mesh < self.num_people))
        hits = self.hits[on_body]
        part, uv = atlas.from_surface(hits.face, hits.barycentric)
        shape = (camera.height, camera.width)
        instance_map = np.zeros(shape, np.uint8)
        part_map = np.zeros(shape, np.uint8)
        uv_map = np.zeros((*shape, 2), np.float32)
        instance_map.reshape(-1)[on_body] = hits.mesh + 1
        part_map.reshape(-1)[on_body] = part
        uv_map.reshape(-1, 2)[on_body] = np.clip(uv, 0, 1)
        pixels, visibility = self._keypoints()
        return Truth(instance_map, part_map, uv_map, pixels, visibility)

    def _keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        camera = self.scene.camera
        points = np.stack([person.keypoints for person in self.scene.people])
        count = len(points)
        pixels, depth = camera.project(points.reshape(-1, 3))
        inside = (depth > 0) & (pixels >= 0).all(axis=1)
        inside &= (pixels < [camera.width, camera.height]).all(axis=1)
        found = self.caster.first_hits(camera.position, camera.rays(pixels))
        own = found.mesh == np.repeat(np.arange(count), points.shape[1])
        near = found.depth > depth - np.tile(_KEYPOINT_DEPTH_M, count)
        visibility = np.where(inside, np.where(own & near, 2, 1), 0)
        return pixels.reshape(count, -1, 2), visibility.reshape(count, -1)


def _outline_pixels(hits: Hits, height: int, width: int) -> np.ndarray:
    """Flat indices of pixels next to another mesh or to a step in depth."""
    mesh = hits.mesh.reshape(height, width)
    depth = hits.depth.reshape(height, width)
    edge = np.zeros((height, width), bool)
    with np.errstate(invalid="ignore"):
        across = (mesh[:, 1:] != mesh[:, :-1]) | (
            np.abs(depth[:, 1:] - depth[:, :-1]) > _EDGE_DEPTH_M
        )
        along = (mesh[1:] != mesh[:-1]) | (np.abs(depth[1:] - depth[:-1]) > _EDGE_DEPTH_M)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= along
    edge[:-1] |= along
    edge &= cv_dilate(mesh >= 0)
    return np.flatnonzero(edge)


def cv_dilate(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool grown by one pixel up, down, left and right."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def render(geometry: SceneGeometry, background: Background) -> np.ndarray:
    """(H, W, 3) linear RGB picture of the scene."""
    scene = geometry.scene
    camera = scene.camera
    hits, rays = geometry.hits, geometry.rays
    seen = np.flatnonzero(hits.mesh >= 0)
    outline = _outline_pixels(hits, camera.height, camera.width)
    more_px = (geometry.pixels[outline][:, None] + _SUBPIXELS).reshape(-1, 2)
    more_rays = camera.rays(more_px)
    more = geometry.caster.first_hits(camera.position, more_rays)
    more_seen = np.flatnonzero(more.mesh >= 0)
    all_hits = Hits(*(np.concatenate([a[seen], b[more_seen]]) for a, b in _pairs(hits, more)))
    all_rays = np.concatenate([rays[seen], more_rays[more_seen]])
    color = _shade(geometry, all_hits, all_rays)

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


def _pairs(a: Hits, b: Hits) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (getattr(a, name), getattr(b, name)) for name in ("mesh", "face", "barycentric", "depth")
    ]


def _shade(geometry: SceneGeometry, hits: Hits, rays: np.ndarray) -> np.ndarray:
    """(S, 3) light that comes back from each hit."""
    scene = geometry.scene
    color = np.zeros((len(rays), 3), np.float32)
    gloss = np.zeros(len(rays), np.float32)
    normal = np.zeros((len(rays), 3), np.float32)
    order = np.argsort(hits.mesh, kind="stable")
    first = np.searchsorted(hits.mesh[order], np.arange(len(geometry.meshes) + 1))
    for number, (vertices, faces) in enumerate(geometry.meshes):
        index = order[first[number] : first[number + 1]]
        if len(index) == 0:
            continue
        own = hits[index]
        if number < geometry.num_people:
            color[index], gloss[index], normal[index] = _person_material(geometry, number, own)
            continue
        thing = scene.objects[number - geometry.num_people]
        local = np.einsum("pck,pc->pk", thing.local[faces[own.face]], own.barycentric)
        color[index] = thing.pattern.paint(local)
        gloss[index] = thing.gloss
        normal[index] = _surface_normal(vertices, faces, own, smooth=thing.smooth)
    points = scene.camera.position.astype(np.float32) + rays * hits.depth[:, None]
    facing = (normal * rays).sum(axis=1) > 0
    normal[facing] -= (
        2
        * (normal[facing] * rays[facing]).sum(1, keepdims=True)
        * rays[facing]
        / (rays[facing] ** 2).sum(1, keepdims=True)
    )
    dark = geometry.caster.in_shadow(points, normal, scene.light.to_lamp)
    return _lit(scene.light, color, gloss, normal, rays, dark)


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


def _person_material(
    geometry: SceneGeometry, number: int, hits: Hits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour, gloss and wrinkled normals where rays hit a person."""
    vertices, faces = geometry.meshes[number]
    look = geometry.scene.people[number].look
    points = geometry.anatomy.points(hits.face, hits.barycentric)
    paint = paint_body(look, points, geometry.anatomy)
    normal = _surface_normal(vertices, faces, hits, smooth=True)
    # Wrinkles are longer across the limb than along it.
    at = points.rest * np.array([7.0, 16.0, 7.0], np.float32) + look.texture_shift
    wrinkle = np.stack([smooth_noise(at), smooth_noise(at + 31.7), smooth_noise(at + 57.1)], axis=1)
    normal = normal + paint.fold[:, None] * wrinkle
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return paint.color, paint.gloss, normal


def _lit(
    light: Light,
    color: np.ndarray,
    gloss: np.ndarray,
    normal: np.ndarray,
    rays: np.ndarray,
    dark: np.ndarray,
) -> np.ndarray:
    to_lamp = light.to_lamp.astype(np.float32)
    reaches = 1 - light.shadow * dark.astype(np.float32)
    lamp = np.clip(normal @ to_lamp, 0, 1) * reaches
    up = (0.5 + 0.5 * normal[:, 1:2]).astype(np.float32)
    ambient = light.ground + up * (light.sky - light.ground)
    view = -rays / np.linalg.norm(rays, axis=1, keepdims=True)
    half = view + to_lamp
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    shine = np.clip((normal * half).sum(axis=1), 0, 1) ** 24 * gloss * reaches * 0.5
    light_in = ambient + lamp[:, None] * light.lamp
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
    share = light.shadow * light.lamp.mean() / (light.lamp.mean() + light.sky.mean())
    image[open_floor[dark]] *= np.float32(1 - 0.8 * share)
