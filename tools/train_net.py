#!/usr/bin/env python
"""Train or evaluate a model from a config file, with the arguments of detectron2's train_net.py."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from densepose.cli import train

if __name__ == "__main__":
    parser = ArgumentParser(
        description=__doc__,
        epilog="examples:\n" + train.EXAMPLE.replace("densepose train", "tools/train_net.py"),
        formatter_class=RawDescriptionHelpFormatter,
    )
    train.add_arguments(parser)
    sys.exit(train.run(parser.parse_args()))
