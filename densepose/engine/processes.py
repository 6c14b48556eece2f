"""One process or many: detectron2's ``launch``, torchrun, and data-parallel training on CPU."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import distributed, multiprocessing

from detectron2.engine.launch import _distributed_worker
from detectron2.engine.launch import launch as launch_processes
from detectron2.utils import comm

from densepose.errors import InputError
from densepose.workers import end_with_parent

logger = logging.getLogger(__name__)

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# In the store of the group: how many processes failed, and that the first of them said why.
FAILURES, REPORTED = "densepose_failures", "densepose_failure_reported"


def launch(main: Callable[[Namespace], int], args: Namespace) -> int:
    """Run ``main(args)`` in every process of the run.

    Args:
        main: returns an exit status; must be importable by name (it is sent to new processes).
        args: with ``num_gpus``, ``num_machines``, ``machine_rank``, ``dist_url`` and
            ``num_cpu_processes``.

    Returns:
        The exit status of this process, or of the first of its processes that failed.

    Raises:
        InputError: the arguments ask for what this machine does not have.
    """
    if args.num_cpu_processes > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for new processes, and this one below torchrun
    if all(name in os.environ for name in TORCHRUN_VARIABLES):
        rank, world, local, here = _torchrun_numbers()
        _distributed_worker(local, _worker, world, here, rank // here, "env://", (main, args))
    per_machine = _processes_per_machine(args)
    if per_machine * args.num_machines == 1:
        return main(args)
    with tempfile.TemporaryDirectory(prefix="densepose-") as folder, _signals_forwarded():
        try:
            launch_processes(
                _worker,
                per_machine,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=_meeting_point(args, Path(folder)),
                args=(main, args),
            )
        except multiprocessing.ProcessExitedException as error:
            if error.signal_name:
                logger.error(
                    "process %d was ended by %s; out of memory?",
                    error.error_index,
                    error.signal_name,
                )
            return abs(error.exit_code)
    return 0


def _torchrun_numbers() -> tuple[int, int, int, int]:
    """Rank and number of processes of the run, and on this machine, as torchrun gives them.

    Raises:
        InputError: they are left over from something else; the others would be waited for.
    """
    given = {name: os.environ.get(name, "") for name in NUMBERS}
    given["LOCAL_WORLD_SIZE"] = given["LOCAL_WORLD_SIZE"] or given["WORLD_SIZE"]
    try:
        rank, world, local, here = map(int, given.values())
    except ValueError:
        rank = world = -1
    if not (0 <= rank < world and 0 <= local < here <= world):
        raise InputError(
            f"the environment has {' '.join(f'{name}={value}' for name, value in given.items())},"
            " which no torchrun gives; unset these variables"
        )
    return rank, world, local, here


@contextmanager
def first_failure() -> Iterator[bool]:
    """Whether no other process of the run failed before this one; within the block it reports why.

    To be entered once, by a process that fails. An error often breaks the connections of the
    others, whose errors about it explain nothing. They wait until the first has reported: the
    launcher ends all processes when one is gone.
    """
    if comm.get_world_size() == 1:
        yield True
        return
    store, first = None, False
    with suppress(RuntimeError, ValueError):  # its process is gone: it failed, or was killed
        store = distributed.distributed_c10d._get_default_store()
        first = store.add(FAILURES, 1) == 1
        if not first:
            store.wait([REPORTED], timedelta(seconds=20))
    yield first
    if first:
        store.set(REPORTED, "yes")


def _processes_per_machine(args: Namespace) -> int:
    if args.num_cpu_processes > 1:
        if args.num_gpus > 1:
            raise InputError("--num-gpus and --num-cpu-processes exclude each other")
        return args.num_cpu_processes
    found = torch.cuda.device_count()
    if args.num_gpus > max(found, 1):
        advice = "" if found else "; --num-cpu-processes N trains with N processes on the CPU"
        raise InputError(f"--num-gpus {args.num_gpus}, but {found} CUDA devices were found{advice}")
    return args.num_gpus


def _meeting_point(args: Namespace, folder: Path) -> str:
    if args.num_machines == 1 and args.dist_url == "auto":
        return (folder / "rendezvous").as_uri()  # a file: no port has to be free
    if args.dist_url == "auto":
        raise InputError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, the same on"
            " all machines"
        )
    return args.dist_url


def _worker(main: Callable[[Namespace], int], args: Namespace) -> NoReturn:
    """One process of this machine; ends the process with the status of ``main``."""
    if multiprocessing.parent_process() is not None:  # not below torchrun
        end_with_parent()
    torch.set_num_threads(max(1, torch.get_num_threads() // comm.get_local_size()))
    status = main(args)
    if status == 0:  # else others may hang in an exchange, which would never let go of the group
        comm.synchronize()
        distributed.destroy_process_group()
    sys.exit(status)


@contextmanager
def _signals_forwarded() -> Iterator[None]:
    """Let the processes of this machine save and end when this one is asked to end."""

    def forward(number: int, frame: Any) -> None:
        for process in multiprocessing.active_children():
            process.terminate()

    usual = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
