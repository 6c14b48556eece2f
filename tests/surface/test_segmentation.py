"""Checks, mirror planes and parts of meshes of the user's own."""

from __future__ import annotations

import re

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.body import load_template
from densepose.surface.mesh import SurfaceMesh
from densepose.surface.own.mesh_file import check_own_mesh, consistently_oriented, face_pieces
from densepose.surface.own.mirror import find_mirror_plane
from densepose.surface.own.parts import absorb_islands, segment_mesh
from tests.support.shapes import grid_mesh, half_cylinder, is_closed_manifold, sphere, unit_cube


def joined(*meshes: SurfaceMesh) -> SurfaceMesh:
    first = np.cumsum([0, *(m.num_vertices for m in meshes)])
    faces = [m.faces + start for m, start in zip(meshes, first, strict=False)]
    return SurfaceMesh(
        np.concatenate([m.vertices_m for m in meshes]), np.concatenate(faces).astype(np.int32)
    )


def moved(mesh: SurfaceMesh, *offset: float) -> SurfaceMesh:
    return mesh.with_vertices(mesh.vertices_m + np.float32(offset))


def test_a_good_mesh_has_no_findings():
    found = check_own_mesh(sphere(2), "ball")
    assert found.errors == [] and found.warnings == []


@pytest.mark.parametrize(
    ("mesh", "errors", "warnings"),
    [
        (joined(sphere(1), moved(sphere(1), 3, 0, 0)), [], ["2 separate pieces of 80, 80"]),
        (grid_mesh(2, 2), [], ["8 edges have one triangle only"]),
        (sphere(1, radius=100), [], ["200 x 200 x 200 m large"]),
        (
            SurfaceMesh(
                np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]], np.float32),
                np.array([[0, 1, 2], [0, 1, 3], [1, 0, 4]], np.int32),
            ),
            ["1 edges belong to more than two triangles, the first joins vertices .0, 1."],
            [],
        ),
        (
            SurfaceMesh(
                np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], np.float32),
                np.array([[0, 1, 2], [0, 2, 3]], np.int32),
            ),
            ["1 triangles have no area, the first is 0"],
            [],
        ),
        (
            SurfaceMesh(np.eye(3, dtype=np.float32)[[0, 1, 2, 2]], np.array([[0, 1, 2]], np.int32)),
            [],
            ["1 vertices belong to no triangle", "1 vertices are at the place of another one"],
        ),
    ],
    ids=["two pieces", "open", "large", "not a manifold", "no area", "loose vertex"],
)
def test_what_is_wrong_is_found(mesh, errors, warnings):
    found = check_own_mesh(mesh, "mesh")
    assert len(found.errors) == len(errors)
    for sentences, expected in ((found.errors, errors), (found.warnings, warnings)):
        for words in expected:
            assert any(re.search(words, s) for s in sentences), sentences


def test_turned_triangles_are_turned_back_and_insides_out():
    cube = unit_cube()
    faces = cube.faces.copy()
    faces[[2, 7]] = faces[[2, 7]][:, ::-1]
    mesh, turned = consistently_oriented(SurfaceMesh(cube.vertices_m, faces))
    assert turned == 2 and is_closed_manifold(mesh.faces)
    inside_out = SurfaceMesh(cube.vertices_m, cube.faces[:, ::-1])
    mesh, turned = consistently_oriented(inside_out)
    corners = mesh.vertices_m[mesh.faces] - 0.5
    volume = np.einsum("fd,fd->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    assert turned == 12 and volume > 0
    assert consistently_oriented(cube)[1] == 0


def test_a_strip_with_one_side_is_an_error():
    count = 9
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    middle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    across = np.stack(
        [np.cos(angle) * np.cos(angle / 2), np.sin(angle) * np.cos(angle / 2), np.sin(angle / 2)],
        axis=1,
    )
    vertices = np.concatenate([middle + 0.3 * across, middle - 0.3 * across]).astype(np.float32)
    a, b = np.arange(count), (np.arange(count) + 1) % count
    c, d = a + count, np.where(b == 0, 0, b + count)
    b = np.where(b == 0, count, b)
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])
    mesh, _ = consistently_oriented(SurfaceMesh(vertices, faces.astype(np.int32)))
    assert any("one side only" in error for error in check_own_mesh(mesh, "strip").errors)


