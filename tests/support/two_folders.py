"""What the processes of test_checkpoint.py do; a module that they can import."""

from __future__ import annotations

from pathlib import Path

from torch import distributed, nn

from densepose.engine.checkpoint import SafeCheckpointer


def resume_in_own_folders(rank: int, folder: str, cases: list[str]) -> None:
    """Resume from ``folder/CASE/RANK``; write iteration or error to ``folder/CASE/RANK.txt``."""
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    for case in cases:
        checkpointer = SafeCheckpointer(nn.Linear(2, 2), Path(folder, case, str(rank)))
        try:
            answer = str(checkpointer.resume_or_load("", resume=True).get("iteration"))
        except ValueError as error:
            answer = str(error)
        Path(folder, case, f"{rank}.txt").write_text(answer)
    distributed.barrier()  # gloo aborts where the other process is gone already
    distributed.destroy_process_group()
