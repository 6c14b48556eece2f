"""Cutting pieces open: spheres, tubes, tori and pinched vertices become discs."""

from __future__ import annotations

import numpy as np
import pytest

from densepose.errors import InputError
from densepose.surface.mesh import euler_characteristic
from densepose.surface.own.flatten import border_loops, open_to_disc, split_at
from tests.support.shapes import grid_mesh, half_cylinder, sphere, torus, tube


@pytest.mark.parametrize(
    ("mesh", "cut"),
    [(grid_mesh(4, 3), 0), (sphere(2), 1), (tube(), 1), (torus(), 1)],
    ids=["disc", "sphere", "tube", "torus"],
)
def test_every_shape_becomes_a_disc_of_the_same_triangles(mesh, cut):
    faces, vertex = open_to_disc(mesh.vertices_m, mesh.faces)
    assert euler_characteristic(faces) == 1 and len(border_loops(faces)) == 1
    np.testing.assert_array_equal(vertex[faces], mesh.faces)
    assert (np.diff(vertex) >= 0).all()
    assert (len(vertex) > mesh.num_vertices) == bool(cut)


def test_a_tube_is_cut_straight_from_end_to_end():
    mesh = tube(along=6)
    _, vertex = open_to_disc(mesh.vertices_m, mesh.faces)
    twice = vertex[:-1][vertex[1:] == vertex[:-1]]
    assert len(twice) == 7  # one row of vertices
    assert np.ptp(mesh.vertices_m[twice][:, [0, 2]], axis=0).max() < 1e-6


def test_two_holes_are_joined_to_the_border():
    mesh = grid_mesh(12, 5)
    centre = mesh.vertices_m[mesh.faces].mean(axis=1)
    holes = (np.abs(centre[:, 1] - 0.5) < 0.1) & (np.abs(np.abs(centre[:, 0] - 0.5) - 0.2) < 0.08)
    faces = mesh.faces[~holes]
    assert len(border_loops(faces)) == 3
    opened, vertex = open_to_disc(mesh.vertices_m, faces)
    assert euler_characteristic(opened) == 1 and len(border_loops(opened)) == 1
    np.testing.assert_array_equal(vertex[opened], faces)


def test_by_hand_two_fans_that_touch_are_split():
    faces = np.array([[0, 1, 2], [0, 3, 4]])
    opened, vertex = split_at(faces, np.zeros((0, 2), np.int64))
    assert vertex.tolist() == [0, 0, 1, 2, 3, 4]
    assert opened[0, 0] != opened[1, 0]
    square = np.array([[0, 1, 2], [0, 2, 3]])
    assert len(split_at(square, np.zeros((0, 2), np.int64))[1]) == 4
    assert len(split_at(square, np.array([[2, 0]]))[1]) == 6


def test_what_is_in_two_pieces_is_rejected():
    mesh = half_cylinder(4, 2)
    faces = np.concatenate([mesh.faces, mesh.faces + mesh.num_vertices])
    points = np.concatenate([mesh.vertices_m, mesh.vertices_m + 1])
    with pytest.raises(InputError, match="cannot be cut open to a disc"):
        open_to_disc(points, faces)
