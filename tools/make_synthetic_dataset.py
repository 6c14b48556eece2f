#!/usr/bin/env python
"""Make a synthetic DensePose-COCO set; the same as ``densepose make-data``."""

from __future__ import annotations

import sys

from densepose.cli.__main__ import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("make-data", sys.argv[1:]))
