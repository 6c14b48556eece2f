"""The demo of ``make demo``: stages and the page that shows their outcome."""

from __future__ import annotations

from .page import change_text
from .stages import DemoSettings, run_demo

__all__ = ["DemoSettings", "change_text", "run_demo"]
