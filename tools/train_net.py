#!/usr/bin/env python
"""Train or evaluate a model from a config file, with the arguments of detectron2's train_net.py."""

from __future__ import annotations

import sys

from densepose.cli.__main__ import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train", sys.argv[1:]))
