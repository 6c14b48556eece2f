"""Small meshes with known distances, and their OBJ files."""

from __future__ import annotations

import numpy as np
import trimesh

from densepose.structures.body_parts import flipped_parts
from densepose.surface.body import BodyTemplate
from densepose.surface.charts import ChartAtlas
from densepose.surface.mesh import SurfaceMesh, face_areas
from densepose.surface.seams import find_seams


def grid_mesh(columns: int, rows: int, width: float = 1.0, height: float = 1.0) -> SurfaceMesh:
    """A flat rectangle in the plane z = 0, ``columns`` x ``rows`` squares of two triangles each."""
    x, y = np.meshgrid(
        np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1), indexing="ij"
    )
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    index = np.arange(x.size).reshape(x.shape)
    a, b = index[:-1, :-1].ravel(), index[1:, :-1].ravel()
    c, d = index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return SurfaceMesh(vertices.astype(np.float32), faces.astype(np.int32))


def half_cylinder(columns: int = 12, rows: int = 16, height: float = 1.0) -> SurfaceMesh:
    """Half of a cylinder of radius 0.1 about the y axis, bulging to z > 0, seen from outside."""
    flat = grid_mesh(columns, rows, np.pi, height)
    angle = flat.vertices_m[:, 0]
    vertices = np.stack([-0.1 * np.cos(angle), flat.vertices_m[:, 1], 0.1 * np.sin(angle)], axis=1)
    return SurfaceMesh(vertices.astype(np.float32), flat.faces)


def unit_cube() -> SurfaceMesh:
    """The cube [0, 1]^3, two triangles a side."""
    corner = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])
    squares = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    faces = [t for a, b, c, d in squares for t in ((a, b, c), (a, c, d))]
    return SurfaceMesh(corner.astype(np.float32), np.array(faces, np.int32))


def sphere(subdivisions: int = 3, radius: float = 1.0) -> SurfaceMesh:
    """An icosahedron, each triangle divided in four again and again, on a sphere."""
    golden = (1 + 5**0.5) / 2
    ring = [(-1, golden), (1, golden), (-1, -golden), (1, -golden)]
    vertices = np.array(
        [(a, b, 0) for a, b in ring] + [(0, a, b) for a, b in ring] + [(b, 0, a) for a, b in ring]
    )
    faces = np.array(
        "0 11 5 0 5 1 0 1 7 0 7 10 0 10 11 1 5 9 5 11 4 11 10 2 10 7 6 7 1 8 "
        "3 9 4 3 4 2 3 2 6 3 6 8 3 8 9 4 9 5 2 4 11 6 2 10 8 6 7 9 8 1".split(),
        np.int64,
    ).reshape(-1, 3)
    for _ in range(subdivisions):
        sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]))
        edge, name = np.unique(sides, axis=0, return_inverse=True)
        m = len(vertices) + name.reshape(3, -1)
        vertices = np.concatenate([vertices, vertices[edge].mean(axis=1)])
        a, b, c = faces.T
        faces = np.concatenate(
            [np.stack(t, axis=1) for t in ((a, m[0], m[2]), (b, m[1], m[0]), (c, m[2], m[1]), m)]
        )
    vertices *= radius / np.linalg.norm(vertices, axis=1, keepdims=True)
    return SurfaceMesh(vertices.astype(np.float32), faces.astype(np.int32))


def two_part_atlas() -> ChartAtlas:
    """A flat 2 x 1 rectangle: part 1 its left square, part 2 its right, each seen in [0.1, 0.9]^2.

    Part 2 is drawn turned by a quarter, so the charts differ.
    """
    mesh = grid_mesh(8, 4, 2.0, 1.0)
    face_part = np.where(mesh.vertices_m[mesh.faces][..., 0].mean(axis=1) < 1, 1, 2)
    key, uv_faces = np.unique(
        face_part[:, None] * mesh.num_vertices + mesh.faces, return_inverse=True
    )
    uv_part, vertex = key // mesh.num_vertices, key % mesh.num_vertices
    x, y = mesh.vertices_m[vertex, 0], mesh.vertices_m[vertex, 1]
    uv = np.where((uv_part == 1)[:, None], np.stack([x, y], 1), np.stack([1 - y, x - 1], 1))
    return ChartAtlas(
        mesh=mesh,
        face_part=face_part,
        uv=(0.1 + 0.8 * uv).astype(np.float32),
        uv_part=uv_part,
        uv_vertex_mesh=vertex,
        uv_faces=uv_faces.reshape(-1, 3),
    )


