"""Files that appear whole or not at all."""
from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from dalf_core.files.whole_file import whole_file, write_whole


def test_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "mesh.ply"
    target.write_bytes(b"old")
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["mesh.ply"]


def test_an_error_keeps_the_file_before(tmp_path: Path) -> None:
    target = tmp_path / "mesh.ply"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(target) as partial:
        partial.write_bytes(b"ne")
        assert partial.suffix == ".ply"
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["mesh.ply"]


def test_the_content_is_on_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk may show at the sync alone: then the old file stays."""
    target = tmp_path / "mesh.ply"
    target.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dalf_core.files.whole_file.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(target, b"new")
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["mesh.ply"]
