"""Helpers of the tests: tiny data sets, small models, random people. No tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
