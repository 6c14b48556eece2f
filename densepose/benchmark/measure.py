"""Alternating runs of all contestants, and what follows from their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .contestants import Contestant

TOTAL = "total"
# Not a part of the total: of a run as a whole, whatever else the machine did meanwhile.
CPU_TIME = "CPU time"


@dataclass(frozen=True)
class Measurement:
    """Seconds of one case: contestant -> stage (total and CPU time, too) -> one value a round."""

    case: str
    seconds: dict[str, dict[str, list[float]]]
    peak_mib: dict[str, float]  # contestant -> memory that a run added at its peak, the largest

    def median(self, contestant: str, stage: str = TOTAL) -> float:
        """Median seconds."""
        return median(self.seconds[contestant][stage])

    def ratio(self, slower: str, faster: str, stage: str = TOTAL) -> float:
        """How many times as long ``slower`` takes: median of the ratios round by round.

        The two runs of a round are neighbours in time: what else the machine does hits both.
        """
        pairs = zip(self.seconds[slower][stage], self.seconds[faster][stage], strict=True)
        return median(a / b for a, b in pairs)

    def to_json(self) -> dict[str, Any]:
        """Everything measured, as plain values."""
        return {"case": self.case, "seconds": self.seconds, "peak_mib": self.peak_mib}


def measure(
    name: str,
    case: dict[str, Any],
    contestants: Sequence[Contestant],
    *,
    warm_up: int,
    rounds: int,
    tell: Callable[[str], None] = lambda text: None,
) -> Measurement:
    """Prepare the case everywhere, then let the contestants take turns.

    Args:
        name: of the case.
        case: what the contestants are told.
        contestants: the first one makes the weights.
        warm_up: rounds whose times are thrown away.
        rounds: rounds that count, at least 1; every second one goes in reverse order.
        tell: is given a line of progress.
    """
    for contestant in contestants:
        tell(f"{name}: prepare {contestant.name}")
        contestant.prepare(case)
    seconds: dict[str, dict[str, list[float]]] = {c.name: {} for c in contestants}
    peak_mib = {c.name: 0.0 for c in contestants}
    for number in range(warm_up + rounds):
        tell(f"{name}: round {number + 1} of {warm_up + rounds}")
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            answer = contestant.run()
            # The largest of all rounds, warm-up too: later ones reuse what the first left over.
            peak_mib[contestant.name] = max(peak_mib[contestant.name], answer["peak_mib"])
            if number >= warm_up:
                stages = {**answer["seconds"], TOTAL: sum(answer["seconds"].values())}
                stages[CPU_TIME] = answer["cpu_seconds"]
                for stage, value in stages.items():
                    seconds[contestant.name].setdefault(stage, []).append(value)
    return Measurement(name, seconds, peak_mib)
