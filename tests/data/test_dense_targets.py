from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from detectron2.data import transforms as T

from densepose.data.coco import load_densepose_coco
from densepose.data.inpainted import (
    InpaintedImage,
    InpaintedTargets,
    move_labels,
    open_folder,
    write_inpainted,
)
from densepose.data.mapper import DensePoseMapper
from densepose.errors import InputError
from densepose.structures.dense_labels import DenseLabels
from densepose.surface.symmetry import template_symmetry

GRID = 8
BOX = [10.0, 20.0, 16.0, 8.0]  # x, y, width, height


def write(folder: Path, *, ids=(5,), box=BOX, image_id: int = 1) -> InpaintedImage:
    rng = np.random.default_rng(0)
    open_folder(folder, {"method": "test"})
    x, y, width, height = box
    image = InpaintedImage(
        image_id=image_id,
        annotation_ids=np.array(ids),
        boxes_xyxy_px=np.array([[x, y, x + width, y + height]] * len(ids), np.float32),
        part=tuple(rng.integers(0, 25, (8, 16)).astype(np.uint8) for _ in ids),
        uv=tuple(rng.integers(0, 256, (2, 8, 16)).astype(np.uint8) for _ in ids),
        confidence=tuple(rng.integers(0, 256, (8, 16)).astype(np.uint8) for _ in ids),
    )
    write_inpainted(folder, image)
    return image


def person(number: int = 5, points: bool = True, box=BOX) -> dict:
    annotated = {"dp_x": [1.0], "dp_I": [2], "dp_masks": [[]] * 14}
    return {"id": number, "bbox": list(box), **(annotated if points else {})}


def test_people_get_the_maps_of_their_annotation(tmp_path: Path):
    image = write(tmp_path, ids=(4, 5))
    people = [person(5), person(9, points=False), person(4)]
    labels = InpaintedTargets(tmp_path, grid=GRID)(1, people)
    # 16 columns on a grid of 8: the middle of cell k is between columns 2 k and 2 k + 1.
    assert np.array_equal(labels.part[0], image.part[1][:, 1::2])
    assert np.array_equal(labels.uv[2], image.uv[0][:, :, 1::2])
    assert np.array_equal(labels.confidence[2], image.confidence[0][:, 1::2])
    assert not labels.part[1].any()


def test_a_missing_person_is_an_error_or_counted(tmp_path: Path, caplog):
    write(tmp_path)
    with pytest.raises(InputError, match=r"000000000001.npz: annotation 6 has points"):
        InpaintedTargets(tmp_path, grid=GRID)(1, [person(6)])
    with pytest.raises(InputError, match=r"000000000002.npz"):
        InpaintedTargets(tmp_path, grid=GRID)(2, [person(5)])
    counting = InpaintedTargets(tmp_path, on_missing="count", grid=GRID)
    with caplog.at_level(logging.WARNING):
        labels = counting(1, [person(6), person(7), person(5)])
    assert counting.missing == 2
    assert len(caplog.records) == 1
    assert [bool(part.any()) for part in labels.part] == [False, False, True]


def test_people_without_masks_cannot_be_inpainted_and_are_told_once(tmp_path: Path, caplog):
    write(tmp_path)
    targets = InpaintedTargets(tmp_path, grid=GRID)
    unmasked = [person(number) | {"dp_masks": []} for number in (6, 7)]
    with caplog.at_level(logging.WARNING):
        labels = targets(1, [*unmasked, person(5)])
        assert not targets(2, unmasked).part.any()
    assert (targets.missing, targets.without_masks) == (0, 4)
    assert len(caplog.records) == 1
    assert "2 people have points but no part masks" in caplog.text
    assert [bool(part.any()) for part in labels.part] == [False, False, True]


def test_people_without_points_need_no_file(tmp_path: Path):
    open_folder(tmp_path, {})
    assert len(InpaintedTargets(tmp_path, grid=GRID)(3, [])) == 0
    on_vertices = {**person(4, points=False), "dp_x": [1.0], "dp_vertex": [7]}
    assert not InpaintedTargets(tmp_path, grid=GRID)(3, [on_vertices]).part.any()
    assert not InpaintedTargets(tmp_path, grid=GRID)(3, [person(points=False)]).part.any()


def test_maps_over_another_box_are_refused(tmp_path: Path):
    write(tmp_path, box=[10.0, 20.0, 16.0, 9.0])
    with pytest.raises(InputError, match="belongs to other annotations"):
        InpaintedTargets(tmp_path, grid=GRID)(1, [person()])


