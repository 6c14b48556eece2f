"""What data sets, weights and scores refer to may not change unnoticed."""

from __future__ import annotations

import hashlib

import numpy as np

from densepose.surface.body import load_template
from densepose.surface.charts import body_fingerprint, load_template_atlas
from densepose.surface.mesh import mesh_fingerprint
from densepose.surface.symmetry import template_symmetry


def digest(*arrays: np.ndarray) -> str:
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]


def test_body_and_charts_are_the_released_ones():
    atlas, body = load_template_atlas(), load_template()
    assert digest(body.mirror_vertex, body.joint_parents, body.mirror_joint) == "95604107cff1ad08"
    assert digest(body.joints_m, body.skin_weights) == "feb276146007a952"
    assert digest(body.shape_vertices_m, body.shape_joints_m) == "071869ef159edc03"
    assert digest(body.keypoint_vertex, body.keypoint_weight) == "b7bcd6c1bbe64063"
    limits = body.shape_low, body.shape_high
    assert digest(np.array([body.joint_names]), *limits) == "12e10718d3fb01f4"
    assert body_fingerprint(load_template()) == "5bd5689bea774ae9"
    assert mesh_fingerprint(atlas.uv, atlas.uv_faces, atlas.uv_part) == "ec6a95b080c884d5"


def test_nearest_vertices_of_all_codes():
    part, u, v = np.meshgrid(np.arange(1, 25), np.arange(256), np.arange(256), indexing="ij")
    iuv = np.stack([part, u, v], axis=-1).astype(np.uint8)
    vertex = load_template_atlas().vertices_of(iuv).astype("<i4")
    assert hashlib.sha256(vertex.tobytes()).hexdigest()[:16] == "1e06e1fe0edee768"


def test_left_and_right():
    symmetry = template_symmetry()
    swapped = [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13]
    swapped += [16, 15, 18, 17, 20, 19, 22, 21, 24, 23]
    assert symmetry.part.tolist() == swapped
    assert symmetry.coarse.tolist() == [0, 1, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 14]
    assert (symmetry.uv_sign[1:] == [-1, 1]).all()
