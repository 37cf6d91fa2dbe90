"""What pip installs: the `dalf` command, and what it needs of the package beside Python modules. Without ROS."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dalf_core.commands import main as dalf

ROOT = Path(__file__).parents[2]
HIDDEN = ("rclpy", "dalf", "sensor_msgs", "std_msgs", "geometry_msgs", "ament_index_python")
# As after `pip install --prefix`: its packages and its share folder, and neither ROS nor the source.
PROGRAM = """
import sys
sys.prefix = {prefix!r}
class Hides:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {hidden!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name.partition('.')[0])
sys.meta_path.insert(0, Hides())
sys.argv[0] = 'dalf'
from dalf_core.commands.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The prefix that pip installed into, and its packages."""
    folder = tmp_path_factory.mktemp("pip")
    copy = folder / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check",
           "--ignore-installed", "--prefix", str(folder / "prefix"), str(copy)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "prefix", next((folder / "prefix").glob("**/dalf_core")).parent


def run(installed: tuple[Path, Path], *arguments: object, hidden: tuple[str, ...] = HIDDEN, cwd: Path | None = None):
    prefix, packages = installed
    environment = {**os.environ, "PYTHONPATH": str(packages), "AMENT_PREFIX_PATH": "", "PYTHONSAFEPATH": "1"}
    return subprocess.run([sys.executable, "-c", PROGRAM.format(prefix=str(prefix), hidden=hidden), *map(str, arguments)],
                          env=environment, capture_output=True, text=True, timeout=300, cwd=cwd or prefix)


@pytest.mark.slow
def test_dalf_and_its_commands(installed: tuple[Path, Path]) -> None:
    assert (installed[0] / "bin" / "dalf").is_file()
    done = run(installed)
    names = "evaluate, export, export-dataset, live, match, register, register-many, report, retrieve, template, train, video"
    assert done.returncode == 0 and f"commands: {names}" in done.stdout
    for name in ("match", "video", "register", "register-many", "report", "train", "evaluate", "export", "export-dataset", "live"):
        done = run(installed, name, "--help")
        assert done.returncode == 0 and done.stdout.startswith(f"usage: dalf {name} "), done.stderr
    done = run(installed, "mtach")
    assert done.returncode == 2 and "there is no command 'mtach'" in done.stderr


@pytest.mark.slow
def test_what_an_extra_would_bring_is_named(installed: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    (tmp_path / "bag.mcap").write_bytes(b"x")
    for hidden, arguments, extra in ((("av",), ("video", tmp_path / "film.mp4"), "video"),
                                     (("rosbags",), ("register", tmp_path / "bag.mcap"), "ros-bags"),
                                     (("kornia",), ("train", "--images", tmp_path, "--output", tmp_path / "run"), "train")):
        done = run(installed, *arguments, hidden=HIDDEN + hidden, cwd=tmp_path)
        assert done.returncode in (1, 2) and f"pip install 'dalf[{extra}]'" in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_recording_is_registered_without_ros(installed: tuple[Path, Path], data_folder: Path, tmp_path: Path) -> None:
    """From its folder of a real bag, with the messages and the version that pip installed."""
    bag = data_folder / "bags" / "foam_and_plush"
    done = run(installed, "register", bag, "--max-frames", 2, "--top-k", 300, "--no-video", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = (tmp_path / "out" / bag.name / "metrics.json").read_text()
    assert '"tracked"' in metrics and re.search(r'"version": "\d+\.\d+\.\d+"', metrics)


def test_the_mend_names_an_extra_that_setup_has(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for extra in {*dalf.EXTRAS.values(), *(part for both in dalf.IN_SEVERAL.values() for part in both.split(","))}:
        assert f'"{extra}": [' in setup

    class Broken(EntryPoint):
        def load(self) -> object:
            raise ModuleNotFoundError("No module named 'ruamel.yaml'", name="ruamel.yaml")

    monkeypatch.setattr(dalf, "entry_points", lambda group: [Broken("register", "nowhere:main", group)])
    assert dalf.main(["register", "x"]) == 1
    assert "'ruamel' is missing" in (error := capsys.readouterr().err) and "'dalf[ros-bags]'" in error