def patchwork_atlas(side: int = 3) -> tuple[ChartAtlas, np.ndarray]:
    """24 separate squares of side x side vertices, part p - 1 in its own place.

    Also the mirror image of each vertex: in the part of the other side, at 1 - u.
    """
    step = np.linspace(0, 1, side)
    v, u = np.meshgrid(step, step, indexing="ij")
    place = np.stack([u.ravel(), v.ravel()], axis=1)
    index = np.arange(side * side).reshape(side, side)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    part = np.arange(1, 25)
    uv_part = np.repeat(part, side * side)
    uv = np.tile(place, (24, 1)).astype(np.float32)
    uv_faces = (faces[None] + (part - 1)[:, None, None] * side * side).reshape(-1, 3)
    across = np.stack([1 - place[:, 0], place[:, 1]], axis=1)
    same_square = np.array([int(np.abs(place - x).sum(axis=1).argmin()) for x in across])
    mirror = ((flipped_parts()[part] - 1)[:, None] * side * side + same_square).ravel()
    vertices = np.column_stack([uv[:, 0] + 2 * uv_part, uv[:, 1], 0.1 * uv_part])
    mesh = SurfaceMesh(vertices.astype(np.float32), uv_faces.astype(np.int32))
    face_part = np.repeat(part, len(faces)).astype(np.uint8)
    return ChartAtlas(mesh, face_part, uv, uv_part, np.arange(len(uv)), uv_faces), mirror


def random_surface_points(
    atlas: ChartAtlas, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(count,) triangles and (count, 3) barycentric coordinates, uniform over the whole surface."""
    area = face_areas(atlas.mesh.vertices_m.astype(np.float64), atlas.mesh.faces)
    face = rng.choice(len(area), size=count, p=area / area.sum())
    root, along = np.sqrt(rng.random(count)), rng.random(count)
    barycentric = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    return face, barycentric


def surface_points(atlas: ChartAtlas, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
    """(P,) triangles and (P, 3) barycentric coordinates -> (P, 3) metres on the atlas's mesh."""
    corners = atlas.mesh.vertices_m[atlas.mesh.faces[face]].astype(np.float64)
    return np.einsum("pk,pkd->pd", barycentric, corners)


def tube(around: int = 12, along: int = 6, height: float = 1.0) -> SurfaceMesh:
    """A cylinder of radius 0.2 about the y axis without lids, seen from outside."""
    flat = grid_mesh(around, along, 2 * np.pi, height)
    angle, y, _ = flat.vertices_m.T
    vertices = np.stack([-0.2 * np.cos(angle), y, 0.2 * np.sin(angle)], axis=1)
    rows = along + 1
    faces = np.where(flat.faces >= around * rows, flat.faces - around * rows, flat.faces)
    return SurfaceMesh(vertices[: around * rows].astype(np.float32), faces)


def torus(around: int = 12, along: int = 8) -> SurfaceMesh:
    ring = tube(around, along, 2 * np.pi)
    rows = along + 1
    x, turn, z = ring.vertices_m.T
    vertices = np.stack([(1 + x) * np.cos(turn), (1 + x) * np.sin(turn), z], axis=1)
    faces = np.where(ring.faces % rows == along, ring.faces - along, ring.faces)
    used, faces = np.unique(faces, return_inverse=True)
    return SurfaceMesh(vertices[used].astype(np.float32), faces.reshape(-1, 3).astype(np.int32))


def write_obj(path, mesh: SurfaceMesh, extra: str = "", texture: bool = False) -> None:
    """Vertices and triangles; with ``texture`` each corner has a texture vertex of its own."""
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices_m.tolist()]
    if texture:
        lines += [f"vt {k % 7} {k % 5}" for k in range(3 * mesh.num_faces)]
        lines += [
            "f " + " ".join(f"{v + 1}/{3 * f + k + 1}" for k, v in enumerate(face))
            for f, face in enumerate(mesh.faces.tolist())
        ]
    else:
        lines += ["f " + " ".join(str(v + 1) for v in face) for face in mesh.faces.tolist()]
    path.write_text(extra + "\n".join(lines) + "\n")


def is_closed_manifold(faces: np.ndarray) -> bool:
    """Whether each edge joins exactly two triangles of the same orientation."""
    places = np.zeros((int(faces.max()) + 1, 3))
    mesh = trimesh.Trimesh(places, faces, process=False)
    return mesh.is_watertight and mesh.is_winding_consistent


def seam_points(
    atlas: ChartAtlas, per_side: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Points on the seams, ``per_side`` on each: parts and (u, v) in both charts."""
    seams = find_seams(atlas)
    once = np.flatnonzero(seams.face < seams.other_face)
    along = ((np.arange(per_side) + 0.5) / per_side)[None, :, None]

    def places(face: np.ndarray, start: np.ndarray, end: np.ndarray):
        corner = atlas.uv[atlas.uv_faces[face]].astype(np.float64)
        row = np.arange(len(face))
        place = corner[row, start][:, None] * (1 - along) + corner[row, end][:, None] * along
        return np.repeat(atlas.face_part[face].astype(np.int64), per_side), place.reshape(-1, 2)

    start, other = seams.corner[once], seams.other_corner[once]
    # The two triangles run along their common side in opposite directions.
    return (
        places(seams.face[once], start, (start + 1) % 3),
        places(seams.other_face[once], (other + 1) % 3, other),
    )


def posed_joints(body: BodyTemplate, rotations: np.ndarray) -> np.ndarray:
    """(J, 3) joints of the mean body in a pose."""
    linear, offset = body.joint_motions(body.joints_m, rotations)
    return np.einsum("jik,jk->ji", linear, body.joints_m) + offset
