"""What the tests share: the test data, the GPU mark, and real node processes that hear only each other."""
from __future__ import annotations

import codecs
import io
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

STOP_SECONDS = 60.0         # how long a program that was told to end may take on a busy machine
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of recordings, pictures and the official checkpoint that DALF_TEST_DATA names; the test is skipped without it."""
    path = os.environ.get("DALF_TEST_DATA")
    if not path:
        pytest.skip("DALF_TEST_DATA is not set")
    if not Path(path).is_dir():
        pytest.fail(f"DALF_TEST_DATA is {path}, which is no folder")
    return Path(path).resolve()


@pytest.fixture(scope="session")
def load_ply() -> Callable:
    """Reads a PLY by Open3D: `load_ply(path)` is a dalf_core Surface, as it was saved."""
    open3d = pytest.importorskip("open3d")
    import numpy as np

    from dalf_core.surface import Surface

    def load(path: str | os.PathLike) -> Surface:
        mesh = open3d.io.read_triangle_mesh(str(path))
        assert mesh.has_triangles(), f"{path} holds no mesh"
        colors = np.rint(np.asarray(mesh.vertex_colors) * 255).astype(np.uint8) if mesh.has_vertex_colors() else None
        return Surface(np.asarray(mesh.vertices).astype(np.float32), np.asarray(mesh.vertex_normals).astype(np.float32),
                       np.asarray(mesh.triangles).astype(np.int32), colors)

    return load


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A browser without a window for pages: the first of BROWSERS on the PATH; Playwright drives it. Skipped where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser to drive: pip install playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium-headless-shell")
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=found, args=flags)
        yield made
        made.close()


@pytest.fixture
def photo_files(tmp_path: Path) -> Path:
    """A folder with three photos (smooth noise, 800x600) that are held out from training, and three that are not."""
    import cv2
    import numpy as np
    from dalf_training.data.photos import held_out

    names = [f"photo_{index}.png" for index in range(200)]
    kept, trained = [name for name in names if held_out(name)][:3], [name for name in names if not held_out(name)][:3]
    for seed, name in enumerate(kept + trained):
        noise = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / name), cv2.resize(noise, (800, 600), interpolation=cv2.INTER_CUBIC))
    return tmp_path


@pytest.fixture
def blank_png() -> Callable[[int, int], bytes]:
    """`blank_png(width, height)`: an encoded picture of one colour, a thousandth of what it takes once decoded, or less."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def made(width: int, height: int) -> bytes:
        packer, row = zlib.compressobj(9), bytes(1 + -(-width // 8))         # one bit a pixel
        data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    return made


# ---------------------------------------------------------------- ROS

class RosProcess:
    """A started program. Its output is collected line by line: `lines`, `wait_for_output`; `stop` ends it as Ctrl-C would.

    What it wrote before it did something that the test has seen (an answer, a message) is in `lines` then, however late the thread is that
    keeps its pipe empty: who asks for the lines reads what has come.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command = list(command)
        self.process = subprocess.Popen(self.command, env=dict(environment), start_new_session=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._one_reader = threading.Lock()
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._lines: list[str] = []
        self._unfinished = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while self._take():
            select.select([self.process.stdout], [], [])

    def _take(self) -> bool:
        """Take what is in the pipe; false once it has ended."""
        with self._one_reader:
            while (data := self.process.stdout.read(1 << 16)):
                *lines, self._unfinished = (self._unfinished + self._decoder.decode(data)).split("\n")
                self._lines += lines
            if data is None:        # nothing more at present
                return True
            if self._unfinished:
                self._lines.append(self._unfinished)
                self._unfinished = ""
            return False

    @property
    def lines(self) -> list[str]:
        """Every line printed so far, of both streams."""
        self._take()
        return list(self._lines)

    @property
    def output(self) -> str:
        """Everything printed so far, both streams."""
        return "\n".join(self.lines)

    def wait_for_output(self, text: str, timeout: float = 60.0) -> str:
        """The first line that holds `text`. AssertionError with the whole output when the program ends, or the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            running = self.process.poll() is None
            if not running:
                self._reader.join(STOP_SECONDS)
            for line in self.lines:
                if text in line:
                    return line
            assert running, f"{self.command} ended with {self.process.returncode} before it printed {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"{self.command} has not printed {text!r} after {timeout} s:\n{self.output}"
            time.sleep(0.02)

    def wait(self, timeout: float = 60.0) -> int:
        """Exit status of a program that ends by itself."""
        self.process.wait(timeout)
        self._reader.join(STOP_SECONDS)
        return self.process.returncode

    def stop(self, stop_signal: int = signal.SIGINT) -> int:
        """Ask it to end, insist after a minute; exit status."""
        if self.process.poll() is None:
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait(STOP_SECONDS)


@contextmanager
def free_domain() -> Iterator[int]:
    """A ROS_DOMAIN_ID that no other test on this machine uses at the same time."""
    fcntl = pytest.importorskip("fcntl")
    folder = Path(tempfile.gettempdir()) / f"dalf-test-domains-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for domain in range(1, 61):     # benchmarks take others
        with (folder / str(domain)).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    pytest.fail("all ROS domains are taken")


class RosGraph:
    """Programs that hear each other alone, and a context for the test's own nodes in the same domain."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self._processes: list[RosProcess] = []
        self._context: object = None

    def start(self, program: str, *arguments: object, environment: Mapping[str, str] | None = None) -> RosProcess:
        """Run a module; a program whose name has a slash is run itself."""
        command = [program] if "/" in program else [sys.executable, "-u", "-m", program]
        own = {"PYTHONUNBUFFERED": "1", "ROS_DOMAIN_ID": str(self.domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        self._processes.append(RosProcess([*command, *map(str, arguments)], {**os.environ, **own, **(environment or {})}))
        return self._processes[-1]

    @property
    def context(self) -> object:
        """An rclpy context (`rclpy.create_node(name, context=...)`)."""
        if self._context is None:
            rclpy = pytest.importorskip("rclpy")
            self._context = rclpy.Context()
            rclpy.init(context=self._context, domain_id=self.domain)
        return self._context

    def close(self) -> None:
        """Stop what is running."""
        for process in reversed(self._processes):
            process.stop()
        if self._context is not None:
            pytest.importorskip("rclpy").try_shutdown(context=self._context)


@pytest.fixture(scope="module")
def ros_graph() -> Iterator[RosGraph]:
    """A ROS domain of a module's own, whose processes several tests share."""
    with free_domain() as domain:
        graph = RosGraph(domain)
        yield graph
        graph.close()


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain of a test's own, set in the environment too."""
    with free_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield domain


@pytest.fixture
def own_graph(ros_domain: int) -> Iterator[RosGraph]:
    """As ros_graph, for one test."""
    graph = RosGraph(ros_domain)
    yield graph
    graph.close()


@pytest.fixture
def ros_process(own_graph: RosGraph) -> Callable[..., RosProcess]:
    """Start programs in the test's own ROS domain: `ros_process("dalf_ros.feature_node", "--ros-args", ...)` runs that
    module; a path with a slash runs that program. All are stopped after the test.
    """
    return own_graph.start


@pytest.fixture
def ros_context(own_graph: RosGraph) -> object:
    """An rclpy context in the test's own domain, for the test's own nodes (`rclpy.create_node(name, context=...)`)."""
    return own_graph.context


def spin_until(executor: object, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Spin `executor` until `condition()` holds; whether it does within `timeout` seconds (discovery can take three)."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        executor.spin_once(timeout_sec=0.05)  # type: ignore[attr-defined]
    return True


@pytest.fixture(name="spin_until")
def spin_until_fixture() -> Callable[..., bool]:
    """`spin_until(executor, condition, timeout=10.0)`"""
    return spin_until
