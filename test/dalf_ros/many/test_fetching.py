"""Recordings from elsewhere lie on this machine while they are read, and no longer."""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dalf_ros.many.fetching import fetched, scratch_folder

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = fsspec.filesystem("memory")
    files.pipe_file("/far/a.bag", b"one")
    files.pipe_file("/far/b/metadata.yaml", b"two")
    files.pipe_file("/far/b/deep/x.mcap", b"three")
    yield files
    files.rm("/far", recursive=True)


def test_a_file_and_a_folder(far: object, tmp_path: Path) -> None:
    with fetched("memory://far/a.bag") as path:
        assert path.name == "a.bag" and path.read_bytes() == b"one" and tmp_path in path.parents
    with fetched("memory://far/b") as folder:
        assert folder.name == "b" and (folder / "metadata.yaml").read_bytes() == b"two"
        assert (folder / "deep" / "x.mcap").read_bytes() == b"three"
    assert not path.exists() and not folder.exists()
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_what_is_here_is_read_where_it_is(tmp_path: Path) -> None:
    with fetched(str(tmp_path / "here.bag")) as path:
        assert path == tmp_path / "here.bag"


def test_what_is_not_there(far: object, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="memory://far/none.bag does not exist"), fetched("memory://far/none.bag"):
        pass
    with pytest.raises(OSError, match="cannot be reached"), fetched("s3x://me:secret@bucket/a.bag"):
        pass
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = ("import os; from dalf_ros.many.fetching import scratch_folder\n"
            "with scratch_folder() as folder:\n    (folder / 'big').write_text('x'); print(folder, flush=True); os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    left = Path(done.stdout.strip())
    assert (left / "big").exists()
    with scratch_folder() as mine:
        assert left.exists()                            # so young that it may be another's, about to be locked
        os.utime(left.parent, (0, 0))
        os.utime(mine.parent, (0, 0))
        with scratch_folder():
            assert not left.parent.exists() and mine.exists()
