"""Compiled kernels: an edit of a file that is inlined elsewhere counts, and where the cache lies."""
from __future__ import annotations

import importlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import dalf_core
from dalf_core import compiled

PLANE = """
import numpy as np
from dalf_core.registration.planes import FITTED, plane_at
depth = np.full((9, 9), 0.5, np.float32)
room = np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8)
print(plane_at(depth, *room, 2, 0.1, 4.0, 4.0)[1])
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the sources that may be edited."""
    copy = tmp_path / "copy" / "dalf_core"
    shutil.copytree(Path(dalf_core.__file__).resolve().parent, copy, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    return copy


def run(package: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that imports that copy."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-B", "-c", program], text=True, capture_output=True, cwd=package.parent,
                          env={**kept, "PYTHONPATH": str(package.parent), **environment})
    assert done.returncode == 0, done.stderr
    return done


def close_package(package: Path) -> None:
    """Nothing can be written to its __pycache__, not by root either."""
    (package / "__pycache__").write_text("no folder")
    for folder in package.rglob("*"):
        if folder.is_dir():
            (folder / "__pycache__").write_text("no folder")


@pytest.mark.parametrize("own_folder", [False, True])
def test_an_edit_of_an_inlined_function_of_another_file_counts(package: Path, tmp_path: Path, own_folder: bool) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")} if own_folder else {}
    assert float(run(package, PLANE, **environment).stdout) == pytest.approx(2.0)
    depth = package / "depth.py"
    text = depth.read_text()
    assert text.count("return 1, mi - ") == 1
    depth.write_text(text.replace("return 1, mi - ", "return 1, 1.5 * mi - "))
    assert float(run(package, PLANE, **environment).stdout) == pytest.approx(3.0)
    depth.write_text(text)
    assert float(run(package, PLANE, **environment).stdout) == pytest.approx(2.0)
    caches = list((tmp_path / "kernels" if own_folder else package / "__pycache__").glob(compiled.PREFIX + "*"))
    assert len(caches) == 2 and all(list(cache.rglob("*.nbi")) for cache in caches)


def test_without_a_place_to_write_kernels_lie_in_a_private_temporary_folder(package: Path, tmp_path: Path) -> None:
    close_package(package)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for _ in range(2):
        done = run(package, PLANE, HOME="/dev/null", TMPDIR=str(temporary))
        assert float(done.stdout) == pytest.approx(2.0)
        [folder] = temporary.glob("dalf-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and list(folder.rglob("*.nbi"))
        assert done.stderr.count("compiled kernels cannot be kept") == 1 and str(folder) in done.stderr and "NUMBA_CACHE_DIR" in done.stderr


def test_a_temporary_folder_of_somebody_else_is_not_trusted(package: Path, tmp_path: Path) -> None:
    close_package(package)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run(package, PLANE, HOME="/dev/null", TMPDIR=str(temporary))
    [folder] = temporary.glob("dalf-*")
    shutil.rmtree(folder)
    (tmp_path / "theirs").mkdir()
    folder.symlink_to(tmp_path / "theirs")
    run(package, PLANE, HOME="/dev/null", TMPDIR=str(temporary))
    assert not list((tmp_path / "theirs").iterdir()) and len(list(temporary.glob("dalf-*"))) == 2


def test_without_any_place_kernels_are_compiled_each_time_and_that_is_said(package: Path) -> None:
    close_package(package)
    program = f"import tempfile\ntempfile.tempdir = '/dev/null/none'\n{PLANE}"
    done = run(package, program, HOME="/dev/null", NUMBA_CACHE_DIR="/dev/null/kernels")
    assert float(done.stdout) == pytest.approx(2.0)
    assert done.stderr.count("compiled anew at each start") == 1 and "/dev/null/kernels" in done.stderr


def test_compiling_is_told_once_ever(package: Path, tmp_path: Path) -> None:
    """Also where the folder is there already, as it is after an import alone."""
    run(package, "import dalf_core.registration.planes", NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    assert list((tmp_path / "kernels").iterdir())
    first, second = (run(package, PLANE + "print(plane_at(depth, *room, 3, 0.1, 4.0, 4.0)[1])", NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
                     for _ in range(2))
    assert first.stderr.splitlines() == ["compiling, once: it takes up to a minute, and later starts are without it"]
    assert second.stderr == "" and second.stdout == first.stdout


def test_the_setting_of_other_packages_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled.kernel_folder()            # before it sees the other setting
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", "theirs")
    double = compiled.njit(lambda x: 2 * x)
    assert double(4) == 8 and compiled.numba.config.CACHE_DIR == "theirs"


def test_old_caches_of_other_sources_are_removed(package: Path, tmp_path: Path) -> None:
    old, recent, other = (tmp_path / "kernels" / name for name in ("kernels-old", "kernels-recent", "somebody-else"))
    for folder in (old, recent, other):
        folder.mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (0, 0))
    run(package, PLANE, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    assert not old.exists() and recent.exists() and other.exists()


def test_the_library_itself_is_imported_without_numba_or_a_look_at_the_sources(package: Path) -> None:
    program = "import sys, dalf_core; print('numba' in sys.modules, 'dalf_core.compiled' in sys.modules)"
    assert run(package, program).stdout.split() == ["False", "False"]


def test_a_link_that_leads_nowhere_does_not_matter(package: Path, tmp_path: Path) -> None:
    """A linked installation has one when a file was removed; some editors make them."""
    (package / "registration" / "gone.py").symlink_to(tmp_path / "gone.py")
    assert float(run(package, PLANE).stdout) == pytest.approx(2.0)


def kernels() -> list[tuple[str, object]]:
    """All kernels of the library by name."""
    root = Path(dalf_core.__file__).resolve().parent
    files = [file for file in root.rglob("*.py") if "@njit" in file.read_text()]
    names = [".".join(["dalf_core", *file.relative_to(root).with_suffix("").parts]) for file in files]
    return [(f"{name}.{key}", value) for name in names for key, value in vars(importlib.import_module(name)).items()
            if isinstance(value, Dispatcher)]


def test_no_kernel_may_take_it_that_nothing_is_nan() -> None:
    """`fastmath=True` lets the compiler drop tests such as `not x > 0.0` and `isnan`."""
    found = kernels()
    assert len(found) > 30
    for name, kernel in found:
        flags = kernel.targetoptions.get("fastmath", False)     # type: ignore[attr-defined]
        assert not flags or (flags is not True and not set(flags) & {"fast", "nnan", "ninf"}), name
