"""The complete truth about one image: what every pixel shows, and where the keypoints are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from densepose.structures.body_parts import KEYPOINT_NAMES, UV_STEPS
from densepose.surface.charts import ChartAtlas
from densepose.surface.raycast import Hits, RayCaster

from .anatomy import Anatomy
from .objects import Thing
from .scene import Scene
from .texture import Texture


@dataclass(frozen=True)
class Truth:
    """Per-pixel truth, H x W, and the keypoints of the N people of an image."""

    instance: np.ndarray  # (H, W) uint8: 0 no person, else 1 + index of the person
    part: np.ndarray  # (H, W) uint8 0..24
    uv: np.ndarray  # (H, W, 2) float32 in [0, 1]
    keypoints_px: np.ndarray  # (N, 17, 2)
    keypoint_visibility: np.ndarray  # (N, 17) COCO: 0 outside, 1 hidden, 2 visible

    @property
    def num_people(self) -> int:
        """How many people the scene has."""
        return len(self.keypoints_px)

    def iuv_image(self) -> np.ndarray:
        """(H, W, 3) uint8: part, U * 255, V * 255 rounded to the nearest step."""
        image = np.zeros((*self.part.shape, 3), np.uint8)
        body = self.part > 0
        image[body, 0] = self.part[body]
        image[body, 1:] = np.rint(self.uv[body] * UV_STEPS)
        return image


# A keypoint inside the body is seen when the surface in front of it is at most this far away,
# metres: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
_KEYPOINT_DEPTH_M = np.repeat(
    [0.03, 0.03, 0.04, 0.11, 0.08, 0.07, 0.17, 0.11, 0.09], [1, 2, 2, 2, 2, 2, 2, 2, 2]
)
# What reaches nearer to the camera than this has no bounding rectangle.
_NEAR_M = 0.05
NOBODY = -1
# Cloth and hair show the body that the same ray meets at most this far behind them, metres.
_BELOW_M = 0.1
# A ray goes on behind a hole in a texture by so much, and through so many of them.
_STEP_M, _MOST_LAYERS = 1e-4, 12


class SceneGeometry:
    """The meshes of a scene and the first hit of the ray through every pixel centre.

    Meshes come in the order: bodies of the people, worn things, objects. Of a person in an outfit
    of items, cloth and hair are hit first; the label is the point of the body below.
    """

    def __init__(self, scene: Scene, anatomy: Anatomy) -> None:
        """Builds the acceleration structure and casts the rays."""
        self.scene = scene
        self.anatomy = anatomy
        faces = anatomy.template.mesh.faces
        worn = [(i, thing) for i, person in enumerate(scene.people) for thing in person.worn]
        self.things = [thing for _, thing in worn] + list(scene.objects)
        self.meshes = [
            (person.shell, faces if person.bare is None else person.bare.faces)
            for person in scene.people
        ]
        self.meshes += [(thing.vertices, thing.faces) for thing in self.things]
        owner = list(range(self.num_people))
        owner += [i if thing.is_person else NOBODY for i, thing in worn]
        # The person each mesh counts as; the last entry is for rays that hit nothing.
        self._owner = np.array(owner + [NOBODY] * (len(scene.objects) + 1))
        self._dressed = np.array([person.bare is not None for person in scene.people], bool)
        self.caster = RayCaster(self.meshes)
        self._with_holes = [
            number
            for number in range(len(self.meshes))
            if (thing := self.thing(number)) is not None
            and isinstance(thing.pattern, Texture)
            and thing.pattern.picture.has_holes
        ]
        self.pixels = scene.camera.pixel_centres()
        self.rays = scene.camera.rays(self.pixels)
        self.hits = self.first_hits(self.rays, np.flatnonzero(self._pixels_of_interest()))

    def _pixels_of_interest(self) -> np.ndarray:
        """(H * W,) bool: inside the bounding rectangle of something."""
        camera = self.scene.camera
        wanted = np.zeros((camera.height, camera.width), bool)
        for vertices, _ in self.meshes:
            pixels, depth = camera.project(vertices)
            if depth.min() < _NEAR_M:
                if depth.max() < _NEAR_M:
                    continue
                wanted[:] = True
                break
            low = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(int)
            high = np.maximum(np.ceil(pixels.max(axis=0)), 0).astype(int)
            wanted[low[1] : high[1], low[0] : high[0]] = True
        return wanted.reshape(-1)

    @cached_property
    def bodies(self) -> RayCaster:
        """The bare bodies of all people, to find what is below cloth."""
        faces = self.anatomy.template.mesh.faces
        return RayCaster([(person.skin, faces) for person in self.scene.people])

    @cached_property
    def on_body(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(P,) pixels that show a person, (P,) face of the body and (P, 3) place on it."""
        owner = self.owner(self.hits)
        pixels = np.flatnonzero(owner != NOBODY)
        return pixels, *self.on_skin(self.hits[pixels], owner[pixels], self.rays[pixels])

    def thing(self, number: int) -> Thing | None:
        """What mesh ``number`` is; None of a painted body."""
        if number < self.num_people:
            return self.scene.people[number].bare
        return self.things[number - self.num_people]

    def first_hits(self, rays: np.ndarray, index: np.ndarray | None = None) -> Hits:
        """What rays from the camera meet, seeing through the holes of textures."""
        origin = self.scene.camera.position.astype(np.float32)
        hits = self.caster.first_hits(origin, rays, index)
        going = np.arange(len(rays))
        for _ in range(_MOST_LAYERS):
            going = going[self._is_hole(hits[going])]
            if len(going) == 0:
                break
            passed = hits.depth[going] + np.float32(_STEP_M)
            behind = self.caster.first_hits(origin + rays[going] * passed[:, None], rays[going])
            for name, values in vars(behind).items():
                getattr(hits, name)[going] = values
            hits.depth[going] += passed
        return hits

    def _is_hole(self, hits: Hits) -> np.ndarray:
        """(R,) bool: the texture is not there where a ray hits."""
        hole = np.zeros(len(hits.mesh), bool)
        for number in self._with_holes:
            mine = np.flatnonzero(hits.mesh == number)
            if len(mine):
                texture, uv = self.thing(number).pattern, self.local(number, hits[mine])[:, :2]
                hole[mine] = ~texture.opaque(uv, self.pixel_m(hits[mine]))
        return hole

    def local(self, number: int, hits: Hits) -> np.ndarray:
        """(R, 3) place on the resting thing, or in its texture, of hits of one mesh."""
        corners = self.thing(number).local[self.meshes[number][1][hits.face]]
        return np.einsum("pck,pc->pk", corners, hits.barycentric)

    def pixel_m(self, hits: Hits) -> float:
        """What a pixel covers at the middle depth of hits, metres."""
        return float(np.median(hits.depth)) / self.scene.camera.focal_px

    @property
    def num_people(self) -> int:
        """People in the scene, seen or not."""
        return len(self.scene.people)

    def visible_pixels(self) -> np.ndarray:
        """(N,) number of pixels that show each person."""
        owner = self._owner[self.hits.mesh]
        return np.bincount(owner[owner != NOBODY], minlength=self.num_people)

    def truth(self, atlas: ChartAtlas) -> Truth:
        """Instance, part, UV of every pixel and the keypoints."""
        camera = self.scene.camera
        owner = self.owner(self.hits)
        on_body, face, barycentric = self.on_body
        part, uv = atlas.from_surface(face, barycentric)
        shape = (camera.height, camera.width)
        instance_map = np.zeros(shape, np.uint8)
        part_map = np.zeros(shape, np.uint8)
        uv_map = np.zeros((*shape, 2), np.float32)
        instance_map.reshape(-1)[on_body] = owner[on_body] + 1
        part_map.reshape(-1)[on_body] = part
        uv_map.reshape(-1, 2)[on_body] = np.clip(uv, 0, 1)
        pixels, visibility = self._keypoints()
        return Truth(instance_map, part_map, uv_map, pixels, visibility)

    def owner(self, hits: Hits) -> np.ndarray:
        """(R,) person that each hit counts as, or NOBODY."""
        return self._owner[hits.mesh]

    def on_skin(
        self, hits: Hits, owner: np.ndarray, rays: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Face and place on the body of each hit.

        Below an outfit of items they are where the ray goes on to the body, if that is near; there,
        and of other worn things, else at the nearest vertex.
        """
        face, barycentric = hits.face.copy(), hits.barycentric.copy()
        worn = (hits.mesh >= self.num_people) | self._dressed[owner]
        dressed = np.flatnonzero(self._dressed[owner])
        if len(dressed):
            below = self.bodies.first_hits(self.scene.camera.position, rays[dressed])
            with np.errstate(invalid="ignore"):
                near = np.abs(below.depth - hits.depth[dressed]) < _BELOW_M
            near = np.flatnonzero(near & (below.mesh == owner[dressed]))
            face[dressed[near]] = below.face[near]
            barycentric[dressed[near]] = below.barycentric[near]
            worn[dressed[near]] = False
        on_worn = np.flatnonzero(worn)
        points = self.scene.camera.position + rays[on_worn] * hits.depth[on_worn, None]
        vertex_face, vertex_place = self.anatomy.vertex_corner
        for person in np.unique(owner[on_worn]):
            mine = owner[on_worn] == person
            vertex = cKDTree(self.scene.people[person].skin).query(points[mine])[1]
            face[on_worn[mine]] = vertex_face[vertex]
            barycentric[on_worn[mine]] = vertex_place[vertex]
        return face, barycentric

    def _keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        camera = self.scene.camera
        count = self.num_people
        points = np.array([person.keypoints for person in self.scene.people]).reshape(
            -1, len(KEYPOINT_NAMES), 3
        )
        pixels, depth = camera.project(points.reshape(-1, 3))
        inside = (depth > 0) & (pixels >= 0).all(axis=1)
        inside &= (pixels < [camera.width, camera.height]).all(axis=1)
        found = self.first_hits(camera.rays(pixels))
        own = self.owner(found) == np.repeat(np.arange(count), points.shape[1])
        near = found.depth > depth - np.tile(_KEYPOINT_DEPTH_M, count)
        visibility = np.where(inside, np.where(own & near, 2, 1), 0)
        return pixels.reshape(*points.shape[:2], 2), visibility.reshape(points.shape[:2])
