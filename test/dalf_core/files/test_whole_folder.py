"""A folder is there whole, or not at all."""
from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dalf_core.files.whole_folder import whole_folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    return tmp_path / "parts"


def test_it_appears_at_the_end(tmp_path: Path, parts: Path) -> None:
    with whole_folder(tmp_path / "run", parts) as part:
        (part / "a").write_text("1")
        (part / "deep").mkdir()
        (part / "deep" / "b").write_text("2")
        assert part.parent == parts and part.name.startswith(f"run.{os.getpid()}.") and not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "a").read_text() == "1" and (tmp_path / "run" / "deep" / "b").read_text() == "2"
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755 and not list(parts.iterdir())


def test_after_an_error_nothing_is_left(tmp_path: Path, parts: Path) -> None:
    with pytest.raises(OSError, match="No space"), whole_folder(tmp_path / "run", parts) as part:
        (part / "a").write_text("1")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.rglob("*")] == ["parts"]


def test_what_is_there_stays_or_is_replaced(tmp_path: Path, parts: Path) -> None:
    run = tmp_path / "run"
    for text, overwrite, kept in (("first", False, "first"), ("second", True, "second")):
        with whole_folder(run, parts, overwrite) as part:
            (part / "a").write_text(text)
        assert (run / "a").read_text() == kept
    with pytest.raises(FileExistsError, match="exists already"), whole_folder(run, parts) as part:
        (part / "a").write_text("third")
    assert (run / "a").read_text() == "second" and not list(parts.iterdir())


def test_a_killed_process_leaves_only_a_part(tmp_path: Path, parts: Path) -> None:
    code = ("import os, sys; from pathlib import Path; from dalf_core.files.whole_folder import whole_folder\n"
            f"with whole_folder(Path({str(tmp_path)!r}) / 'run', Path({str(parts)!r})) as part:\n"
            "    (part / 'a').write_text('1'); os.kill(os.getpid(), 9)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists() and len(list(parts.glob("run.*"))) == 1
