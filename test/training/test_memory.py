"""What the process is told about memory."""
import os
import subprocess
import sys

import pytest
from dalf_training.memory import FreedMemory, keep_freed_memory, peak, resident

GROWING = """
from dalf_training.memory import FreedMemory, keep_freed_memory, resident
keep_freed_memory()
freed, held = FreedMemory(), []
for batch in range(4):
    blocks = [bytearray(1_000_000) for _ in range(60 + 100 * (batch == 2))]
    last = blocks[-1]           # above what is freed, so that the heap cannot shrink by itself
    del blocks
    freed.bound()
    held.append(resident() / 1e6)
print(*held)
"""


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "other")            # the environment alone, not this process's memory
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    keep_freed_memory()
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "backend:native")
    keep_freed_memory()
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "backend:native"


@pytest.mark.skipif(not resident(), reason="the system does not tell")
def test_freed_memory_is_kept_until_it_has_grown() -> None:
    """In MB: 60 are kept for the next batch; after a batch of 160 all is given back."""
    told = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, check=True).stdout
    first, second, grown, after = map(float, told.split())
    assert second < first + 10 and grown < first - 40 and abs(after - first) < 20
    assert 20e6 < resident() < 1.1 * peak() < 1e12         # the system counts by the way, not to the byte


def test_where_the_system_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dalf_training.memory.resident", lambda: 0.0)
    for _ in range(3):
        FreedMemory().bound()
