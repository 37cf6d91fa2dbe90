"""Nothing connects to anywhere but DDS to its peers and the asked-for weights download; nothing is written to a user's folder unasked.

Socket calls of Python and of compiled libraries are noted by a preloaded library. Where the machine allows network namespaces, the
programs run in one that has the loopback alone, and the kernel counts the packets that had nowhere to go, whoever sent them.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

HERE = Path(__file__).parent
PLACES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ROS_HOME", "ROS_LOG_DIR", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "DALF_WEIGHTS")
AUTOMATED = ("CI", "TF_BUILD", "JENKINS_URL")       # where one of these is set OpenVINO reports nothing; a user has none
EXTRACT = """
import numpy
from dalf_core import DALF
image = numpy.random.default_rng(0).integers(0, 255, (64, 64), numpy.uint8)
print(len(DALF(device="cpu", top_k=5, backend="openvino", threshold=-1e9).extract(image)), "keypoints")
"""
REPORTING = """
import numpy, openvino, torch       # as it comes, with its reports
openvino.convert_model(torch.nn.Linear(2, 2), example_input=torch.zeros(1, 2))
"""


@dataclass(frozen=True)
class Watched:
    """What a program did. calls: as socket_log.c says, without process and program; written: files below its HOME.

    without_route: packets that the kernel had no route for; None where it could not be put into a namespace.
    """

    output: str
    calls: set[str]
    written: set[str]
    without_route: int | None


@cache
def namespace_problem() -> str:
    """Why there can be no network namespace here; empty where there can."""
    if shutil.which("unshare") is None:
        return "there is no program unshare"
    done = subprocess.run(["unshare", "-rn", "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture(scope="session")
def socket_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("socket_log") / "socket_log.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, HERE / "socket_log.c", "-ldl"], check=True)
    return made


@pytest.fixture
def watch(socket_log: Path, tmp_path: Path) -> Callable[..., Watched]:
    """`watch("-m", "dalf_core.commands.match", ...)`: a Python program with an empty HOME, watched to its end, which must be success."""
    def run(*arguments: object, status: int = 0) -> Watched:
        home, calls, counts = tmp_path / "home", tmp_path / "calls", tmp_path / "counts"
        home.mkdir()
        calls.touch()
        preloaded = ["env", f"LD_PRELOAD={socket_log}", f"SOCKET_LOG={calls}", f"HOME={home}", sys.executable, *map(str, arguments)]
        closed = [] if namespace_problem() else ["unshare", "-rn", sys.executable, str(HERE / "closed.py"), str(counts)]
        ours = {name: value for name, value in os.environ.items()
                if name not in (*PLACES, *AUTOMATED)}
        done = subprocess.run([*closed, *preloaded], env=ours, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == status, done.stdout
        return Watched(done.stdout, {line.split(" ", 2)[2] for line in calls.read_text(encoding="utf-8").splitlines()},
                       {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()},
                       int(counts.read_text(encoding="utf-8")) if closed else None)

    return run


def check_silent(seen: Watched, written: tuple[str, ...] = ()) -> None:
    """No socket but those within the machine's kernel was even made, and below HOME nothing was written but in these folders.

    ~/.cache/dalf is ours: where the package is read-only, compiled code goes there.
    """
    assert seen.calls == set(), seen.output
    assert {path for path in seen.written if not path.startswith((*written, ".cache/dalf/"))} == set()
    assert not seen.without_route


def test_openvinos_own_reports_would_be_seen(watch: Callable) -> None:
    """The check of the checks: what DALF keeps openvino from doing."""
    pytest.importorskip("openvino_telemetry")
    seen = watch("-c", REPORTING)
    assert any(call.startswith("resolve ") and "analytics" in call for call in seen.calls), seen
    assert any(path.startswith("intel/") for path in seen.written), seen


def test_a_connection_is_seen_by_the_kernel_too(watch: Callable) -> None:
    if problem := namespace_problem():
        pytest.skip(f"network namespaces are forbidden here: {problem}; the other tests look at socket calls alone")
    seen = watch("-c", "import socket; socket.socket().connect_ex(('192.0.2.1', 80))")
    assert seen.calls == {"socket IPv4", "to 192.0.2.1 80"}
    assert seen.without_route == 1


def test_extraction_with_openvino(watch: Callable) -> None:
    pytest.importorskip("openvino")
    seen = watch("-c", EXTRACT)
    assert "5 keypoints" in seen.output
    check_silent(seen)


@pytest.mark.slow
def test_match(watch: Callable, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    board = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    for name, image in (("a", board), ("b", np.roll(board, 5, axis=1))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    check_silent(watch("-m", "dalf_core.commands.match", tmp_path / "a.png", tmp_path / "b.png", "--output", tmp_path / "matches.png"))
    assert (tmp_path / "matches.png").is_file()


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated recording of 4 frames."""
    pytest.importorskip("mujoco")
    pytest.importorskip("open3d")
    from dalf_ros.simulate import simulate

    return simulate(tmp_path_factory.mktemp("network") / "demo", frames=4)


