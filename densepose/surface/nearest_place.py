"""Which place of a body's surface is nearest to a point in space, among the parts it may lie in.

Shapes: P points, F triangles. Units: metres.
"""

from __future__ import annotations

import igl
import numpy as np
from numpy.typing import NDArray

from densepose.structures.body_parts import NUM_PARTS

from .charts import ChartAtlas
from .seams import chart_position


class NearestPlace:
    """Nearest part and (u, v) to points in space, by a tree of bounding boxes for each group."""

    def __init__(self, atlas: ChartAtlas, group_of_part: NDArray[np.integer]) -> None:
        """Build the trees.

        Args:
            atlas: whose mesh and charts are meant.
            group_of_part: (25,) a number for each part; a point is placed within its group.

        Raises:
            ValueError: not one number for each part.
        """
        group_of_part = np.asarray(group_of_part)
        if group_of_part.shape != (NUM_PARTS + 1,):
            raise ValueError(
                f"one group for each of the parts 0 to {NUM_PARTS} is needed, got an array of"
                f" shape {group_of_part.shape}"
            )
        self._atlas = atlas
        self._vertices = np.ascontiguousarray(atlas.mesh.vertices_m, np.float64)
        group = group_of_part[atlas.face_part]
        self._trees = {}
        for number in np.unique(group).tolist():
            members = np.flatnonzero(group == number)
            faces = np.ascontiguousarray(atlas.mesh.faces[members], np.int64)
            tree = igl.AABB()
            tree.init(self._vertices, faces)
            self._trees[number] = members, faces, tree

    def __call__(
        self, points_m: NDArray[np.floating], group: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P, 3) points and (P,) groups -> (P,) parts and (P, 2) coordinates.

        Part 0 at (0, 0) for a group that no triangle belongs to. On a border between two parts of a
        group, either may be given.

        Raises:
            ValueError: a point is not finite.
        """
        points_m, group = np.asarray(points_m, np.float64), np.asarray(group)
        if not np.isfinite(points_m).all():
            row = int(np.flatnonzero(~np.isfinite(points_m).all(axis=1))[0])
            raise ValueError(f"point {row} is not finite: {points_m[row].tolist()}")
        part, uv = np.zeros(len(points_m), np.int64), np.zeros((len(points_m), 2))
        for number, (members, faces, tree) in self._trees.items():
            rows = np.flatnonzero(group == number)
            if len(rows):
                _, near, foot = tree.squared_distance(self._vertices, faces, points_m[rows])
                face = members[near]
                part[rows] = self._atlas.face_part[face]
                uv[rows] = chart_position(self._atlas, face, foot).clip(0, 1)
        return part, uv
