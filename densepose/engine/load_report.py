"""What happened to every weight when a file was loaded into a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

# Set from the config and not learned, so their absence from a file is no news.
NEVER_MISSED = ("pixel_mean", "pixel_std", "num_batches_tracked")
SHOWN = 12  # names printed per list; the file has all


@dataclass(frozen=True)
class LoadReport:
    """Names of weights; shapes are (file, model)."""

    source: str
    matched: tuple[str, ...]
    new: tuple[str, ...]  # in the model only: these keep their initial values
    left_over: tuple[str, ...]  # in the file only
    wrong_shape: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def untouched(self) -> tuple[str, ...]:
        """Weights of the model that did not come from the file."""
        return tuple(sorted((*self.new, *self.wrong_shape)))

    def summary(self) -> str:
        """One line."""
        return (
            f"{self.source}: {len(self.matched)} weights matched, {len(self.new)} new,"
            f" {len(self.left_over)}"
            f" left over, {len(self.wrong_shape)} of another shape"
        )

    def text(self) -> str:
        """Everything, for a file."""
        lines = [self.summary()]
        for title, names in (
            ("new (not in the file, initial values kept)", self.new),
            ("left over (in the file, not in the model)", self.left_over),
            ("matched", self.matched),
        ):
            lines += ["", f"{title}: {len(names)}", *(f"  {name}" for name in sorted(names))]
        lines += ["", f"of another shape (not loaded): {len(self.wrong_shape)}"]
        lines += [f"  {name}: {_shapes(*both)}" for name, both in sorted(self.wrong_shape.items())]
        return "\n".join(lines) + "\n"

    def short_text(self) -> str:
        """The summary, the modules concerned and the wrong shapes, for a screen."""
        lines = [self.summary()]
        if self.matched:
            lines += [f"  new: {_modules(self.new)}"] * bool(self.new)
            lines += [f"  left over: {_modules(self.left_over)}"] * bool(self.left_over)
        shapes = sorted(self.wrong_shape.items())
        lines += [f"  other shape: {name}: {_shapes(*both)}" for name, both in shapes[:SHOWN]]
        lines += [f"  ... and {len(shapes) - SHOWN} more"] * (len(shapes) > SHOWN)
        return "\n".join(lines)


def compare_weights(
    source: str, weights: Mapping[str, Tensor], model: Mapping[str, Tensor]
) -> LoadReport:
    """Compare the weights of a file with a model's ``state_dict()``; nothing is loaded."""
    wrong, matched = {}, []
    for name in weights.keys() & model.keys():
        if weights[name].shape == model[name].shape:
            matched.append(name)
        else:
            wrong[name] = (tuple(weights[name].shape), tuple(model[name].shape))
    missing = (name for name in model.keys() - weights.keys() if not name.endswith(NEVER_MISSED))
    # Old files keep the anchors, which today's models compute.
    extra = (name for name in weights.keys() - model.keys() if "cell_anchors" not in name)
    return LoadReport(
        source, tuple(sorted(matched)), tuple(sorted(missing)), tuple(sorted(extra)), wrong
    )


# Weights whose length is a setting: name ending, what it counts, how to turn the count into the
# key's value.
TELLTALES = (
    (
        "densepose_predictor.ann_index_lowres.bias",
        "coarse channels",
        "MODEL.ROI_DENSEPOSE_HEAD.NUM_COARSE_SEGM_CHANNELS",
        0,
    ),
    (
        "densepose_predictor.index_uv_lowres.bias",
        "part channels",
        "MODEL.ROI_DENSEPOSE_HEAD.NUM_PATCHES",
        -1,
    ),
    ("box_predictor.cls_score.bias", "classes and background", "MODEL.ROI_HEADS.NUM_CLASSES", -1),
    (
        "densepose_head.body_conv_fcn1.bias",
        "channels in the DensePose head",
        "MODEL.ROI_DENSEPOSE_HEAD.CONV_HEAD_DIM",
        0,
    ),
    ("keypoint_head.score_lowres.bias", "keypoints", "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 0),
)


def likely_causes(report: LoadReport) -> list[str]:
    """Sentences about why weights did not fit, most telling first; empty when nothing is known."""
    causes = []
    for ending, what, key, shift in TELLTALES:
        for name, (in_file, in_model) in report.wrong_shape.items():
            if name.endswith(ending):
                causes.append(
                    f"the weights have {in_file[0]} {what}, the config {in_model[0]}:"
                    f" set {key} {in_file[0] + shift}, or take other weights"
                )
    if any(".decoder." in name for name in report.left_over):
        causes.append(
            "the weights have a decoder: set MODEL.ROI_DENSEPOSE_HEAD.DECODER_ON True, or take"
            " other weights"
        )
    if any(".decoder." in name for name in report.new):
        causes.append(
            "the weights have no decoder: set MODEL.ROI_DENSEPOSE_HEAD.DECODER_ON False, or take"
            " other weights"
        )
    heads = {"roi_heads", "proposal_generator"}
    if (
        not any(_top(name) in heads for name in (*report.matched, *report.wrong_shape))
        and report.new
    ):
        causes.append("the file seems to hold a backbone only, not a trained detector")
    return causes


def check_complete(report: LoadReport) -> None:
    """Refuse to evaluate a model part of which keeps its random start.

    Raises:
        ValueError: which modules, why probably, and what to do.
    """
    if not report.untouched:
        return
    causes = likely_causes(report)
    raise ValueError(
        f"{report.source}: {len(report.untouched)} weights of the model to evaluate are not in"
        " the file and would"
        f" stay random: {_modules(report.untouched)}.\n"
        + "".join(f"  Probably {cause}.\n" for cause in causes)
        + "  MODEL.ALLOW_RANDOM_HEAD True evaluates it all the same."
    )


def check_anything_matched(report: LoadReport) -> None:
    """Refuse a file none of whose weights fits: a run would silently start from nothing.

    Raises:
        ValueError: with names of both sides.
    """
    if report.matched:
        return
    raise ValueError(
        f"{report.source}: no weight of the file fits the model. The file has"
        f" {_sample(report.left_over)};"
        f" the model wants {_sample(report.new)}"
        + "".join(f". {cause[0].upper()}{cause[1:]}" for cause in likely_causes(report)[:1])
    )


def _top(name: str) -> str:
    return name.split(".", 1)[0]


def _modules(names: Iterable[str]) -> str:
    """The modules that own the names, with counts: 'roi_heads.box_predictor (4)'."""
    owners = Counter(".".join(name.split(".")[:2]) for name in names)
    parts = [f"{owner} ({count})" for owner, count in sorted(owners.items())]
    return ", ".join(parts[:SHOWN]) + (
        f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    )


def _sample(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"


def _shapes(in_file: tuple[int, ...], in_model: tuple[int, ...]) -> str:
    return f"{in_file} in the file, {in_model} in the model"