@pytest.mark.slow
def test_register(watch: Callable, recording: Path, tmp_path: Path) -> None:
    """Its pictures are plots: Matplotlib keeps a list of the fonts."""
    seen = watch("-m", "dalf_ros.register", recording, "--output", tmp_path / "run", "--top-k", 500, "--image-scale", 0.5, "--no-video")
    check_silent(seen, (".cache/matplotlib/",))
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.slow
def test_register_many(watch: Callable, recording: Path, tmp_path: Path) -> None:
    """Ray's programs talk to each other by the loopback, and to nobody else: no report of use, no question to a cloud."""
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    seen = watch("-m", "dalf_ros.many", recording, "--output", tmp_path / "runs", "--weights", "light", "--top-k", 100,
                 "--image-scale", 0.5, "--no-video")
    inside = {"127.0.0.1", "::ffff:127.0.0.1", "::1", "localhost"}
    strange = {call for call in seen.calls if not call.startswith("socket IPv") and call.split()[1] not in inside}
    assert strange == set() and not seen.without_route and "1 of 1 recording registered, 4 frames" in seen.output
    assert {path for path in seen.written if not path.startswith((".cache/matplotlib/", ".cache/dalf/"))} == set()
    assert (tmp_path / "runs" / "frames.parquet").is_file()


@pytest.mark.slow
def test_simulate(watch: Callable, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    pytest.importorskip("open3d")
    seen = watch("-m", "dalf_ros.simulate", "--output", tmp_path / "demo", "--frames", 3)
    seen.calls.discard("socket IPv6")       # urllib3, which Open3D imports, tries whether there is IPv6, and closes it again
    check_silent(seen)


def test_nodes_to_their_first_match(watch: Callable, ros_domain: int) -> None:
    """DDS alone: ports of the domain, on this machine; and the logs of ROS."""
    pytest.importorskip("rclpy")
    seen = watch(HERE / "first_match.py")
    ports = range(7400 + 250 * ros_domain, 7400 + 250 * (ros_domain + 1))
    for call in seen.calls - {"socket IPv4", "socket IPv6"}:
        kind, address, *port = call.split()
        assert kind == "to" and int(port[0]) in ports and address in own_addresses(), seen
    assert seen.written and all(path.startswith(".ros/log/") for path in seen.written), seen.written
    assert not seen.without_route


def own_addresses() -> set[str]:
    """Of this machine, and DDS's multicast, which ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST keeps on it."""
    inside = {"127.0.0.1", "::1", "239.255.0.1"}
    if not namespace_problem():
        return inside
    done = subprocess.run(["hostname", "-I"], capture_output=True, text=True)
    return inside | set(done.stdout.split())


def test_weights_that_are_asked_for(watch: Callable) -> None:
    """The one host is looked up, after `weights="official"` alone; without a network an error says so, and no half file stays."""
    if problem := namespace_problem():
        pytest.skip(f"network namespaces are forbidden here: {problem}; this would download")
    from urllib.parse import urlsplit

    from dalf_core.weights import OFFICIAL_URL

    seen = watch("-c", "from dalf_core import DALF; DALF('official', device='cpu')", status=1)
    assert {call for call in seen.calls if call.startswith("resolve ")} == {f"resolve {urlsplit(OFFICIAL_URL).hostname}"}
    assert not [path for path in seen.written if path.endswith((".pth", ".part"))], seen.written
