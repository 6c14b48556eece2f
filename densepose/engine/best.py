"""Keeping the weights with the best score."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .checkpoint import save_checkpoint, write_text

logger = logging.getLogger(__name__)

# Where the wanted metric is missing, not a number, or the same for two checkpoints (an AP of 0
# early in training), these decide, in this order. Higher is better for all of them.
FALLBACKS = ("densepose_gpsm/AP", "densepose_points/mean_gps", "bbox/AP")


class BestCheckpoint:
    """The weights with the highest score and their metrics: ``model_best.pth`` and ``.json``."""

    def __init__(self, folder: Path, metric: str, *, start_iter: int = 0) -> None:
        """Continue from the best so far where a run is resumed.

        Args:
            folder: OUTPUT_DIR.
            metric: TEST.BEST_METRIC, a name in the results such as ``densepose_gpsm/AP``.
            start_iter: first iteration of the run; a best checkpoint saved later than this is of
                another run.
        """
        self.folder = folder
        self.ranking = tuple(dict.fromkeys((metric, *FALLBACKS)))
        self.best: tuple[float, ...] | None = None
        self._complained = False
        record = folder / "model_best.json"
        if start_iter and record.is_file():
            saved = json.loads(record.read_text(encoding="utf-8"))
            if saved["iteration"] <= start_iter:
                self.best = self.score(saved["metrics"])

    def score(self, metrics: Mapping[str, float | None]) -> tuple[float, ...]:
        """The values that two checkpoints are compared by, one after the other."""
        values = (find_metric(metrics, name) for name in self.ranking)
        return tuple(-math.inf if value is None else value for value in values)

    def offer(
        self, metrics: Mapping[str, float], iteration: int, weights: Callable[[], dict[str, Any]]
    ) -> bool:
        """Keep the present weights if they are the best so far.

        Args:
            metrics: flat results, ``task/metric`` or ``data set/task/metric``.
            iteration: steps done.
            weights: builds the checkpoint; called only when it is to be saved.

        Returns:
            Whether they were kept.
        """
        score = self.score(metrics)
        ranked_by = self._first_present(metrics)
        if ranked_by is None or (self.best is not None and score <= self.best):
            return False
        self.best = score
        save_checkpoint(self.folder / "model_best.pth", weights())
        present = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        record = {"iteration": iteration, "ranked_by": ranked_by, "metrics": present}
        write_text(self.folder / "model_best.json", json.dumps(record, indent=1) + "\n")
        values = zip(self.ranking, score, strict=True)
        logger.info(
            "Best so far, after %d iterations: %s; saved %s",
            iteration,
            ", ".join(f"{name} {value:.3f}" for name, value in values if math.isfinite(value)),
            self.folder / "model_best.pth",
        )
        return True

    def _first_present(self, metrics: Mapping[str, float]) -> str | None:
        wanted = self.ranking[0]
        present = [name for name in self.ranking if find_metric(metrics, name) is not None]
        if wanted not in present and not self._complained:
            self._complained = True
            instead = f"ranked by {present[0]} instead" if present else "no best checkpoint is kept"
            logger.warning(
                "TEST.BEST_METRIC %r is missing or not a number; %s. The results have: %s",
                wanted,
                instead,
                _names(metrics),
            )
        return present[0] if present else None


def find_metric(metrics: Mapping[str, float | None], name: str) -> float | None:
    """A metric by its name, with or without the data set in front.

    Returns:
        Its value, the mean where several data sets have it; None where it is missing or not
        a finite number.
    """
    found = [value for key, value in metrics.items() if key == name or key.endswith(f"/{name}")]
    if not found or any(value is None or not math.isfinite(value) for value in found):
        return None
    return sum(found) / len(found)


def _names(metrics: Mapping[str, float]) -> str:
    names: Sequence[str] = sorted(name for name, value in metrics.items() if math.isfinite(value))
    return (
        ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "nothing finite"
    )
