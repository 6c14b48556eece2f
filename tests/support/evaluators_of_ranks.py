"""Run by test_evaluator.py: several processes score shards of a generated set."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from detectron2.utils import comm

from densepose.evaluation.evaluator import DensePoseEvaluator
from tools.upstream.generated import generated_set, generated_surface


def run(rank: int, folder: str, shards: list[list[int]]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(shards)
    )
    comm.create_local_process_group(len(shards))
    made = generated_set("adversarial", num_images=9)
    by_id = {p.image_id: p for p in made.predictions}
    evaluator = DensePoseEvaluator(
        lambda instances, image_id: by_id[image_id],
        made.ground_truth,
        lambda: generated_surface(vertices_per_part=20),
        f"{folder}/output_of_rank{rank}",  # nothing is shared
        save_predictions=True,
    )
    evaluator.reset()
    for image_id in shards[rank]:
        evaluator.process([{"image_id": image_id}], [{"instances": None}])
    results = evaluator.evaluate()
    scores = {"results": results, "all": evaluator.result and evaluator.result.to_json()}
    Path(f"{folder}/rank{rank}.json").write_text(json.dumps(scores))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    shards = json.loads(sys.argv[2])
    # Forked, so that detectron2 is imported once; nothing has started a thread yet.
    multiprocessing.start_processes(
        run, args=(sys.argv[1], shards), nprocs=len(shards), start_method="fork"
    )
