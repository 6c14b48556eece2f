"""The cascade behind the branches of a model."""

from __future__ import annotations

import pytest
import torch

from densepose.engine.load_report import compare_weights
from densepose.modeling.cascade_roi_heads import taken_together
from densepose.structures.chart_output import ChartOutput
from tests.support.models import batch, parameters_without_gradient, quick_model, train_step
from tests.support.random_people import generator, target, with_keypoints

CASCADE = "MODEL.ROI_CASCADE"
FIRST = {"loss_densepose_I", "loss_densepose_S", "loss_densepose_U", "loss_mask", "loss_keypoint"}
SUBSETS = [
    ("densepose",),
    ("mask",),
    ("keypoints",),
    ("mask", "keypoints"),
    ("densepose", "mask"),
    ("densepose", "keypoints"),
    ("densepose", "mask", "keypoints"),
]
OPTIONS = {
    "default": {},
    "narrow": {"CHANNELS": 8},
    "replace": {"REFINED": "replace", "ROIS_PER_PERSON": 2},
    "wide": {"CONV_KERNEL": 3, "CONV_DILATION": 3},
}


def cascade_model(*opts: object, **options: object) -> torch.nn.Module:
    words = [word for key, value in options.items() for word in (f"{CASCADE}.{key}", value)]
    return quick_model("cascade_cpu", *words, *opts)


def people(count: int, **changes: object) -> object:
    return with_keypoints(target(count, seed=count, **changes))


