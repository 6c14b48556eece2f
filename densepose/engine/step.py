"""One step of training: losses, gradients, update of the weights.

On several processes gradients are averaged over the processes by DistributedDataParallel; the
losses that are reported are the means of the processes' losses.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import CfgNode
from detectron2.utils import comm

from .nonfinite import nonfinite_names
from .solver import build_clipper

Batch = Sequence[Mapping[str, Any]]
GRADIENT = "grad_norm"


@dataclass(frozen=True)
class StepOutcome:
    """Losses by name and the norm of all gradients before clipping."""

    own: dict[str, float]  # of this process
    mean: dict[str, float]  # over all processes, the same in all of them
    updated: bool  # False: something was not finite, the weights are as before

    @property
    def total_loss(self) -> float:
        """Sum of the mean losses."""
        return sum(value for name, value in self.mean.items() if name != GRADIENT)


class OptimizationStep:
    """Computes losses of a batch and updates the weights, in the precision asked for."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip: Callable[[Iterable[Tensor]], object] | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        """Prepare steps of a model.

        Args:
            model: batch -> losses by name; in several processes wrapped by ``parallel``.
            optimizer: of its weights.
            clip: changes gradients in place before the update.
            precision: float16 (with scaled losses, GPU) or bfloat16; None computes in float32.
        """
        self.model = model
        self.optimizer = optimizer
        self.clip = clip
        self.precision = precision
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> OptimizationStep:
        """Clipping and precision as the config says."""
        half = torch.float16 if cfg.MODEL.DEVICE.startswith("cuda") else torch.bfloat16
        precision = half if cfg.SOLVER.AMP.ENABLED else None
        return cls(model, optimizer, clip=build_clipper(cfg), precision=precision)

    def __call__(self, batch: Batch) -> StepOutcome:
        """Do one step; the weights stay as they are where a loss or a gradient is not finite."""
        with self._autocast():
            losses = self.model(batch)
            total = sum(losses.values())
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        own, mean = _read(losses, norm)
        # With fp16 the scaler looks after gradients that overflow: it skips and scales less.
        watched = {k: v for k, v in mean.items() if k != GRADIENT or not self.scaler.is_enabled()}
        if nonfinite_names(watched):
            self.optimizer.zero_grad()
            if self.scaler.is_enabled():  # it wants an update after each unscale_
                self.scaler.update(self.scaler.get_scale() / 2)
            return StepOutcome(own, mean, updated=False)
        if self.clip is not None:
            self.clip(self.parameters)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return StepOutcome(own, mean, updated=True)

    def state_dict(self) -> dict[str, Any]:
        """State of the optimizer and of the scaling of losses."""
        return {"optimizer": self.optimizer.state_dict(), "grad_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``; also takes what detectron2's trainers save."""
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("grad_scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["grad_scaler"])

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)


def parallel(model: nn.Module) -> nn.Module:
    """The model as it is, or in several processes wrapped so that gradients are averaged."""
    if comm.get_world_size() == 1:
        return model
    device = next(model.parameters()).device
    ids = [device.index] if device.type == "cuda" else None
    # Frozen statistics never change. The flag was renamed in a later torch.
    names = inspect.signature(DistributedDataParallel).parameters
    flag = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return DistributedDataParallel(model, device_ids=ids, **{flag: False})


def _read(losses: Mapping[str, Tensor], norm: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Losses and norm of the gradients: of this process, and their means over all processes.

    The one place of a step that waits for the device.
    """
    names = [*sorted(losses), GRADIENT]
    values = torch.stack([losses[name].detach().float() for name in names[:-1]] + [norm.float()])
    mean = values
    if comm.get_world_size() > 1:
        mean = values.clone()
        distributed.all_reduce(mean)
        mean /= comm.get_world_size()
    own = dict(zip(names, values.tolist(), strict=True))
    return own, dict(zip(names, mean.tolist(), strict=True))
