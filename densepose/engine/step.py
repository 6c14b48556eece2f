"""One step of training: losses, gradients, update of the weights.

On several processes DistributedDataParallel averages the gradients. Everything else that the
processes have to agree on (mean losses, skipped steps, the clock, signals) travels in one gathered
vector, which is also the only thing that a step reads from the device.
"""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage

from densepose.errors import InputError
from densepose.files import to_json, write_text

from .resume import fitted_optimizer
from .seeding import set_seed

logger = logging.getLogger(__name__)

Batch = Sequence[Mapping[str, Any]]
GRADIENT = "grad_norm"  # of all gradients together, before clipping
PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class StepTrainer(SimpleTrainer):
    """detectron2's SimpleTrainer and AMPTrainer in one, which can skip steps that are not finite.

    Attributes:
        seed: of the run; each step seeds the random numbers from it, the rank and the iteration.
        own: numbers of this process that hooks want known to all, under the same names in all
            processes.
        agreed: after a step, the largest of each of them over the processes.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Batch],
        optimizer: torch.optim.Optimizer,
        *,
        precision: torch.dtype | None = None,
        skips: int = 0,
        snapshots: Path = Path(),
        config: str = "",
    ) -> None:
        """Prepare to train.

        Args:
            model: batch -> losses by name; in several processes wrapped by DistributedDataParallel.
            data_loader: endless batches.
            optimizer: of the model's weights.
            precision: of autocast, float16 (with scaled losses) or bfloat16; None: float32.
            skips: steps with a NaN or infinite loss that may be skipped before the run stops.
            snapshots: folder where such a step is described.
            config: the config as YAML, for that description.
        """
        super().__init__(model, data_loader, optimizer)
        self.bare = getattr(model, "module", model)
        names = {id(p): name for name, p in self.bare.named_parameters()}
        for group in optimizer.param_groups:  # saved with it, so that states find their parameters
            group["param_names"] = [names[id(p)] for p in group["params"]]
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.precision = precision
        self.grad_scaler = torch.amp.GradScaler(
            self.device.type, enabled=precision == torch.float16
        )
        self.seed, self.skips = 0, skips
        self.changed_at = -1  # the last iteration that changed the weights
        self.loss_names: list[str] = []
        self.snapshots, self.config = snapshots, config
        self.own: dict[str, float] = {}
        self.agreed: dict[str, float] = {}

    def run_step(self) -> None:
        """Train on one batch.

        Raises:
            InputError: a loss or a gradient is NaN or infinite, and no step may be skipped any
                more.
        """
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        self.own["data_time"] = time.perf_counter() - start
        set_seed(self.seed, comm.get_rank(), self.iter, device=self.device)
        autocasts = self.precision is not None
        with torch.autocast(self.device.type, dtype=self.precision, enabled=autocasts):
            losses, reason = self._losses(batch)
            total = sum(losses.values())
        self.optimizer.zero_grad()
        self.grad_scaler.scale(total).backward()
        self.grad_scaler.unscale_(self.optimizer)
        self.after_backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        own, mean = self._gather(losses, norm)
        # Float16 gradients may overflow: then the scaler skips the step and scales less.
        gradient = mean.pop(GRADIENT)
        good_losses = all(math.isfinite(value) for value in mean.values())
        if good_losses and math.isfinite(gradient):
            self.changed_at = self.iter
            self.optimizer.step()
            mean[GRADIENT] = gradient
        if self.grad_scaler.is_enabled():
            self.grad_scaler.update()
        if good_losses and (GRADIENT in mean or self.grad_scaler.is_enabled()):
            self._write(mean)
        else:
            self._skip_or_stop(batch, own, reason)

    def state_dict(self) -> dict[str, Any]:
        """As detectron2's trainers, ``grad_scaler`` only where losses are scaled."""
        scaler = self.grad_scaler.state_dict()
        return {**super().state_dict(), **({"grad_scaler": scaler} if scaler else {})}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``; also takes what detectron2's trainers save.

        The rates and the like stay those of the optimizer, see ``fitted_optimizer``.
        """
        order = {name: n for n, (name, _) in enumerate(self.bare.named_parameters())}
        fitted = fitted_optimizer(state_dict["optimizer"], self.optimizer, order)
        super().load_state_dict({**state_dict, "optimizer": fitted})
        if self.grad_scaler.is_enabled() and state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], str]:
        """The losses; where the model itself finds NaN or infinities, NaN for all and what it says.

        Those are connected to all weights, so that all processes take part in the step.
        """
        try:
            losses = self.model(batch)
        except FloatingPointError as error:
            if not self.loss_names and comm.get_world_size() > 1:
                raise  # the names that the other processes have are not known yet
            nan = math.nan * sum(p.sum() for p in self.parameters)
            failed = dict.fromkeys(self.loss_names or ["loss"], nan)
            self.bare.forward = lambda _: failed  # once, below DistributedDataParallel
            try:
                return self.model(batch), f"{error} "
            finally:
                del self.bare.forward
        losses = {"total_loss": losses} if isinstance(losses, Tensor) else losses
        self.loss_names = sorted(losses)
        return losses, ""

    def _gather(
        self, losses: Mapping[str, Tensor], norm: Tensor
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Losses and norm of the gradients: of this process, and their means over all.

        Also brings ``agreed`` up to date. The one place of a step that waits for the device.
        """
        names, own_names = [*sorted(losses), GRADIENT], sorted(self.own)
        values = torch.stack([*(losses[n].detach().float() for n in names[:-1]), norm.float()])
        numbers = torch.tensor([self.own[name] for name in own_names], dtype=torch.float32)
        row = torch.cat([values, numbers.to(values.device, non_blocking=True)])
        rows = [row]
        if (world := comm.get_world_size()) > 1:
            rows = list(row.new_empty(world, len(row)))
            distributed.all_gather(rows, row)
        read = torch.stack(rows).tolist()
        ranks = [dict(zip([*names, *own_names], of_rank, strict=True)) for of_rank in read]
        self.agreed = {name: max(rank[name] for rank in ranks) for name in own_names}
        mean = {name: sum(rank[name] for rank in ranks) / world for name in names}
        return {name: ranks[comm.get_rank()][name] for name in names}, mean

    def _write(self, mean: Mapping[str, float]) -> None:
        losses = {name: value for name, value in mean.items() if name != GRADIENT}
        metrics = {**mean, "total_loss": sum(losses.values())}
        storage = get_event_storage()
        storage.put_scalars(cur_iter=self.iter, **metrics, data_time=self.agreed["data_time"])
        storage.put_scalar("rank_data_time", self.own["data_time"], cur_iter=self.iter)

    def _skip_or_stop(self, batch: Batch, losses: Mapping[str, float], reason: str) -> None:
        """What became NaN or infinite, where, and on which images, in a log line and a file."""
        bad = [f"{name} = {value}" for name, value in losses.items() if not math.isfinite(value)]
        images = [f"{r.get('image_id', '?')} ({r.get('file_name', '?')})" for r in batch]
        message = (
            f"iteration {self.iter}: {reason}{', '.join(bad) or 'a loss of another process'};"
            f" images of the batch: {', '.join(images)}"
        )
        path = self.snapshots / f"nonfinite_{self.iter:07d}_rank{comm.get_rank()}.json"
        content = {
            "iteration": self.iter,
            # NaN as a word, so that any JSON reader takes the file.
            "losses": {n: v if math.isfinite(v) else str(v) for n, v in losses.items()},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "images": images,
            "config": self.config.splitlines(),
        }
        write_text(path, to_json(content) + "\n")
        if self.skips <= 0:
            raise InputError(
                f"{message}. Details: {path}. A lower SOLVER.BASE_LR, a longer"
                " SOLVER.WARMUP_ITERS or SOLVER.CLIP_GRADIENTS.ENABLED True usually helps;"
                " SOLVER.SKIP_NONFINITE_STEPS N allows N such steps"
            )
        self.skips -= 1
        logger.warning("Step skipped, %d more may be: %s. Details: %s", self.skips, message, path)


def parallel(model: nn.Module) -> nn.Module:
    """The model, in several processes wrapped so that gradients are averaged."""
    device = next(model.parameters()).device
    # Frozen statistics never change. The flag was renamed in a later torch.
    names = inspect.signature(DistributedDataParallel).parameters
    flag = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    ids = [device.index] if device.type == "cuda" else None
    return create_ddp_model(model, device_ids=ids, **{flag: False})


def autocast_precision(cfg: CfgNode, device: torch.device) -> torch.dtype | None:
    """SOLVER.AMP.PRECISION; where it is "" float16 on GPUs and bfloat16 on the CPU; None: off."""
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    default = "float16" if device.type == "cuda" else "bfloat16"
    return PRECISIONS[cfg.SOLVER.AMP.PRECISION or default]
