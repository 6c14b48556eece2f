#!/usr/bin/env python
"""Measure time and memory; the same as ``densepose benchmark``."""

from __future__ import annotations

import sys

from densepose.cli.__main__ import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("benchmark", sys.argv[1:]))
