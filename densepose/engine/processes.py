"""One process or many: detectron2's command line, torchrun, and data-parallel training on CPU.

Processes of one machine meet through a file, so no port has to be free. Several machines need
``--dist-url``.
"""

from __future__ import annotations

import logging
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from detectron2.utils import comm

logger = logging.getLogger(__name__)

# A step or an exchange of results that takes longer than this has hung. Evaluation on the main
# process is waited for in another way (engine/evaluation.py) and may take longer.
TIMEOUT = timedelta(minutes=30)
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def launch(main: Callable[[Namespace], int], args: Namespace) -> int:
    """Run ``main(args)`` in every process of the run.

    Args:
        main: returns an exit status; must be importable by name (it is sent to new processes).
        args: with ``num_gpus``, ``num_machines``, ``machine_rank``, ``dist_url`` and
            ``num_cpu_processes``.

    Returns:
        The exit status of this process, or of the first of its processes that failed.

    Raises:
        ValueError: the arguments ask for what this machine does not have.
    """
    if all(name in os.environ for name in TORCHRUN_VARIABLES):
        return _run_below_torchrun(main, args)
    per_machine = _processes_per_machine(args)
    world = per_machine * args.num_machines
    if world == 1:
        return main(args)
    with tempfile.TemporaryDirectory(prefix="densepose-") as folder:
        url = _meeting_point(args, Path(folder))
        context = multiprocessing.start_processes(
            _worker,
            args=(main, args, per_machine, url),
            nprocs=per_machine,
            join=False,
            start_method="spawn",
        )
        try:
            while not context.join():
                pass
        except multiprocessing.ProcessExitedException as error:
            if error.signal_name:
                logger.error(
                    "process %d was ended by %s; out of memory?",
                    error.error_index,
                    error.signal_name,
                )
            return abs(error.exit_code)
    return 0


def _processes_per_machine(args: Namespace) -> int:
    if args.num_cpu_processes > 1:
        if args.num_gpus > 1:
            raise ValueError("--num-gpus and --num-cpu-processes exclude each other")
        return args.num_cpu_processes
    found = torch.cuda.device_count()
    if args.num_gpus > max(found, 1):
        advice = "" if found else "; --num-cpu-processes N trains with N processes on the CPU"
        raise ValueError(f"--num-gpus {args.num_gpus}, but {found} CUDA devices were found{advice}")
    return args.num_gpus


def _meeting_point(args: Namespace, folder: Path) -> str:
    if args.num_machines == 1 and args.dist_url == "auto":
        return (folder / "rendezvous").as_uri()
    if args.dist_url == "auto":
        raise ValueError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, the same on"
            " all machines"
        )
    return args.dist_url


def _worker(
    local_rank: int, main: Callable[[Namespace], int], args: Namespace, per_machine: int, url: str
) -> None:
    """One process of this machine; ends the process with the status of ``main``."""
    use_gpu = args.num_cpu_processes <= 1
    _join_group(
        backend="nccl" if use_gpu else "gloo",
        init_method=url,
        rank=args.machine_rank * per_machine + local_rank,
        world_size=per_machine * args.num_machines,
        local_rank=local_rank,
        per_machine=per_machine,
    )
    status = main(args)
    if status == 0:
        comm.synchronize()
        distributed.destroy_process_group()
    raise SystemExit(status)


def _run_below_torchrun(main: Callable[[Namespace], int], args: Namespace) -> int:
    use_gpu = torch.cuda.is_available() and args.num_cpu_processes <= 1
    world = int(os.environ["WORLD_SIZE"])
    _join_group(
        backend="nccl" if use_gpu else "gloo",
        init_method="env://",
        rank=int(os.environ["RANK"]),
        world_size=world,
        local_rank=int(os.environ["LOCAL_RANK"]),
        per_machine=int(os.environ.get("LOCAL_WORLD_SIZE", world)),
    )
    # main() asks for the device: CPU processes must not take the GPU that happens to be there.
    args.num_cpu_processes = args.num_cpu_processes if use_gpu else world
    status = main(args)
    if status == 0:
        comm.synchronize()
    distributed.destroy_process_group()
    return status


def _join_group(
    *,
    backend: str,
    init_method: str,
    rank: int,
    world_size: int,
    local_rank: int,
    per_machine: int,
) -> None:
    if backend == "nccl":
        torch.cuda.set_device(local_rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // per_machine))
    distributed.init_process_group(
        backend, init_method=init_method, rank=rank, world_size=world_size, timeout=TIMEOUT
    )
    comm.create_local_process_group(per_machine)
    comm.synchronize()
