"""Commands as somebody at a terminal sees them."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dalf_core.weights import OFFICIAL_FILE


@pytest.fixture(scope="session")
def weights(data_folder: Path) -> str:
    return str(data_folder / "dalf" / OFFICIAL_FILE)


@pytest.fixture
def start() -> Callable[..., subprocess.Popen]:
    """`start("match", ...)`: the command as a process of its own, with pipes."""
    def start_command(command: str, *arguments: object) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-m", f"dalf_core.commands.{command}", *map(str, arguments)], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    return start_command
