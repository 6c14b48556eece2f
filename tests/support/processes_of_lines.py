"""What the processes of test_two_processes.py do with the model of two numbers."""

from __future__ import annotations

import os
import signal
import time
from argparse import Namespace
from pathlib import Path

import torch

from detectron2.engine import HookBase
from detectron2.utils import comm

from densepose.engine import run
from densepose.errors import InputError
from tests.support.lines import LineTrainer, line_config


class Recorder(HookBase):
    """Keeps the losses of each step, and sends a signal to the last process after one of them."""

    def __init__(self, stop_at: int | None) -> None:
        self.losses: dict[int, float] = {}
        self.stop_at = stop_at

    def after_step(self) -> None:
        self.losses[self.trainer.iter] = self.trainer.storage.history("total_loss").latest()
        last = comm.get_rank() == comm.get_world_size() - 1
        if self.trainer.iter == self.stop_at and last:
            os.kill(os.getpid(), signal.SIGTERM)


def train_lines(args: Namespace) -> int:
    """Train once for each of ``args.runs``, name of a folder -> iteration to be stopped after."""
    return [train_one(args, Path(args.folder, name), stop) for name, stop in args.runs.items()][-1]


def train_one(args: Namespace, output: Path, stop_at: int | None) -> int:
    """Train; write this process's losses and what it knows about time to ``output``."""
    rank = comm.get_rank()
    output.mkdir(exist_ok=True)
    cfg = line_config(output, IMS_PER_BATCH=2 * comm.get_world_size())
    recorder = Recorder(stop_at)

    class Train(LineTrainer):
        @classmethod
        def build_train_loader(cls, cfg):
            loader = super().build_train_loader(cfg)
            loader.dataset.mapped = Slow(loader.dataset.mapped) if rank else loader.dataset.mapped
            return loader

    def main(args: Namespace, trainer_class: type) -> None:
        trainer = Train(cfg)
        trainer.register_hooks([recorder])
        trainer._hooks.insert(0, trainer._hooks.pop())  # a signal ends a step before later hooks
        trainer.resume_or_load(resume=args.resume)
        try:
            trainer.train()
        finally:
            data_time = trainer.storage.latest().get("data_time", (0,))[0]
            content = {"losses": recorder.losses, "data_time": data_time}
            torch.save(content, output / f"rank{rank}.pt")

    run.main = main
    return run.run_process(args)


class Slow:
    """Records that take time to read."""

    def __init__(self, records: object) -> None:
        self.records = records

    def __getitem__(self, index: int) -> object:
        time.sleep(0.025)
        return self.records[index]


def fail_in_second(args: Namespace) -> int:
    """The second process fails by a user's error, a fault of the program or a signal."""

    def main(args: Namespace, trainer_class: type) -> None:
        comm.synchronize()
        if comm.get_rank() == 1:
            Path(args.failed_at).write_text(str(time.time()))
            if args.kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {"user": InputError, "fault": AttributeError}[args.kind](f"kind {args.kind}")
        comm.synchronize()  # the others wait in an exchange

    run.main = main
    return run.run_process(args)
