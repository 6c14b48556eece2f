from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from densepose.modeling.losses import DensePoseChartLoss, DensePoseChartWithConfidenceLoss
from densepose.modeling.losses.targets import coarse_labels, coarse_targets
from densepose.modeling.losses.uv_likelihood import anisotropic_uv_loss, isotropic_uv_loss
from densepose.structures.annotations import DensePoseAnnotations
from densepose.structures.chart_output import MAP_FIELDS, ChartOutput
from tests.support.naive_sampling import read_full_map
from tests.support.random_people import (
    jittered,
    matched_proposals,
    random_output,
    random_people,
    target,
)

KEYS = {"loss_densepose_I", "loss_densepose_S", "loss_densepose_U", "loss_densepose_V"}
UV_KEYS = {"loss_densepose_I", "loss_densepose_S", "loss_densepose_UV"}


def slow_values(people: DensePoseAnnotations, boxes: torch.Tensor, output: ChartOutput):
    """Parts, U, V and their targets at annotated points, one point after another on full maps."""
    full = output.upsampled()
    found = []
    for p, n in enumerate(people.owner.tolist()):
        x0, y0, x1, y1 = people.boxes_xyxy_px[n].tolist()
        x, y = people.points_grid[p].tolist()
        point = (x0 + x / 256 * (x1 - x0), y0 + y / 256 * (y1 - y0))
        box = boxes[n].tolist()
        logits = read_full_map(full.part_logits[n], point, box)
        if logits is not None:
            part = people.part[p].item()
            u = read_full_map(full.u[n], point, box)[part]
            v = read_full_map(full.v[n], point, box)[part]
            found.append((logits, u, v, people.part[p], people.uv[p]))
    return [torch.stack(column) for column in zip(*found, strict=True)]


def gradients(losses: dict[str, torch.Tensor], output: ChartOutput) -> list[torch.Tensor]:
    maps = [output.coarse_logits, output.part_logits, output.u, output.v]
    return list(torch.autograd.grad(sum(losses.values()), maps))


def assert_zero_but_connected(losses: dict[str, torch.Tensor], output: ChartOutput) -> None:
    assert all(value.item() == 0 for value in losses.values())
    for name in MAP_FIELDS:
        maps = getattr(output, name)
        if maps is not None:
            (grad,) = torch.autograd.grad(sum(losses.values()), maps, retain_graph=True)
            assert grad.shape == maps.shape
            assert grad.abs().sum().item() == 0


@pytest.mark.parametrize(("reduction", "channels"), [("sum", 2), ("mean", 15)])
def test_equals_the_definition_on_full_maps(reduction: str, channels: int):
    people, output = random_people(3), random_output(3, coarse=channels)
    boxes = jittered(people.boxes_xyxy_px, 8.0)
    loss = DensePoseChartLoss(
        part_weight=0.3, coarse_weight=2.0, uv_weight=0.1, uv_reduction=reduction
    )
    got = loss([matched_proposals(people, boxes)], output)

    logits, u, v, part, uv = slow_values(people, boxes, output)
    assert 5 < len(part) < len(people.part)
    labels = coarse_targets(boxes, people, (12, 12))
    labels = (labels > 0).long() if channels == 2 else labels
    wanted = {
        "loss_densepose_I": 0.3 * F.cross_entropy(logits, part),
        "loss_densepose_S": 2.0 * F.cross_entropy(output.upsampled().coarse_logits, labels),
        "loss_densepose_U": 0.1 * F.smooth_l1_loss(u, uv[:, 0], reduction=reduction),
        "loss_densepose_V": 0.1 * F.smooth_l1_loss(v, uv[:, 1], reduction=reduction),
    }
    assert set(got) == KEYS
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(gradients(got, output), gradients(wanted, output))


