"""The whole of ``train_net.py``: set up, check, then train or evaluate."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

from torch import nn

from detectron2.config import CfgNode
from detectron2.utils import comm

from .checkpoint import SafeCheckpointer, load_for_inference
from .evaluation import AUGMENTED_FOLDER, METRICS, evaluate
from .loaders import ImageError
from .logs import FILE_ONLY, error_console, remove_handlers
from .model import build_run_model
from .preflight_checks import preflight
from .prepare import setup
from .trainer import Trainer

logger = logging.getLogger(__name__)

USER_ERRORS = (ValueError, KeyError, OSError, FloatingPointError, ImageError)


def main(args: Namespace) -> dict[str, Any]:
    """Train, or with ``eval_only`` evaluate, in this process; ``launch`` starts several.

    Args:
        args: the arguments of ``densepose train``.

    Returns:
        The results of the (last) evaluation; empty in all processes but the main one.
    """
    cfg = setup(args)
    mode = "eval" if args.eval_only else "train"
    model = build_run_model(cfg, for_inference=args.eval_only)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    preflight(cfg, mode, num_parameters=num_parameters)
    logger.info("Checks passed; the model has %.1f million weights", num_parameters / 1e6)
    if args.eval_only:
        return _evaluate_only(cfg, model, resume=args.resume)
    trainer = Trainer(cfg, model=model)
    trainer.resume_or_load(resume=args.resume)
    results = trainer.train()
    if comm.is_main_process():
        logger.info("Done: %s", _where(cfg, trained=True))
    return dict(results)


def run_process(args: Namespace) -> int:
    """``main`` with an exit status in place of exceptions that come from a user's input.

    Their message is shown without a traceback, which goes to the log file; any other exception is a
    fault of the program and passes through.
    """
    try:
        main(args)
    except KeyboardInterrupt as interrupt:
        _tell(f"{interrupt or 'interrupted'}; --resume goes on from the last checkpoint")
        return 130
    except USER_ERRORS as error:
        if logger.hasHandlers():  # no log file is open yet while the config is read
            logger.error("Traceback:", exc_info=True, extra=FILE_ONLY)
        # What is wrong with a config or a file is the same in all processes: one of them tells.
        only_here = isinstance(error, (ImageError, FloatingPointError))
        if comm.is_main_process() or only_here:
            if getattr(args, "debug", False):
                error_console.print_exception()
            _tell(error_text(error))
        return 1
    finally:
        remove_handlers()
    return 0


def _tell(message: str) -> None:
    error_console.print(f"densepose: {message}", style="red", markup=False, soft_wrap=True)


def error_text(error: Exception) -> str:
    """The message of an error; without KeyError's quotes and tracebacks of data workers."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text.rsplit(f"{ImageError.__name__}: ", 1)[-1].strip()


def _evaluate_only(cfg: CfgNode, model: nn.Module, *, resume: bool) -> dict[str, Any]:
    weights = SafeCheckpointer(model, cfg.OUTPUT_DIR).get_checkpoint_file() if resume else ""
    weights = weights or cfg.MODEL.WEIGHTS
    if weights:
        load_for_inference(cfg, model, weights, Path(cfg.OUTPUT_DIR) / "inference")
    elif not cfg.MODEL.ALLOW_RANDOM_HEAD:
        raise ValueError(
            "--eval-only needs weights: MODEL.WEIGHTS is empty"
            + (f" and {cfg.OUTPUT_DIR} has no checkpoint" if resume else "")
            + "; give MODEL.WEIGHTS FILE, or --resume for the last checkpoint of OUTPUT_DIR"
        )
    results = evaluate(cfg, model)
    if comm.is_main_process():
        logger.info("Done: %s", _where(cfg, trained=False))
    return results


def _where(cfg: CfgNode, *, trained: bool) -> str:
    folder = Path(cfg.OUTPUT_DIR)
    places = []
    if trained:
        names = ("model_final.pth", "model_best.pth", "metrics.json")
        places.append(f"{folder} ({', '.join(n for n in names if (folder / n).is_file())})")
    if cfg.DATASETS.TEST:
        places.append(f"scores in {folder / 'inference' / METRICS}")
    if cfg.DATASETS.TEST and cfg.TEST.AUG.ENABLED:
        places.append(f"with several views in {folder / AUGMENTED_FOLDER / METRICS}")
    return ", ".join(places)
