"""Run by test_evaluator.py in two processes: each scores its share of a generated set."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from densepose.evaluation.evaluator import DensePoseEvaluator
from densepose.evaluation.generated import generated_set, generated_surface


class AsInstances:
    """What the evaluator needs of detectron2's Instances."""

    def to(self, device: str) -> AsInstances:
        return self


def run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    made = {p.image_id: p for p in generated_set("noisy", num_images=7).predictions}
    evaluator = DensePoseEvaluator(
        lambda instances, image_id: made[image_id],
        f"{folder}/truth.json",
        lambda: generated_surface(vertices_per_part=20),
        f"{folder}/output",
    )
    evaluator.reset()
    for image_id in sorted(made)[rank::2]:
        evaluator.process([{"image_id": image_id}], [{"instances": AsInstances()}])
    results = evaluator.evaluate()
    Path(f"{folder}/rank{rank}.json").write_text(json.dumps(results))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    # Forked, so that detectron2 is imported once; nothing has started a thread yet.
    multiprocessing.start_processes(run, args=(sys.argv[1],), nprocs=2, start_method="fork")
