"""What the process is told about memory."""
import os

import pytest
from dalf_training.memory import keep_freed_memory


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "other")            # the environment alone, not this process's memory
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    keep_freed_memory()
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "backend:native")
    keep_freed_memory()
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "backend:native"