def predictions(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    model.eval()
    model.roi_heads.box_predictor.test_score_thresh = 0.0
    with torch.no_grad():
        (output,) = model(batch(target(1)))
    found = output["instances"]
    assert len(found) > 0
    assert isinstance(found.pred_densepose, ChartOutput)
    return {
        "densepose": found.pred_densepose.part_logits,
        "mask": found.pred_masks,
        "keypoints": found.pred_keypoint_heatmaps,
    }


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_batch_trains_every_parameter_of_every_stage(options: dict[str, object]):
    model = cascade_model(**options)
    for counts in ((2, 1), (1, 0), (0, 0)):
        losses = train_step(model, *(people(count) for count in counts))
        assert FIRST | {f"{name}_stage2" for name in FIRST} <= set(losses)
        assert all(torch.isfinite(value) for value in losses.values())
        assert parameters_without_gradient(model) == []
        of_branches = [v.item() for n, v in losses.items() if n.split("_stage")[0] in FIRST]
        assert all((value > 0) == bool(sum(counts)) for value in of_branches)


@pytest.mark.parametrize("tasks", SUBSETS, ids="+".join)
def test_any_subset_cascades_and_the_others_stay(tasks: tuple[str, ...]):
    model = cascade_model(TASKS=str(list(tasks)), REFINED="replace")
    losses = train_step(model, people(2), people(1))
    second = {name for name in losses if name.endswith("_stage2")}
    of_task = {"densepose": "loss_densepose_I", "mask": "loss_mask", "keypoints": "loss_keypoint"}
    for task, loss in of_task.items():
        assert losses[loss].item() > 0
        assert (f"{loss}_stage2" in second) == (task in tasks)
    assert parameters_without_gradient(model) == []
    refined, first = predictions(model), None
    model.roi_heads.test_stage = 1
    first = predictions(model)
    assert {n for n in first if not torch.equal(first[n], refined[n])} == set(tasks)


def test_figure_8_projects_75_maps_of_a_densepose_branch():
    """25 each of parts, U and V; a coarse segmentation that is derived from these adds nothing."""
    model = cascade_model("MODEL.ROI_DENSEPOSE_HEAD.NUM_COARSE_SEGM_CHANNELS", 0, REFINED="replace")
    stage = model.roi_heads.cascade["stage2"]
    assert stage.output_projections["densepose"].weight.shape[1] == 75
    assert stage.output_projections["mask"].weight.shape[1] == 1
    assert stage.output_projections["keypoints"].weight.shape[1] == 17
    losses = train_step(model, people(2), people(1))
    assert losses["loss_densepose_I_stage2"].item() > 0
    assert parameters_without_gradient(model) == []
    assert predictions(model)["densepose"].shape[1] == 25


def test_people_without_annotations_of_a_branch_train_the_others():
    model = cascade_model()
    without_points = people(2, gt_densepose=None)
    losses = train_step(model, without_points, people(0))
    assert losses["loss_densepose_I_stage2"].item() == 0
    assert losses["loss_mask_stage2"].item() > 0 and losses["loss_keypoint_stage2"].item() > 0
    losses = train_step(model, with_keypoints(target(2), visible=False))
    assert losses["loss_keypoint"].item() == losses["loss_keypoint_stage2"].item() == 0
    assert losses["loss_densepose_I_stage2"].item() > 0
    assert parameters_without_gradient(model) == []


def test_names_of_the_first_stage_are_those_of_a_model_without_cascade():
    one, two = quick_model("multitask_cpu"), cascade_model()
    report = compare_weights("one stage", one.state_dict(), two.state_dict())
    assert report.left_over == () and report.wrong_shape == {}
    assert report.new and all(name.startswith("roi_heads.cascade.stage2.") for name in report.new)


def test_added_refinements_start_as_good_as_the_first_stage():
    plain, two = quick_model("multitask_cpu"), cascade_model()
    two.load_state_dict(plain.state_dict(), strict=False)
    assert_same_predictions(predictions(plain), predictions(two))
    losses = train_step(two, people(2))
    for name in FIRST:
        torch.testing.assert_close(losses[f"{name}_stage2"], losses[name])


def test_added_refinements_are_the_sum_of_both_outputs():
    replaced, added = cascade_model(REFINED="replace"), cascade_model()
    added.load_state_dict(replaced.state_dict())
    correction, both = predictions(replaced), predictions(added)
    added.roi_heads.test_stage = 1
    first = predictions(added)
    for name in ("densepose", "keypoints"):
        torch.testing.assert_close(both[name], first[name] + correction[name])
        assert correction[name].abs().max() > 1e-3


def assert_same_predictions(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def test_no_detection_gives_empty_predictions():
    model = cascade_model().eval()
    model.roi_heads.box_predictor.test_score_thresh = 1.1
    with torch.no_grad():
        (output,) = model(batch(target(1)))
    found = output["instances"]
    assert len(found.pred_densepose) == len(found.pred_masks) == len(found.pred_keypoints) == 0


def test_with_all_branches_switched_off_only_boxes_are_left():
    model = cascade_model().eval()
    heads = model.roi_heads
    heads.box_predictor.test_score_thresh = 0.0
    heads.densepose_on = heads.mask_on = heads.keypoint_on = False
    with torch.no_grad():
        (output,) = model(batch(target(1)))
    assert set(output["instances"].get_fields()) == {"pred_boxes", "scores", "pred_classes"}


def test_proposals_are_limited_by_person_the_most_useful_first():
    person = torch.tensor([0, 0, 0, 1, 1, 1])
    wanted = torch.tensor(
        [
            [False, True, False, False, False, False],
            [True, True, False, False, True, False],
        ]
    )
    assert taken_together(wanted, person, 0).tolist() == [True, True, False, False, True, False]
    assert taken_together(wanted, person, 1).tolist() == [False, True, False, False, True, False]
    nobody = torch.zeros(2, 0, dtype=torch.bool)
    assert taken_together(nobody, person[:0], 1).tolist() == []
    g = generator()
    wanted, person = torch.rand(3, 50, generator=g) > 0.6, torch.randint(0, 4, (50,), generator=g)
    taken, votes = taken_together(wanted, person, 2), wanted.sum(dim=0)
    for number in range(4):
        most = votes[person == number].max()
        best = ((person == number) & (votes == most)).nonzero().squeeze(1)
        assert ((person == number) & taken).nonzero().squeeze(1).tolist() == best[:2].tolist()


def test_bfloat16_autocast_trains_and_predicts():
    model = cascade_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = train_step(model, people(2), people(0))
        assert all(torch.isfinite(value) for value in losses.values())
        predictions(model)
    assert parameters_without_gradient(model) == []
