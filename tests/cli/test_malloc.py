"""Freed memory is used again: large tensors cost no page faults once the process has held them."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from effdet.cli.run import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(64 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def faults(override):
    done = subprocess.run([sys.executable, "-c", SCRIPT, override], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
def test_large_tensors_cost_no_page_faults_again():
    assert faults("keep") < 100 < faults("return")
