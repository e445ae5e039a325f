"""What the process asks of the system."""

import os
import subprocess
import sys

import pytest

LOOK = """
import resource
import numpy as np
from fivefold.system import keep_freed_memory

print(keep_freed_memory())
for _ in range(3):  # at first the pages are new
    np.ones(1 << 18), np.ones(1 << 18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(1 << 18), np.ones(1 << 18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_freed_memory_is_used_again():
    kept, faults = _look({})
    assert kept == "False" or int(faults) < 1000, "else each of 100 arrays has 512 pages"
    assert _look({"MALLOC_TRIM_THRESHOLD_": "131072"})[0] == "False", "what the user has set stays"


def _look(settings: dict[str, str]) -> list[str]:
    words = [sys.executable, "-c", LOOK]
    done = subprocess.run(words, env=os.environ | settings, check=True, capture_output=True, text=True)
    return done.stdout.split()
