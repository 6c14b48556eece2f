"""What happened to every weight when a file was loaded into a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .load_causes import likely_causes

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
    excluded: tuple[str, ...]  # in both, and not taken because MODEL.FINE_TUNE.EXCLUDE says so
    wrong_shape: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def untouched(self) -> tuple[str, ...]:
        """Weights of the model that did not come from the file."""
        return tuple(sorted((*self.new, *self.excluded, *self.wrong_shape)))

    def summary(self) -> str:
        """One line."""
        return (
            f"{self.source}: {len(self.matched)} weights matched, {len(self.new)} new,"
            f" {len(self.left_over)} left over, {len(self.wrong_shape)} of another shape"
            + (f", {len(self.excluded)} not wanted" if self.excluded else "")
        )

    def text(self) -> str:
        """Everything, for a file."""
        lines = [self.summary()]
        for title, names in (
            ("new (not in the file, initial values kept)", self.new),
            ("left over (in the file, not in the model)", self.left_over),
            ("not wanted (MODEL.FINE_TUNE.EXCLUDE, initial values kept)", self.excluded),
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
    source: str,
    weights: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    exclude: Iterable[str] = (),
) -> LoadReport:
    """Compare the weights of a file with a model's ``state_dict()``; nothing is loaded.

    Args:
        source: where the weights come from.
        weights: under the model's names, see ``name_matching``.
        model: ``state_dict()``.
        exclude: prefixes of names that are not wanted.
    """
    excluded, wrong, matched = [], {}, []
    for name in weights.keys() & model.keys():
        if any(is_below(name, prefix) for prefix in exclude):
            excluded.append(name)
        elif weights[name].shape == model[name].shape:
            matched.append(name)
        else:
            wrong[name] = (tuple(weights[name].shape), tuple(model[name].shape))
    missing = (name for name in model.keys() - weights.keys() if not name.endswith(NEVER_MISSED))
    # Old files keep the anchors, which today's models compute.
    extra = (name for name in weights.keys() - model.keys() if "cell_anchors" not in name)
    return LoadReport(
        source=source,
        matched=tuple(sorted(matched)),
        new=tuple(sorted(missing)),
        left_over=tuple(sorted(extra)),
        excluded=tuple(sorted(excluded)),
        wrong_shape=wrong,
    )


def is_below(name: str, prefix: str) -> bool:
    """Whether ``name`` is that of the module or parameter ``prefix``, or of something within it."""
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def check_complete(
    report: LoadReport,
    *,
    override: str = "MODEL.ALLOW_RANDOM_HEAD True evaluates it all the same",
) -> None:
    """Refuse to use a model part of which keeps its random start.

    Args:
        report: of loading.
        override: what the caller's user can do to have it all the same.

    Raises:
        ValueError: which modules, why probably, and what to do.
    """
    if not report.untouched:
        return
    causes = likely_causes(report)
    raise ValueError(
        f"{report.source}: {len(report.untouched)} weights of the model are not in the file and"
        f" would stay random: {_modules(report.untouched)}.\n"
        + "".join(f"  Probably {cause}.\n" for cause in causes)
        + f"  {override}."
    )


def check_anything_matched(report: LoadReport) -> None:
    """Refuse a file none of whose weights fits: a run would silently start from nothing.

    Raises:
        ValueError: with names of both sides.
    """
    if report.matched:
        return
    if report.excluded:
        raise ValueError(
            f"{report.source}: MODEL.FINE_TUNE.EXCLUDE leaves none of its weights; shorten the list"
        )
    raise ValueError(
        f"{report.source}: no weight of the file fits the model. The file has"
        f" {_sample(report.left_over)};"
        f" the model wants {_sample(report.new)}"
        + "".join(f". {cause[0].upper()}{cause[1:]}" for cause in likely_causes(report)[:1])
    )


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
