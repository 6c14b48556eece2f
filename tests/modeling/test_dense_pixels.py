from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from densepose.modeling.losses import DensePoseChartLoss
from densepose.modeling.losses.dense_pixels import (
    DenseWeights,
    background_nll,
    cell_weights,
    dense_pixels,
)
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.dense_labels import DenseLabels
from tests.support.random_people import (
    jittered,
    matched_proposals,
    random_output,
    random_people,
    with_labels,
)


def cells_of(people, size, upscale, boxes=None):
    """Cells of proposals of which each has its own map."""
    boxes = people.boxes_xyxy_px if boxes is None else boxes
    return dense_pixels(boxes, people, torch.arange(len(people)), size, upscale)


def cells_by_loop(boxes, people, side, upscale):
    """The definition: the cell's centre, on the scale of the full map, read in the labels."""
    found, grid = [], people.dense.part.shape[-1]
    for n, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        u0, v0, u1, v1 = people.boxes_xyxy_px[n].tolist()
        for row in range(side):
            for column in range(side):
                z = [((k + 0.5) * upscale - 0.5) / (side * upscale) for k in (column, row)]
                x, y = x0 + z[0] * (x1 - x0), y0 + z[1] * (y1 - y0)
                c, r = int((x - u0) // ((u1 - u0) / grid)), int((y - v0) // ((v1 - v0) / grid))
                if 0 <= c < grid and 0 <= r < grid and people.dense.part[n, r, c] > 0:
                    found.append((n, row, column, r, c))
    return found


@pytest.mark.parametrize("upscale", [1, 2])
def test_cells_equal_the_definition_written_as_a_loop(upscale: int):
    people = with_labels(3)
    boxes = jittered(people.boxes_xyxy_px, 8.0)
    got = cells_of(people, (6, 6), upscale, boxes)
    want = cells_by_loop(boxes, people, 6, upscale)
    assert len(want) > 40
    keys = torch.stack([got.map_index, got.row, got.column], dim=1).tolist()
    assert keys == [list(entry[:3]) for entry in want]
    person, _, _, r, c = torch.tensor(want).T
    assert torch.equal(got.part, people.dense.part[person, r, c].long())
    torch.testing.assert_close(got.uv, people.dense.uv[person, :, r, c] / 255)
    torch.testing.assert_close(got.confidence, people.dense.confidence[person, r, c] / 255)


def test_terms_by_hand():
    people = replace(random_people(1), dense=DenseLabels.empty(1, 1))
    people.dense.part[:] = 7
    people.dense.uv[0, 0], people.dense.uv[0, 1] = 255, 51  # 1 and 0.2
    output = random_output(1, side=1, upscale=1)
    output = replace(
        output,
        part_logits=torch.zeros(1, 25, 1, 1),
        u=torch.full((1, 25, 1, 1), 0.5),
        v=torch.full((1, 25, 1, 1), 0.2),
    )
    losses = DensePoseChartLoss(dense=DenseWeights())(
        [matched_proposals(people, people.boxes_xyxy_px)], output
    )
    want = {"I": torch.log(torch.tensor(25.0)), "U": torch.tensor(0.125), "V": torch.tensor(0.0)}
    for name, value in want.items():
        torch.testing.assert_close(losses[f"loss_densepose_dense_{name}"], value)


def test_the_loss_is_the_weighted_mean_over_cells():
    people, output = with_labels(2), random_output(2)
    boxes = jittered(people.boxes_xyxy_px, 8.0)
    weights = DenseWeights(part=2.0, uv=3.0, points=0.25, confidence_power=2.0)
    options = {"uv_reduction": "mean"}
    got = DensePoseChartLoss(dense=weights, **options)([matched_proposals(people, boxes)], output)
    cells = cells_of(people, (6, 6), 2, boxes)
    share = cells.confidence**2 / (cells.confidence**2).sum()
    logits = output.part_logits[cells.map_index, :, cells.row, cells.column]
    part = (F.cross_entropy(logits, cells.part, reduction="none") * share).sum()
    torch.testing.assert_close(got["loss_densepose_dense_I"], 2 * part)
    v = output.v[cells.map_index, cells.part, cells.row, cells.column]
    v_loss = (F.smooth_l1_loss(v, cells.uv[:, 1], reduction="none") * share).sum()
    torch.testing.assert_close(got["loss_densepose_dense_V"], 3 * v_loss)
    plain = DensePoseChartLoss(**options)([matched_proposals(people, boxes)], output)
    assert "loss_densepose_dense_I" not in plain
    for name in ("I", "U", "V"):
        key = f"loss_densepose_{name}"
        torch.testing.assert_close(got[key], 0.25 * plain[key])
    torch.testing.assert_close(got["loss_densepose_S"], plain["loss_densepose_S"])


def test_power_zero_counts_all_cells_alike():
    cells = cells_of(with_labels(1), (6, 6), 1)
    assert torch.equal(cell_weights(cells, 0.0), torch.ones(len(cells.part)))
    assert cell_weights(cells, 1.0).equal(cells.confidence)


def test_balance_by_hand_and_by_its_two_ends():
    people = with_labels(2)
    cells = cells_of(people, (6, 6), 1)
    group = [(int(n), int(p)) for n, p in zip(cells.instance, cells.part, strict=True)]
    count = torch.tensor([float(group.count(g)) for g in group])
    assert count.max() > 1
    torch.testing.assert_close(cell_weights(cells, 0.0, 0.6), count**-0.6)
    torch.testing.assert_close(cell_weights(cells, 1.0, 0.5), cells.confidence * count**-0.5)
    every_part = cell_weights(cells, 0.0, 1.0)
    assert every_part.sum().item() == pytest.approx(len(set(group)), rel=1e-5)
    assert len(cell_weights(cells_of(people[:0], (6, 6), 1), 0.0, 0.6)) == 0


def test_balance_reaches_the_loss():
    people, output = with_labels(2), random_output(2)
    boxes = jittered(people.boxes_xyxy_px, 8.0)
    weights = DenseWeights(part_balance=0.6)
    got = DensePoseChartLoss(dense=weights)([matched_proposals(people, boxes)], output)
    cells = cells_of(people, (6, 6), 2, boxes)
    share = cell_weights(cells, 0.0, 0.6)
    logits = output.part_logits[cells.map_index, :, cells.row, cells.column]
    want = (F.cross_entropy(logits, cells.part, reduction="none") * share).sum() / share.sum()
    torch.testing.assert_close(got["loss_densepose_dense_I"], want)


@pytest.mark.parametrize("labels", [None, DenseLabels.empty(2, 8)], ids=["no labels", "empty"])
def test_without_labels_the_terms_are_zero_and_train(labels: DenseLabels | None):
    people, output = replace(random_people(2), dense=labels), random_output(2)
    losses = DensePoseChartLoss(dense=DenseWeights())([matched_proposals(people)], output)
    dense = [losses[f"loss_densepose_dense_{name}"] for name in "IUV"]
    assert sum(dense).item() == 0
    gradients = torch.autograd.grad(sum(dense), (output.part_logits, output.u, output.v))
    assert all(gradient.abs().sum() == 0 for gradient in gradients)


def test_nobody_gives_the_same_keys():
    people = DensePoseAnnotations.empty()
    boxes = torch.zeros(0, 4)
    losses = DensePoseChartLoss(dense=DenseWeights())(
        [matched_proposals(people, boxes)], random_output(0)
    )
    assert losses["loss_densepose_dense_U"].item() == 0


def test_people_share_a_map_that_is_not_square():
    people = with_labels(2)
    frame = torch.tensor([[0.0, 0.0, 128.0, 96.0]])
    both = torch.zeros(2, dtype=torch.int64)
    cells = dense_pixels(frame, people, both, (12, 16), 1)
    alone = [dense_pixels(frame, people[n : n + 1], both[:1], (12, 16), 1) for n in (0, 1)]
    assert len(cells.part) == sum(len(one.part) for one in alone) > 4
    assert torch.equal(cells.part, torch.cat([one.part for one in alone]))
    assert cells.map_index.unique().tolist() == [0]
    # With an up-scaling of 1 the losses read cell k of 8 px at k * 8 px.
    low, high = people.boxes_xyxy_px[:, :2].amin(dim=0), people.boxes_xyxy_px[:, 2:].amax(dim=0)
    place = 8 * torch.stack([cells.column, cells.row], dim=1)
    assert ((place >= low) & (place < high)).all()


def test_gradcheck():
    people, output = with_labels(1, grid=4), random_output(1, side=2, upscale=1)
    fields = [output.part_logits, output.u, output.v]
    fields = [field.detach().double().requires_grad_() for field in fields]
    loss, proposals = DensePoseChartLoss(dense=DenseWeights()), [matched_proposals(people)]

    def total(part_logits, u, v):
        losses = loss(proposals, replace(output, part_logits=part_logits, u=u, v=v))
        return sum(losses[f"loss_densepose_dense_{name}"] for name in "IUV")

    assert total(*fields) > 0
    assert torch.autograd.gradcheck(total, fields, fast_mode=True)


@pytest.mark.parametrize("upscale", [1, 2])
def test_background_is_all_that_is_not_on_the_own_person(upscale: int):
    people = with_labels(3)
    people.dense.part[1] = 0  # nothing is known of this one
    people.dense.part[0, 10:20] = 0
    boxes = jittered(people.boxes_xyxy_px, 12.0)
    output = random_output(3, upscale=upscale)
    got = background_nll(output, boxes, people)
    on_body = {entry[:3] for entry in cells_by_loop(boxes, people, 6, upscale)}
    want = [
        -F.log_softmax(output.part_logits[n, :, row, column], dim=0)[0]
        for n in (0, 2)
        for row in range(6)
        for column in range(6)
        if (n, row, column) not in on_body
    ]
    assert 5 < len(want) < 72
    torch.testing.assert_close(got, torch.stack(want))


def test_background_by_hand_and_in_the_loss():
    people = replace(random_people(1), dense=DenseLabels.empty(1, 2))
    people.dense.part[0, 0, 0] = 7
    output = replace(random_output(1, side=2, upscale=1), part_logits=torch.zeros(1, 25, 2, 2))
    got = background_nll(output, people.boxes_xyxy_px, people)
    torch.testing.assert_close(got, torch.full((3,), 25.0).log())
    proposals = [matched_proposals(people)]
    losses = DensePoseChartLoss(dense=DenseWeights(background=0.5))(proposals, output)
    torch.testing.assert_close(losses["loss_densepose_dense_B"], 0.5 * got.mean())
    assert "loss_densepose_dense_B" not in DensePoseChartLoss(dense=DenseWeights())(
        proposals, output
    )


@pytest.mark.parametrize("labels", [None, DenseLabels.empty(2, 8)], ids=["no labels", "empty"])
def test_background_of_unknown_people_is_a_connected_zero(labels: DenseLabels | None):
    people, output = replace(random_people(2), dense=labels), random_output(2)
    losses = DensePoseChartLoss(dense=DenseWeights(background=1.0))
    value = losses([matched_proposals(people)], output)["loss_densepose_dense_B"]
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value, output.part_logits)
    assert gradient.abs().sum() == 0


def test_background_gradcheck():
    people = with_labels(1, grid=4)
    people.dense.part[0, :2] = 0
    output = random_output(1, side=2, upscale=1)
    logits = output.part_logits.detach().double().requires_grad_()

    def loss(values: torch.Tensor) -> torch.Tensor:
        return background_nll(replace(output, part_logits=values), people.boxes_xyxy_px, people)

    assert len(loss(logits)) == 2
    assert torch.autograd.gradcheck(loss, (logits,))
