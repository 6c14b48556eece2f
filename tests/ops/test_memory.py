"""Freed memory stays in the process, where the C library can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from densepose.ops.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory(large_blocks=True)
size = 64 * 2**20 // 4
for _ in range(20):  # until a hole has grown that holds one with its alignment
    torch.ones(size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, keep: bool) -> int:
    command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tensors_get_pages_that_are_there():
    assert page_faults(keep=True) * 10 < page_faults(keep=False)
