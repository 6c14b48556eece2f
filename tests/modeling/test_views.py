"""Views of an image: sizes, places, and maps read back from turned views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectron2.structures import Boxes

from densepose.modeling.test_time_augmentation import View, ViewMaker, turned_back

ANNOTATED = (60, 90)  # height, width


def record(size: tuple[int, int] = (40, 60)) -> dict[str, object]:
    height, width = size
    rows, columns = np.indices(size)
    image = np.stack([rows * 4, columns * 4, rows + columns]).astype(np.uint8)
    return {"image": torch.from_numpy(image), "height": ANNOTATED[0], "width": ANNOTATED[1]}


def views(angles: tuple[float, ...] = (), flip: bool = False, **changes: object) -> list[View]:
    maker = ViewMaker(min_sizes=[20, 40], max_size=1000, flip=flip, angles=angles)
    return maker({**record(), **changes})


def test_sizes_flips_and_angles():
    found = views(angles=(0, 90, 360, 30), flip=True)
    sizes = [tuple(view.image.shape[1:]) for view in found]
    assert sizes == [(20, 30)] * 2 + [(40, 60)] * 2 + [(40, 60), (60, 40), (65, 72)]
    assert [view.mirrored for view in found] == [False, True, False, True, False, False, False]
    assert [view.turned for view in found] == [False] * 5 + [True, True]
    assert all(view.image.dtype == torch.uint8 for view in found)


@pytest.mark.parametrize("size", [(40, 60), ANNOTATED])
def test_boxes_there_and_back(size: tuple[int, int]):
    boxes = Boxes(torch.tensor([[10.0, 20.0, 40.0, 50.0], [0.0, 0.0, 90.0, 60.0]]))
    for view in views(angles=(90, 25), flip=True, **record(size)):
        there = view.to_view(boxes)
        height, width = view.image.shape[1:]
        assert (there.tensor[1] - torch.tensor([0.0, 0.0, width, height])).abs().max() < 1
        if not view.turned:
            back = view.transforms.inverse().apply_box(there.tensor.numpy())
            torch.testing.assert_close(torch.from_numpy(back), boxes.tensor)


def test_a_quarter_turn_moves_the_upper_right_corner_to_the_upper_left():
    turned = views(angles=(90,))[-1]
    got = turned.affine() @ np.array([90.0, 0.0, 1.0])
    np.testing.assert_allclose(got, [0, 0], atol=1e-9)


def plane(points: torch.Tensor) -> torch.Tensor:
    """Two channels that tell the place in the annotated image: (..., 2) -> (2, ...)."""
    return torch.stack([points[..., 0] / 90, points[..., 1] / 60])


@pytest.mark.parametrize("angle", [90, -90, 180, 45, 20, -130])
def test_turned_maps_are_read_where_the_upright_cells_lie(angle: float):
    """A predictor that knows the place of every cell says the same from every view."""
    view = views(angles=(angle,))[-1]
    boxes = Boxes(torch.tensor([[10.0, 5.0, 70.0, 35.0], [30.0, 20.0, 41.0, 58.0]]))
    there = view.to_view(boxes)
    side = 56
    cell = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    share = torch.stack(torch.meshgrid(cell, cell, indexing="xy"), dim=-1)

    def cells(of: Boxes, number: int) -> torch.Tensor:
        corners = of.tensor[number].double()
        return corners[:2] + share * (corners[2:] - corners[:2])

    affine = torch.from_numpy(np.vstack([view.affine(), [0, 0, 1]]))
    back = torch.linalg.inv(affine)[:2]
    maps, wanted = [], []
    for number in range(2):
        position = cells(there, number)  # in the view
        maps.append(plane(position @ back[:, :2].T + back[:, 2]))
        wanted.append(plane(cells(boxes, number)))
    got = turned_back(torch.stack(maps).float(), view, boxes, there)
    torch.testing.assert_close(got, torch.stack(wanted).float(), rtol=0, atol=2e-3)


def test_nobody_to_turn_back():
    view = views(angles=(30,))[-1]
    nobody = Boxes(torch.zeros(0, 4))
    assert turned_back(torch.zeros(0, 3, 8, 8), view, nobody, view.to_view(nobody)).shape[0] == 0


def test_a_view_that_is_not_turned_is_needed():
    with pytest.raises(ValueError, match="TEST.AUG.MIN_SIZES is empty"):
        ViewMaker(min_sizes=[], max_size=100, flip=False, angles=(0,))