def test_an_unknown_choice_and_a_folder_of_other_things_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="DATASETS.INPAINTED names it"):
        InpaintedTargets(tmp_path)
    with pytest.raises(InputError, match="on_missing must be one of"):
        InpaintedTargets(tmp_path, on_missing="ignore")


def doll_maps(people: list[dict], grid: int) -> DenseLabels:
    """What the annotated regions say: part = the region's number, U and V = place in the box."""
    from densepose.data.person_annotations import pack_annotations

    coarse = pack_annotations(people).coarse[:, :: 256 // grid, :: 256 // grid]
    ramp = torch.arange(grid, dtype=torch.uint8)
    u = ramp[None, None, :].expand(len(people), grid, grid)
    return DenseLabels(coarse, torch.stack([u, u.transpose(1, 2)], dim=1), 2 * u)


def test_a_mirror_image_swaps_sides_and_charts():
    symmetry = template_symmetry()
    labels = DenseLabels.empty(1, 4)
    labels.part[0, 1, 0], labels.uv[0, 0, 1, 0], labels.uv[0, 1, 1, 0] = 3, 51, 102
    labels.confidence[0, 1, 0] = 9
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    mirror = np.array([[-1.0, 0, 20], [0, 1.0, 0]])
    moved = move_labels(labels, box, torch.tensor([[12.0, 0.0, 20.0, 8.0]]), mirror, symmetry)
    assert moved.part.nonzero().tolist() == [[0, 1, 3]]
    assert moved.part[0, 1, 3] == 4  # the other hand
    u, v = symmetry.flip_uv(np.array([3]), np.array([[0.2, 0.4]]))[0]
    assert moved.uv[0, :, 1, 3].tolist() == [round(u * 255), round(v * 255)]
    assert moved.confidence[0, 1, 3] == 9
    twice = move_labels(moved, box, box, mirror, symmetry)
    assert all(
        torch.equal(a, b) for a, b in zip(vars(twice).values(), vars(labels).values(), strict=True)
    )
    with pytest.raises(ValueError, match="no left-right map"):
        move_labels(labels, box, box, mirror, None)


def test_nobody_moves():
    empty = DenseLabels.empty(0, 4)
    boxes = torch.zeros(0, 4)
    angle = np.array([[0.0, -1, 9], [1, 0, 0]])
    assert len(move_labels(empty, boxes, boxes, angle, None)) == 0


def test_a_quarter_turn_by_hand():
    labels = DenseLabels.empty(1, 4)
    labels.part[0, 0, 3] = 7  # upper right
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    turn = np.array([[0.0, -1, 8], [1, 0, 0]])  # x' = 8 - y, y' = x: right goes down
    moved = move_labels(labels, box, box, turn, None)
    assert moved.part.nonzero().tolist() == [[0, 3, 3]]


def test_the_mapper_moves_dense_labels_with_the_image(tiny_coco, tmp_path: Path):
    """After a resize and a flip, every label is that of the region it lies on."""
    records = load_densepose_coco(*tiny_coco, "tiny")
    record = next(r for r in records if len(r["annotations"]) == 2)
    people = record["annotations"]
    maps = doll_maps(people, 128)
    open_folder(tmp_path, {})
    boxes = np.array([p["bbox"] for p in people], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    write_inpainted(
        tmp_path,
        InpaintedImage(
            image_id=record["image_id"],
            annotation_ids=np.array([p["id"] for p in people]),
            boxes_xyxy_px=boxes,
            part=tuple(maps.part.numpy()),
            uv=tuple(maps.uv.numpy()),
            confidence=tuple(maps.confidence.numpy()),
        ),
    )
    mapper = DensePoseMapper(
        True,
        augmentations=[T.ResizeTransform(120, 160, 90, 200), T.HFlipTransform(200)],
        image_format="RGB",
        symmetry=template_symmetry(),
        inpainted=InpaintedTargets(tmp_path, on_missing="count"),
    )
    moved = mapper(record)["instances"].gt_densepose
    with_points = [bool(p.get("dp_x")) for p in people]
    assert [bool(part.any()) for part in moved.dense.part] == with_points
    # Part numbers were those of regions 1 to 14; a flip sends both through its own table.
    symmetry = template_symmetry()
    part_of_region = torch.from_numpy(np.asarray(symmetry.part))[
        torch.from_numpy(np.asarray(symmetry.coarse))
    ]
    regions = moved.coarse[:, 1::2, 1::2].long()
    want = part_of_region[regions]
    for number, known in enumerate(with_points):
        if known:
            agree = moved.dense.part[number] == want[number]
            assert agree.float().mean() > 0.97
