"""A run whose second process fails; a module that processes can import without a model."""

from __future__ import annotations

from argparse import Namespace

from detectron2.utils import comm


def fail_in_second(args: Namespace) -> int:
    """Ends with status 3 in the second process."""
    return 3 if comm.get_rank() == 1 else 0
