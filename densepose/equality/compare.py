"""From two sets of results to a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from torch import Tensor

MAP_LIMIT = 1e-4  # largest difference of raw outputs
RELATIVE_LIMIT = 1e-4  # of losses and gradients
UV_LIMIT = 1  # steps of 1 / 255
_DERIVED = ("map_difference", "loss_relative", "passed")


@dataclass(frozen=True)
class Equality:
    """One config; differences are largest absolute ones unless they are called relative."""

    config: str
    tensors: int  # that were loaded strictly, with the same names and shapes
    names_sha256: str  # see ``names_digest``
    maps: dict[str, float]  # raw output of the heads -> difference
    largest_value: float  # of all raw outputs of the checkout
    accelerated: float  # of raw outputs with MODEL.CPU_OPS auto
    labels_differ: int  # pixels
    labels: int
    uv_steps: int
    uv_differ: int  # values
    losses: dict[str, tuple[float, float]]  # name -> ours, theirs
    gradients: int  # tensors
    gradient_relative: float  # length of the difference of all gradients / length of all
    gradient_worst: float  # the same of the one tensor where it is largest, small ones left out
    loads_there: bool  # a checkpoint written here, strictly
    same_models: list[str] = field(default_factory=list)  # configs of the same model

    @property
    def map_difference(self) -> float:
        """Of all raw outputs."""
        return max(self.maps.values())

    @property
    def loss_relative(self) -> float:
        """Largest relative difference of a loss."""
        pairs = self.losses.values()
        return max(abs(a - b) / max(abs(b), 1e-12) for a, b in pairs)

    @property
    def passed(self) -> bool:
        """Whether everything is within the limits."""
        return (
            max(self.map_difference, self.accelerated) <= MAP_LIMIT
            and self.labels_differ == 0
            and self.uv_steps <= UV_LIMIT
            and max(self.loss_relative, self.gradient_relative) <= RELATIVE_LIMIT
            and self.loads_there
        )

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values."""
        return {**asdict(self), **{name: getattr(self, name) for name in _DERIVED}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Equality:
        """The inverse of ``to_json``."""
        own = {name: value for name, value in values.items() if name not in _DERIVED}
        return cls(**{**own, "losses": {name: (a, b) for name, (a, b) in own["losses"].items()}})


def names_digest(state: Mapping[str, Tensor]) -> str:
    """A number that tells whether two models have the same parameter names and shapes."""
    lines = [f"{name} {'x'.join(map(str, state[name].shape))}" for name in sorted(state)]
    return sha256("\n".join(lines).encode()).hexdigest()


def compare_results(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], fast: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The numbers of an ``Equality`` that follow from results.

    Args:
        ours: map/NAME, iuv/PERSON (3, h, w), loss/NAME and gradient/NAME.
        theirs: the same of the checkout.
        fast: our map/NAME with the CPU operators.

    Raises:
        ValueError: a result is there on one side only.
    """
    if set(ours) != set(theirs):
        alone = sorted(set(ours) ^ set(theirs))
        raise ValueError(f"{len(alone)} results on one side only: {', '.join(alone[:5])}")
    maps = {n: difference(ours[n], theirs[n]) for n in ours if n.startswith("map/")}
    return {
        "maps": {name.removeprefix("map/"): value for name, value in maps.items()},
        "largest_value": max(float(theirs[name].abs().max()) for name in maps),
        "accelerated": max(difference(fast[name], theirs[name]) for name in maps),
        **compare_decoded(ours, theirs),
        "losses": {
            name.removeprefix("loss/"): (float(ours[name]), float(theirs[name]))
            for name in sorted(ours)
            if name.startswith("loss/")
        },
        **compare_gradients(ours, theirs),
    }


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference of two tensors of one shape; 0 for empty ones."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes differ: {tuple(ours.shape)} here, {tuple(theirs.shape)} there")
    return float((ours.double() - theirs.double()).abs().max()) if ours.numel() else 0.0


def compare_decoded(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, int]:
    """Pixels of other labels, and steps between the U and V of equal ones."""
    pairs = [(ours[n].int(), theirs[n].int()) for n in ours if n.startswith("iuv/")]
    steps = [(a[1:] - b[1:]).abs()[:, a[0] == b[0]] for a, b in pairs]
    return {
        "labels": sum(a[0].numel() for a, _ in pairs),
        "labels_differ": sum(int((a[0] != b[0]).sum()) for a, b in pairs),
        "uv_steps": max((int(s.max()) for s in steps if s.numel()), default=0),
        "uv_differ": sum(int((s > 0).sum()) for s in steps),
    }


def compare_gradients(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> dict[str, int | float]:
    """Relative differences of all gradients together and of the worst single one.

    Gradients that are zero but for rounding (of a bias before a norm, say) have no direction to
    agree on: those below a millionth of all gradients' length are not looked at alone.
    """
    names = [name for name in theirs if name.startswith("gradient/")]
    apart = {n: float((ours[n].double() - theirs[n].double()).norm()) for n in names}
    length = {n: float(theirs[n].double().norm()) for n in names}
    whole = sum(value**2 for value in length.values()) ** 0.5
    worst = [apart[n] / length[n] for n in names if length[n] > 1e-6 * whole]
    return {
        "gradients": len(names),
        "gradient_relative": sum(value**2 for value in apart.values()) ** 0.5 / whole,
        "gradient_worst": max(worst),
    }
