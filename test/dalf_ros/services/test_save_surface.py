"""Which file a request means, and what is refused."""
from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dalf_core.surface import Surface
from dalf_core.types import Registration
from dalf_ros.services.save_surface import save_surface

VERTICES = np.array([[0, 0, 1], [0.1, 0, 1], [0, 0.1, 1]], np.float32)
SURFACE = Surface(VERTICES - 1, VERTICES, np.array([[0, 2, 1]], np.int32), np.array([[1, 2, 3]] * 3, np.uint8))


def frame(status: str = "tracked", vertices: np.ndarray = VERTICES) -> tuple:
    result = Registration(status, "", vertices, np.tile([0, 0, -1.0], (3, 1)), np.ones(3, bool), 0.001, np.ones(0, bool),
                          np.zeros((1, 3, 3)), np.zeros((1, 3)))
    return SimpleNamespace(registration=result, stamp_ns=77, status=status), "cam"


TRACKER = SimpleNamespace(surface=SURFACE)


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "node").mkdir()
    monkeypatch.chdir(tmp_path / "node")
    return tmp_path / "node"


@pytest.mark.parametrize("path", ["a.ply", "b.OBJ", ""])
def test_the_current_surface_is_written(path: str, working_directory: Path, load_ply) -> None:
    success, message, written = save_surface(path, False, "", TRACKER, frame())
    assert success and "3 vertices" in message and Path(written) == working_directory / (path or "surface_77.ply")
    if written.endswith("ply"):
        np.testing.assert_array_equal(load_ply(written).vertices, VERTICES)
        assert (load_ply(written).colors == SURFACE.colors).all()
    else:
        assert Path(written).read_text().splitlines()[1].startswith("v 0.000000 0.000000 1.000000 0.003922")


def test_what_is_refused(working_directory: Path, load_ply) -> None:
    (working_directory / "folder.ply").mkdir()
    (working_directory / "there.ply").write_text("mine")
    (working_directory / "link.ply").symlink_to("nowhere.ply")
    (working_directory / "out").symlink_to(working_directory.parent)
    for path, overwrite, words in (
            ("a.stl", False, "must end in .ply or .obj"), ("missing/a.ply", False, "does not exist"), ("../a.ply", False, "leads out of"),
            ("folder.ply", True, "no ordinary file"), ("there.ply", False, "exists already"), ("link.ply", False, "exists already"),
            ("x/../../a.ply", True, "leads out of"), ("..", True, "leads out of"),
            (str(working_directory.parent / "out.obj"), False, "leads out of"), ("/etc/dalf.ply", True, "save_folder"),
            ("out/a.ply", True, "leads out of"), ("~/a.ply", False, "does not exist"), (str(working_directory), True, "leads out of")):
        success, message, written = save_surface(path, overwrite, "", TRACKER, frame())
        assert not success and words in message and written == "", (path, message)
    assert (working_directory / "there.ply").read_text() == "mine" and not list(working_directory.parent.glob("*.ply"))
    assert save_surface("there.ply", True, "", TRACKER, frame())[0] and len(load_ply("there.ply").vertices) == 3


def test_the_folder_that_was_chosen(working_directory: Path, load_ply) -> None:
    """Relative paths lie below it, absolute ones may lead there, through a link too; a link to a file is replaced, not followed."""
    folder, other = working_directory.parent / "kept", working_directory.parent / "other.ply"
    (folder / "deep").mkdir(parents=True)
    (working_directory / "door").symlink_to(folder)
    other.write_text("mine")
    (folder / "link.ply").symlink_to(other)
    for path, overwrite, expected in (("a.ply", False, "a.ply"), ("deep/../b.ply", False, "b.ply"),
                                      (str(folder / "deep/c.ply"), False, "deep/c.ply"),
                                      (str(working_directory / "door/d.ply"), False, "d.ply"), ("link.ply", True, "link.ply")):
        success, message, written = save_surface(path, overwrite, str(folder), TRACKER, frame())
        assert success and written == str(folder / expected), message
        np.testing.assert_array_equal(load_ply(folder / expected).vertices, VERTICES)
    assert other.read_text() == "mine" and not (folder / "link.ply").is_symlink()
    assert "leads out of" in save_surface(str(working_directory / "a.ply"), False, str(folder), TRACKER, frame())[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(working_directory: Path) -> None:
    working_directory.chmod(0o500)
    success, message, _ = save_surface("a.ply", False, "", TRACKER, frame())
    assert not success and "cannot be written" in message


def test_no_surface_and_a_lost_one() -> None:
    assert "no surface yet" in save_surface("a.ply", False, "", None, None)[1]
    assert "no surface yet" in save_surface("a.ply", False, "", SimpleNamespace(surface=None), frame())[1]
    assert "just changed" in save_surface("a.ply", False, "", TRACKER, frame(vertices=VERTICES[:2]))[1]
    assert "lost at present" in save_surface("a.ply", False, "", TRACKER, frame("lost"))[1]
