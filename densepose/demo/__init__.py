"""The demo of ``make demo``: stages and the page that shows their outcome."""

from __future__ import annotations

from .stages import DemoSettings, run_demo

__all__ = ["DemoSettings", "run_demo"]
