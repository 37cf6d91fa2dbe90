"""What glibc keeps is given back."""
import subprocess
import sys

import pytest

from dalf_core.freed_memory import glibc

SCRIPT = """
from pathlib import Path
from dalf_core.freed_memory import give_back
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
blocks = [bytes(60_000) for _ in range(4000)]       # 240 MB, each too small for a mapping of its own
held = blocks[::40]
full = pages()
del blocks
kept = pages()
give_back()
print(full, kept, pages())
"""


@pytest.mark.skipif(glibc() is None, reason="the C library is not glibc")
def test_given_back():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    full, kept, left = (4096 * int(word) / 1e6 for word in done.stdout.split())
    assert full - kept < 20 and full - left > 150
