"""What is kept of freed memory, and what is given back."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from distillkit.core.memory import give_freed_pages_back, keep_freed_pages

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

keep_freed_pages()
blocks = [np.ones(1 << 17) for _ in range(300)]
most = resident()
del blocks
kept = resident()
give_freed_pages_back()
print(most, kept, resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_freed_pages_are_kept_until_they_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    most, kept, left = map(int, done.stdout.split())
    if most - kept > 100:
        pytest.skip("another allocator than glibc's")
    assert left < most - 250
