#!/usr/bin/env python
"""Check and convert the official evaluation files; the same as ``densepose prepare-evaluation``."""

from __future__ import annotations

import sys

from densepose.cli.__main__ import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("prepare-evaluation", sys.argv[1:]))
