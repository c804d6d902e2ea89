from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtscale.training.host_memory import LARGE_PAGES

# Faults of the last of four large tensors, of which each is freed before the next; a page has 4 kB or more.
FAULTS = """
import resource, sys
import torch
from mtscale.training import host_memory

if sys.argv[1] == "kept":
    host_memory.keep_freed()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def faults(how: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != LARGE_PAGES}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not ENABLED.exists() or "[never]" in ENABLED.read_text(), reason="the kernel has no large pages")
def test_freed_memory_is_taken_again_almost_without_page_faults() -> None:
    assert faults("kept") < faults("freed") / 10
