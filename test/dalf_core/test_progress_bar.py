"""What stays in a log file of a progress bar."""
from __future__ import annotations

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dalf_core.progress_bar import ProgressLog

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import time
from dalf_core.progress_bar import progress_bar
with progress_bar(total=3, desc="simulating", unit="step") as bar:
    for _ in range(3):
        time.sleep(0.15)        # longer than a bar waits between two pictures of itself
        bar.update()
print(sum(progress_bar(range(4), "adding", 4)))
"""


def test_a_log_has_lines_and_no_control_characters() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert done.stdout == b"6\n" and b"\r" not in done.stderr and b"\x1b" not in done.stderr
    lines = [line.split("|")[0] for line in done.stderr.decode("ascii").splitlines()]
    assert lines == ["simulating:   0%", "simulating: 100%", "adding:   0%", "adding: 100%"]


@pytest.mark.parametrize("made", [{}, {"disable": False}, {"disable": False, "n": 0, "last_print_n": 0}])
def test_ctrl_c_before_a_bar_is_made(monkeypatch: pytest.MonkeyPatch, made: dict[str, object]) -> None:
    """What there is of it goes without a word."""
    noise: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    bar = ProgressLog.__new__(ProgressLog)
    vars(bar).update(made)
    del bar
    gc.collect()
    assert noise == []


def test_every_bar_is_one_of_these() -> None:
    users = [path.relative_to(ROOT).as_posix() for folder in ("dalf_core", "dalf_ros", "training") for path in (ROOT / folder).rglob("*.py")
             if re.search(r"^\s*(from|import) tqdm", path.read_text(encoding="utf-8"), re.MULTILINE)]
    assert users == ["dalf_core/progress_bar.py"]