def test_one_point_by_hand():
    people = random_people(1, points=1)
    zeros = torch.zeros(1, 25, 6, 6)
    output = ChartOutput(torch.zeros(1, 2, 6, 6), zeros, zeros + 0.5, zeros + 3.0, upscale=2)
    uv = torch.tensor([[0.25, 0.5]])
    people = DensePoseAnnotations(**{**vars(people), "uv": uv})
    got = DensePoseChartLoss(part_weight=1, coarse_weight=1, uv_weight=1)(
        [matched_proposals(people, people.boxes_xyxy_px)], output
    )
    assert got["loss_densepose_I"].item() == pytest.approx(math.log(25), rel=1e-5)
    assert got["loss_densepose_S"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert got["loss_densepose_U"].item() == pytest.approx(0.5 * 0.25**2, rel=1e-5)
    assert got["loss_densepose_V"].item() == pytest.approx(2.5 - 0.5, rel=1e-5)


def test_order_of_images_does_not_matter():
    people = random_people(3)
    boxes = jittered(people.boxes_xyxy_px)
    output = random_output(3)
    loss = DensePoseChartLoss()
    first, rest = people[:1], people[1:]
    one = loss([matched_proposals(people, boxes)], output)
    two = loss([matched_proposals(first, boxes[:1]), matched_proposals(rest, boxes[1:])], output)
    order = torch.tensor([2, 0, 1])
    three = loss([matched_proposals(people[order], boxes[order])], output[order])
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(one, three)


@pytest.mark.parametrize("uv_confidence", ["none", "iid_iso", "indep_aniso"])
@pytest.mark.parametrize("case", ["nobody", "no annotation", "points outside"])
def test_nothing_to_learn_gives_connected_zeros(case: str, uv_confidence: str):
    people = random_people(0 if case == "nobody" else 2)
    boxes = people.boxes_xyxy_px
    if case == "no annotation":
        people = DensePoseAnnotations.empty(2)
    if case == "points outside":
        boxes = boxes + 500
        people = DensePoseAnnotations(**{**vars(people), "has_masks": torch.zeros(2).bool()})
    extra = {
        "iid_iso": ["log_variance"],
        "indep_aniso": ["log_variance", "residual_u", "residual_v"],
    }
    output = random_output(len(people), **dict.fromkeys(extra.get(uv_confidence, []), True))
    losses = DensePoseChartWithConfidenceLoss(uv_confidence=uv_confidence)(
        [matched_proposals(people, boxes)], output
    )
    assert set(losses) == (KEYS if uv_confidence == "none" else UV_KEYS)
    assert_zero_but_connected(losses, output)


def test_person_without_masks_does_not_train_the_coarse_segmentation():
    people = random_people(2)
    partly = DensePoseAnnotations(**{**vars(people), "has_masks": torch.tensor([True, False])})
    output = random_output(2)
    losses = DensePoseChartLoss()([matched_proposals(partly, people.boxes_xyxy_px)], output)
    (grad,) = torch.autograd.grad(losses["loss_densepose_S"], output.coarse_logits)
    assert grad[0].abs().sum() > 0
    assert grad[1].abs().sum() == 0


def test_background_points_train_parts_but_not_uv():
    people = random_people(1, points=6)
    background = DensePoseAnnotations(**{**vars(people), "part": torch.zeros(6, dtype=torch.long)})
    losses = DensePoseChartLoss()(
        [matched_proposals(background, people.boxes_xyxy_px)], random_output(1)
    )
    assert losses["loss_densepose_I"].item() > 0
    assert losses["loss_densepose_U"].item() == losses["loss_densepose_V"].item() == 0


def test_coarse_segmentation_from_instance_masks():
    scene = target(2)
    proposals = matched_proposals(scene.gt_densepose, scene.gt_boxes.tensor)
    proposals.gt_masks = scene.gt_masks
    output = random_output(2)
    loss = DensePoseChartLoss(coarse_by_masks=True, coarse_weight=1.0)
    got = loss([proposals], output)["loss_densepose_S"]
    labels = scene.gt_masks.crop_and_resize(scene.gt_boxes.tensor, 12).long()
    torch.testing.assert_close(got, F.cross_entropy(output.upsampled().coarse_logits, labels))


def test_gradients_of_all_losses_in_double_precision():
    people = random_people(2, points=4)
    proposals = [matched_proposals(people)]
    output = random_output(2, side=2)
    loss = DensePoseChartLoss(uv_reduction="mean")

    def total(*maps: torch.Tensor) -> torch.Tensor:
        return sum(loss(proposals, ChartOutput(*maps, upscale=2)).values())

    maps = [
        getattr(output, name).detach().double().requires_grad_()
        for name in ("coarse_logits", "part_logits", "u", "v")
    ]
    assert torch.autograd.gradcheck(total, maps, fast_mode=True)


def test_confidence_loss_without_confidences_is_the_chart_loss():
    proposals, output = [matched_proposals(random_people(2))], random_output(2)
    plain = DensePoseChartLoss()(proposals, output)
    torch.testing.assert_close(DensePoseChartWithConfidenceLoss()(proposals, output), plain)


@pytest.mark.parametrize("kind", ["iid_iso", "indep_aniso"])
def test_confidence_losses_equal_the_definition_on_full_maps(kind: str):
    people = random_people(2)
    boxes = jittered(people.boxes_xyxy_px)
    output = random_output(2, log_variance=True, residual_u=True, residual_v=True)
    loss = DensePoseChartWithConfidenceLoss(uv_confidence=kind, uv_epsilon=0.01, uv_weight=0.5)
    got = loss([matched_proposals(people, boxes)], output)["loss_densepose_UV"]

    _, u, v, _, uv = slow_values(people, boxes, output)
    other = ChartOutput(
        output.coarse_logits, output.log_variance, output.residual_u, output.residual_v, upscale=2
    )
    variances, d_u, d_v, part, _ = slow_values(people, boxes, other)
    variance = F.softplus(variances[torch.arange(len(part)), part]) + 0.01
    total = 0.0
    for i in range(len(part)):
        covariance = variance[i] * torch.eye(2)
        if kind == "indep_aniso":
            direction = torch.stack([d_u[i], d_v[i]])
            covariance = covariance + direction[:, None] * direction[None]
        residual = torch.stack([u[i], v[i]]) - uv[i]
        mahalanobis = residual @ torch.linalg.inv(covariance) @ residual
        total += 0.5 * (math.log(2 * math.pi) + torch.logdet(covariance) + mahalanobis)
    torch.testing.assert_close(got, 0.5 * total, rtol=1e-4, atol=1e-4)


def test_likelihood_by_hand():
    raw = torch.tensor([math.log(math.e - 1)])  # softplus(raw) = 1
    value = isotropic_uv_loss(torch.tensor([[3.0, 4.0]]), raw, epsilon=0.0)
    assert value.item() == pytest.approx(0.5 * (math.log(2 * math.pi) + 25))
    none = torch.zeros(1, 2)
    same = anisotropic_uv_loss(torch.tensor([[3.0, 4.0]]), raw, none, epsilon=0.0)
    assert same.item() == pytest.approx(value.item())


def test_likelihood_gradients():
    residual = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    raw = torch.randn(4, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r, s: isotropic_uv_loss(r, s, 0.01), (residual, raw))
    assert torch.autograd.gradcheck(
        lambda r, s, d: anisotropic_uv_loss(r, s, d, 0.01), (residual, raw, direction)
    )


def test_weighted_foreground_moves_the_best_log_odds_by_the_logarithm():
    """One map of one logit everywhere: the loss is least where its gradient is 0."""
    people = random_people(2)
    boxes = people.boxes_xyxy_px
    body = (coarse_targets(boxes, people, (28, 28)) > 0).double().mean()
    best = []
    for weight in (1.0, 4.0):
        log_odds = torch.log(weight * body / (1 - body)).requires_grad_()
        maps = torch.zeros(2, 2, 28, 28, dtype=torch.float64)
        maps = torch.stack([maps[:, 0], maps[:, 1] + log_odds], dim=1)
        labels = coarse_labels(boxes, people, (28, 28))
        term = DensePoseChartLoss(foreground_weight=weight).coarse_term(maps, labels)
        value = term.values.mean()
        (slope,) = torch.autograd.grad(value, log_odds)
        assert slope.abs().item() < 1e-9
        best.append(log_odds.item())
    assert best[1] - best[0] == pytest.approx(math.log(4))
