from __future__ import annotations

import numpy as np
import torch

from densepose.inpainting.cells import MAX_CELLS, cells_and_points, parts_of_region
from densepose.structures.body_parts import COARSE_OF_PART
from tests.support.inpainting_scenes import people, scene, truth


def test_regions_and_parts_name_each_other():
    table = parts_of_region()
    assert table[[1, 3, 14]].tolist() == [[1, 2], [4, 0], [23, 24]]
    for part in range(1, 25):
        assert part in table[COARSE_OF_PART[part]]
    assert (table > 0).sum() == 24


def test_a_map_has_one_cell_a_pixel_and_its_centres():
    someone, cells, _ = scene()
    assert cells.map_sizes.tolist() == [[64, 48]]
    at = np.flatnonzero(cells.index == 5 * 48 + 7)
    assert cells.place_px[at].tolist() == [[17.5, 25.5]]
    assert cells.index.min() == 48  # three of 256 rows above are nobody's
    assert len(cells.index) == 63 * 48
    part, _ = truth(cells.place_px, someone.boxes_xyxy_px[0].double().numpy())
    assert np.array_equal(cells.region, COARSE_OF_PART[part])


def test_points_lie_in_the_cells_that_hold_them():
    _, cells, points = scene(boxes=((0.0, 0.0, 30.0, 40.0), (5.5, 7.0, 105.0, 67.3)))
    order = {(p, i): k for k, (p, i) in enumerate(zip(cells.person, cells.index, strict=True))}
    boxes = people(boxes=((0.0, 0.0, 30.0, 40.0), (5.5, 7.0, 105.0, 67.3))).boxes_xyxy_px.numpy()
    for k in range(len(points.part)):
        at = order[(points.person[k], points.index[k])]
        person = points.person[k]
        cell = (boxes[person, 2:] - boxes[person, :2]) / cells.map_sizes[person, ::-1]
        off = (points.place_px[k] - cells.place_px[at]) / cell
        assert (np.abs(off) <= 0.5 + 1e-4).all()
        np.testing.assert_allclose(points.off_centre[k], (off**2).sum(), atol=1e-4)


def test_a_point_in_no_region_has_a_cell_of_its_part():
    someone = people(points=1)
    someone.points_grid[:] = torch.tensor([[200.0, 1.0]])  # nobody above row 3
    someone.part[:] = 2
    cells, points = cells_and_points(someone)
    assert len(cells.index) == 63 * 48 + 1
    assert (np.diff(cells.index) > 0).all()
    assert (cells.index[0], cells.region[0]) == (points.index[0], 1) == (200 * 48 // 256, 1)


def test_large_people_have_no_more_cells_than_their_masks():
    big = people(boxes=((0.0, 0.0, 900.0, 100.0),))
    cells, points = cells_and_points(big)
    assert cells.map_sizes.tolist() == [[100, MAX_CELLS]]
    assert (cells.size_px == 900).all() and (points.size_px == 900).all()
