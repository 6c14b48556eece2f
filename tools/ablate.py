#!/usr/bin/env python
"""Train and score a list of experiments and write one table; the same as ``densepose ablate``."""

from __future__ import annotations

import sys

from densepose.cli.__main__ import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("ablate", sys.argv[1:]))
