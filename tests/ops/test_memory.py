"""Freed memory stays in the process, where the C library can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from densepose.ops import memory
glibc, kind = memory._mallopt(), {kind!r}
if kind == "older":  # as releases that refuse a threshold of over 32 MiB
    def refusing(name, value):
        return 0 if name == memory._M_MMAP_THRESHOLD and value > 2**25 else glibc(name, value)
    memory._mallopt = lambda: refusing
if kind != "default":
    assert memory.keep_freed_memory(large_blocks=True)
size = 64 * 2**20 // 4
for _ in range(20):  # until a hole has grown that holds one with its alignment
    torch.ones(size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(kind: str) -> int:
    command = [sys.executable, "-c", PROGRAM.format(kind=kind)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tensors_get_pages_that_are_there():
    default = page_faults("default")
    assert page_faults("here") * 10 < default
    assert page_faults("older") * 10 < default
