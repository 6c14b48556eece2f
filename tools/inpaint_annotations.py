#!/usr/bin/env python
"""Make dense annotations from sparse ones; the same as ``densepose inpaint``."""

from __future__ import annotations

import sys

from densepose.cli.__main__ import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("inpaint", sys.argv[1:]))
