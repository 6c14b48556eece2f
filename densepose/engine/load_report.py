"""What happened to every weight when a file was loaded into a model, and why some did not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from densepose.errors import InputError
from densepose.files import did_you_mean

# Set from the config and not learned, so a file may lack them.
NEVER_MISSED = ("pixel_mean", "pixel_std", "num_batches_tracked")
SHOWN = 12  # modules printed per list; the file has all
OVERRIDE = "MODEL.ALLOW_RANDOM_HEAD True uses the model all the same"
# Biases whose length is a setting: what it counts, its key, and the key's value less the count.
_HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
_COUNTS = {
    "ann_index_lowres.bias": ("coarse channels", f"{_HEAD}.NUM_COARSE_SEGM_CHANNELS", 0),
    "index_uv_lowres.bias": ("part channels", f"{_HEAD}.NUM_PATCHES", -1),
    "cls_score.bias": ("classes with background", "MODEL.ROI_HEADS.NUM_CLASSES", -1),
}
# Layers that a key switches on.
_BRANCHES = {
    ".sigma_2_lowres.": f"{_HEAD}.UV_CONFIDENCE.ENABLED",
    "_segm_confidence_lowres.": f"{_HEAD}.SEGM_CONFIDENCE.ENABLED",
    ".decoder.": f"{_HEAD}.DECODER_ON",
}


@dataclass(frozen=True)
class LoadReport:
    """Names of weights; shapes are (file, model)."""

    source: str
    matched: tuple[str, ...]
    new: tuple[str, ...]  # in the model only: these keep their initial values
    left_over: tuple[str, ...]  # in the file only
    excluded: tuple[str, ...]  # in both, and not loaded because of MODEL.FINE_TUNE.EXCLUDE
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
            + (f", {len(self.excluded)} excluded" if self.excluded else "")
        )

    def text(self) -> str:
        """Everything, for a file."""
        shapes = (
            f"{n}: {f} in the file, {m} in the model"
            for n, (f, m) in sorted(self.wrong_shape.items())
        )
        lines = [self.summary()]
        for title, names in (
            ("new (not in the file, initial values kept)", self.new),
            ("left over (in the file, not in the model)", self.left_over),
            ("excluded (MODEL.FINE_TUNE.EXCLUDE, initial values kept)", self.excluded),
            ("matched", self.matched),
            ("of another shape (not loaded)", tuple(shapes)),
        ):
            lines += ["", f"{title}: {len(names)}", *(f"  {name}" for name in names)]
        return "\n".join(lines) + "\n"

    def short_text(self) -> str:
        """The summary and the modules concerned, for a screen."""
        lists = {"new": self.new, "left over": self.left_over, "other shape": self.wrong_shape}
        concerned = (f"  {what}: {modules_of(names)}" for what, names in lists.items() if names)
        return "\n".join((self.summary(), *concerned))

    def check_matched(self) -> None:
        """Refuse a file none of whose weights fits: a run would silently start from nothing.

        Raises:
            InputError: with names of both sides.
        """
        if self.matched:
            return
        in_file, in_model = (*self.left_over, *self.wrong_shape)[:3], self.new[:3]
        reason = (
            "MODEL.FINE_TUNE.EXCLUDE excludes all of its weights; shorten the list"
            if self.excluded
            else "no weight of the file fits the model. The file has"
            f" {', '.join(in_file) or 'none'}; the model has {', '.join(in_model) or 'none'}"
        )
        raise InputError(f"{self.source}: {reason}")

    def check_complete(self, override: str = OVERRIDE) -> None:
        """Refuse to use a model part of which keeps its random start.

        Args:
            override: what the caller's user can do to have it all the same.

        Raises:
            InputError: which modules, why probably, and what to do.
        """
        if not self.untouched:
            return
        raise InputError(
            f"{self.source}: {len(self.untouched)} weights of the model are not in the file and"
            f" would stay random: {modules_of(self.untouched)}.\n"
            + "".join(f"  Probably {cause}.\n" for cause in self._likely_causes())
            + f"  {override}."
        )

    def _likely_causes(self) -> Iterator[str]:
        fitting = (*self.matched, *self.wrong_shape)
        if self.new and not any(n.startswith(("roi_heads.", "proposal_")) for n in fitting):
            yield "the file holds a backbone only, not a trained detector"
            return
        for name, (in_file, in_model) in self.wrong_shape.items():
            for ending, (what, key, shift) in _COUNTS.items():
                if name.endswith(f".{ending}"):
                    yield (
                        f"the weights have {in_file[0]} {what}, the config {in_model[0]}:"
                        f" set {key} {in_file[0] + shift}"
                    )
        for part, key in _BRANCHES.items():
            if not any(part in name for name in fitting):
                if any(part in name for name in self.left_over):
                    yield f"the weights were trained with {key} True"
                elif any(part in name for name in self.new):
                    yield f"the weights were trained with {key} False"


def compare_weights(
    source: str,
    weights: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    exclude: Iterable[str] = (),
) -> LoadReport:
    """Compare the weights of a file with a model's ``state_dict()``; nothing is loaded.

    Args:
        source: where the weights come from.
        weights: under the model's names.
        model: ``state_dict()``.
        exclude: prefixes of names that are not loaded.
    """
    shared = weights.keys() & model.keys()
    excluded = {name for name in shared if any(is_below(name, prefix) for prefix in exclude)}
    wrong = {
        name: (tuple(weights[name].shape), tuple(model[name].shape))
        for name in shared - excluded
        if weights[name].shape != model[name].shape
    }
    missing = (name for name in model.keys() - weights.keys() if not name.endswith(NEVER_MISSED))
    # Old files keep the anchors, which today's models compute.
    extra = (name for name in weights.keys() - model.keys() if "cell_anchors" not in name)
    return LoadReport(
        source=source,
        matched=tuple(sorted(shared - excluded - wrong.keys())),
        new=tuple(sorted(missing)),
        left_over=tuple(sorted(extra)),
        excluded=tuple(sorted(excluded)),
        wrong_shape=wrong,
    )


def modules_of(names: Iterable[str]) -> str:
    """The modules that own the names, with counts: 'roi_heads.box_predictor (4)'."""
    owners = Counter(".".join(name.split(".")[:2]) for name in names)
    parts = [f"{owner} ({count})" for owner, count in sorted(owners.items())]
    return ", ".join(parts[:SHOWN]) + (
        f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    )


def is_below(name: str, prefix: str) -> bool:
    """Whether ``name`` is that of the module or parameter ``prefix``, or of something within it."""
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def check_prefixes(key: str, prefixes: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a prefix below which there is no parameter.

    Raises:
        InputError: with the nearest names of modules.
    """
    names = list(names)
    for prefix in prefixes:
        if any(is_below(name, prefix) for name in names):
            continue
        parts = (name.split(".") for name in names)
        known = sorted({".".join(p[:end]) for p in parts for end in range(1, len(p) + 1)})
        hint = did_you_mean(prefix, known, count=3, cutoff=0.4)
        raise InputError(f"{key}: no parameter of the model is called {prefix!r}{hint}")
