"""Training and evaluation: wires data, model, evaluation and the machine together by a config.

Names are looked up when they are used: what starts processes or prints messages needs neither
detectron2 nor a model.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Trainer": "trainer",
    "evaluate": "evaluation",
    "launch": "processes",
    "main": "run",
    "preflight": "preflight_checks",
    "run_process": "run",
    "setup": "prepare",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
