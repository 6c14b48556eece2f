"""Training and evaluation: wires data, model, evaluation and the machine together by a config."""

from .evaluation import evaluate
from .launch import launch
from .preflight import PreflightError, preflight
from .run import main, run_process
from .setup import setup
from .trainer import Trainer

__all__ = [
    "PreflightError",
    "Trainer",
    "evaluate",
    "launch",
    "main",
    "preflight",
    "run_process",
    "setup",
]
