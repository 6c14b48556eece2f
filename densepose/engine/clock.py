"""The time a run has spent training, and its limit."""

from __future__ import annotations

import logging
import time

from detectron2.engine import HookBase
from detectron2.utils import comm

logger = logging.getLogger(__name__)

# With several processes the main one's clock counts for all, or they would end at different
# iterations.
AGREE_EVERY = 10


class TrainingClock(HookBase):
    """Counts the seconds spent in training steps and ends the run when they reach a limit.

    Loading of data is included, evaluation and saving are not.
    With a limit the run ends after the step that reaches it. The time is saved and continued by
    ``--resume``.
    """

    def __init__(self, limit_seconds: float = 0.0) -> None:
        """Args: ``limit_seconds`` 0 is no limit."""
        self.limit_seconds = limit_seconds
        self.seconds = 0.0  # the same in all processes
        self._own_seconds = 0.0
        self._step_start = 0.0

    def share_used(self) -> float:
        """Share of the limit that is used, in [0, inf); 0 without a limit."""
        return self.seconds / self.limit_seconds if self.limit_seconds else 0.0

    def seconds_left(self) -> float | None:
        """Seconds until the limit, None without one."""
        return max(0.0, self.limit_seconds - self.seconds) if self.limit_seconds else None

    def before_train(self) -> None:
        """End a run at once whose time was used up before."""
        if self.share_used() >= 1:
            self.trainer.max_iter = self.trainer.start_iter

    def before_step(self) -> None:
        """Start counting."""
        self._step_start = time.perf_counter()

    def after_step(self) -> None:
        """Count the step; end the run when the limit is reached."""
        self._own_seconds += time.perf_counter() - self._step_start
        if comm.get_world_size() == 1:
            self.seconds = self._own_seconds
        elif self.limit_seconds and (self.trainer.iter + 1) % AGREE_EVERY == 0:
            self.seconds = comm.all_gather(self._own_seconds)[0]
        if self.share_used() >= 1 and self.trainer.iter + 1 < self.trainer.max_iter:
            logger.info(
                "SOLVER.MAX_MINUTES reached after %.1f minutes: the run ends at iteration %d",
                self.seconds / 60,
                self.trainer.iter + 1,
            )
            self.trainer.max_iter = self.trainer.iter + 1

    def state_dict(self) -> dict[str, float]:
        """Saved in checkpoints."""
        return {"seconds": self._own_seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue counting."""
        self.seconds = self._own_seconds = float(state["seconds"])
