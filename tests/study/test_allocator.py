"""Freed tensors stay with the process: their pages are not made anew."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from torsor.study._allocator import keep_freed_memory
{call}
def run():
    for _ in range(10):
        torch.ones(10_000_000)
run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_pages_of_freed_tensors_are_not_made_anew():
    assert faults("assert keep_freed_memory()") < faults("pass") / 10
