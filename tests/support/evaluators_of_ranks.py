"""Run by test_evaluator.py: several processes score shards of a generated set, case by case."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from detectron2.utils import comm

from densepose.evaluation.evaluator import DensePoseEvaluator
from tools.upstream.generated import generated_set, generated_surface


def run(rank: int, folder: str, cases: list[list[list[int]]]) -> None:
    torch.set_num_threads(1)
    ranks = len(cases[0])
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks
    )
    comm.create_local_process_group(ranks)
    for number, shards in enumerate(cases):
        answer = score(f"{folder}/{number}/rank{rank}", shards[rank])
        Path(f"{folder}/{number}/rank{rank}.json").write_text(json.dumps(answer))
    distributed.barrier()
    distributed.destroy_process_group()


def score(folder: str, shard: list[int]) -> dict[str, object]:
    """Results of this process, or the message of its error."""
    made = generated_set("adversarial", num_images=9)
    by_id = {p.image_id: p for p in made.predictions}
    evaluator = DensePoseEvaluator(
        lambda instances, image_id: by_id[image_id],
        made.ground_truth,
        lambda: generated_surface(vertices_per_part=20),
        folder,  # nothing is shared
        save_predictions=True,
    )
    evaluator.reset()
    for image_id in shard:
        evaluator.process([{"image_id": image_id}], [{"instances": None}])
    try:
        results = evaluator.evaluate()
    except ValueError as error:
        return {"error": str(error)}
    return {"results": results, "all": evaluator.result and evaluator.result.to_json()}


if __name__ == "__main__":
    cases = json.loads(sys.argv[2])
    # Forked, so that detectron2 is imported once; nothing has started a thread yet.
    multiprocessing.start_processes(
        run, args=(sys.argv[1], cases), nprocs=len(cases[0]), start_method="fork"
    )