def test_the_mirror_plane_of_a_half_cylinder():
    mesh = moved(half_cylinder(), 0.3, 0, 0)
    mirror = find_mirror_plane(mesh)
    assert mirror.axis == 0 and mirror.offset_m == pytest.approx(0.3)
    image = mesh.vertices_m[mirror.vertex]
    np.testing.assert_allclose(image, mirror.mirrored(mesh.vertices_m), atol=1e-6)
    assert (mirror.side == np.sign(np.round(mesh.vertices_m[:, 0] - 0.3, 6))).all()
    assert find_mirror_plane(mesh, axis=2) is None


def test_one_misplaced_vertex_does_not_move_the_mirror_plane():
    body = load_template().mesh
    fingertip = int(body.vertices_m[:, 0].argmax())
    vertices = body.vertices_m.copy()
    vertices[fingertip, 0] += 0.04
    mirror, sound = find_mirror_plane(body.with_vertices(vertices), axis=0), find_mirror_plane(body)
    assert mirror.offset_m == pytest.approx(sound.offset_m, abs=1e-4)
    np.testing.assert_array_equal(sound.vertex, load_template().mirror_vertex)
    assert (mirror.vertex == sound.vertex).mean() > 0.999
    assert mirror.paired > 0.999 and sound.paired == 1


def test_halves_of_different_fineness_have_few_pairs():
    fine, coarse = grid_mesh(40, 40, width=0.5), moved(grid_mesh(16, 40, width=0.5), 0.5, 0, 0)
    mirror = find_mirror_plane(joined(fine, coarse), axis=0)
    assert mirror.offset_m == pytest.approx(0.5, abs=0.01)
    assert mirror.paired < 0.7


def test_parts_are_connected_alike_in_size_and_left_and_right():
    ball = sphere(3)
    mirror = find_mirror_plane(ball, axis=0)
    part = segment_mesh(ball, 12, mirror)
    sizes = np.bincount(part)[1:]
    assert len(sizes) in (11, 12) and sizes.min() > 0.4 * sizes.mean()
    assert len(np.unique(face_pieces(ball.faces, part))) == len(sizes)
    centre = ball.vertices_m[ball.faces].mean(axis=1)
    image = np.linalg.norm((centre * [-1, 1, 1])[:, None] - centre[None], axis=2).argmin(axis=1)
    pairs = set(zip(part.tolist(), part[image].tolist(), strict=True))
    # All but a few triangles on borders: each part has one partner.
    votes = np.zeros((13, 13), int)
    np.add.at(votes, (part, part[image]), 1)
    assert votes.max(axis=1).sum() / votes.sum() > 0.97, pairs


def test_every_piece_gets_a_part():
    mesh = joined(sphere(1), moved(sphere(1), 5, 0, 0), moved(sphere(1), 0, 5, 0))
    part = segment_mesh(mesh, 3)
    assert np.bincount(part)[1:].tolist() == [80, 80, 80]
    with pytest.raises(InputError, match="3 pieces, more than the 2 parts"):
        segment_mesh(mesh, 2)
    with pytest.raises(InputError, match="1 to 24 parts, got 25"):
        segment_mesh(mesh, 25)
    assert set(segment_mesh(unit_cube(), 1)) == {1}


def test_islands_go_to_the_part_around_them():
    mesh = grid_mesh(10, 10)
    part = np.where(mesh.vertices_m[mesh.faces][..., 0].mean(axis=1) < 0.5, 1, 2)
    spotted = part.copy()
    spotted[3] = 2
    cleaned, count = absorb_islands(mesh, spotted)
    np.testing.assert_array_equal(cleaned, part)
    assert count == 1
    halves = np.where(np.abs(mesh.vertices_m[mesh.faces][..., 0].mean(axis=1) - 0.5) < 0.2, 1, 2)
    assert absorb_islands(mesh, halves)[1] == 0  # large pieces stay


def test_any_number_of_islands_goes():
    mesh = grid_mesh(30, 30)
    part = np.where(mesh.vertices_m[mesh.faces][..., 0].mean(axis=1) < 0.5, 1, 2)
    column, row = np.divmod(np.arange(900), 30)
    stray = np.flatnonzero((column % 4 == 1) & (row % 4 == 1))  # squares that do not touch
    spotted = part.copy()
    spotted[stray] = 3 - spotted[stray]
    assert len(np.unique(face_pieces(mesh.faces, spotted))) == len(stray) + 2 > 40
    cleaned, count = absorb_islands(mesh, spotted)
    np.testing.assert_array_equal(cleaned, part)
    assert count == len(stray)
