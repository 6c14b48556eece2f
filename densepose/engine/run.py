"""What ``densepose train`` and ``tools/train_net.py`` do: set up, check, then train or evaluate."""

from __future__ import annotations

import logging
import re
import traceback
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from densepose.errors import FAULT, FAULT_NOTICE, MISTAKE, InputError, mistake_text
from densepose.files import held
from densepose.ops.accelerate import accelerate

from .checkpoint import SafeCheckpointer, find_checkpoints, load_for_inference
from .logs import FILE_ONLY, error_console, remove_handlers
from .preflight_checks import check_disk, preflight
from .prepare import folder_of, prepare, read_config
from .processes import first_failure
from .trainer import Trainer

logger = logging.getLogger(__name__)

# What gloo and NCCL say in the processes that lost another one.
LOST_CONNECTION = re.compile("Connection (closed|reset) by|remote process exited")


def main(args: Namespace, trainer_class: type[Trainer] = Trainer) -> dict[str, Any]:
    """Train, or with ``eval_only`` evaluate, in this process; ``launch`` starts several.

    Args:
        args: the arguments of ``densepose train``.
        trainer_class: a subclass of ``Trainer`` in its place.

    Returns:
        The results of the (last) evaluation; empty in all processes but the main one.
    """
    cfg = read_config(args)
    with held(folder_of(cfg, args)) if comm.is_main_process() else nullcontext():
        cfg = prepare(cfg, args)
        resuming = args.resume and bool(find_checkpoints(cfg.OUTPUT_DIR))
        preflight(cfg, "eval" if args.eval_only else "train", resuming=resuming)
        logger.info("Checks passed")
        if resuming:  # what it names may be gone, and is replaced at once
            cfg = cfg.clone()
            cfg.merge_from_list(["MODEL.TIMM.PRETRAINED", ""])
        if args.eval_only:
            results = _evaluate_only(cfg, trainer_class, resume=args.resume)
        else:
            trainer = trainer_class(cfg)
            check_disk(cfg, trainer.bare_model)
            trainer.resume_or_load(resume=args.resume)
            results = trainer.train()
        if comm.is_main_process():
            logger.info("Done: %s", cfg.OUTPUT_DIR)
        return dict(results)


def run_process(args: Namespace, trainer_class: type[Trainer] = Trainer) -> int:
    """``main`` with an exit status in place of exceptions that come from a user's input.

    Their message is shown without a traceback, which goes to the log file; any other exception is a
    fault of the program and passes through. Of several processes that fail the first one reports.
    """
    try:
        main(args, trainer_class)
        return 0
    except KeyboardInterrupt as interrupt:
        status = 130
        report = f"{interrupt or 'interrupted'}; --resume continues from the last checkpoint"
    except Exception as error:
        text = mistake_text(error)
        if text is None and comm.get_world_size() == 1:
            raise
        status = FAULT if text is None else MISTAKE
        if text is None:
            report = f"{traceback.format_exc()}\n{FAULT_NOTICE}"
            if LOST_CONNECTION.search(str(error)):  # to one that could not report
                report = "another process of the run was ended; its output or its launcher says why"
        else:
            report = text
            if logger.hasHandlers():  # no log file is open yet while the config is read
                logger.error("Traceback:", exc_info=True, extra=FILE_ONLY)
            if getattr(args, "debug", False):
                report = f"{report}\n{traceback.format_exc()}"
    finally:
        remove_handlers()
    with first_failure() as first:
        if first:
            text = f"densepose: {report}"
            error_console.print(text, style="red", markup=False, soft_wrap=True)
    return status


def _evaluate_only(cfg: CfgNode, trainer_class: type[Trainer], *, resume: bool) -> dict[str, Any]:
    model = trainer_class.build_model(cfg)
    if cfg.MODEL.CPU_OPS == "auto":
        accelerate(model, for_inference=True)
    weights = SafeCheckpointer(model, cfg.OUTPUT_DIR).get_checkpoint_file() if resume else ""
    weights = weights or cfg.MODEL.WEIGHTS
    if weights:
        load_for_inference(cfg, model, weights, Path(cfg.OUTPUT_DIR) / "inference")
    elif not cfg.MODEL.ALLOW_RANDOM_HEAD:
        raise InputError(
            "--eval-only needs weights: MODEL.WEIGHTS is empty"
            + (f" and {cfg.OUTPUT_DIR} has no checkpoint" if resume else "")
            + "; give MODEL.WEIGHTS FILE, or --resume for the last checkpoint of OUTPUT_DIR"
        )
    results = trainer_class.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results
