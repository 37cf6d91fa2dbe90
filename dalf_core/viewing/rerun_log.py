"""What a run saw, for the Rerun viewer: as a file (.rrd), or served to a browser while the run lasts and after."""
from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..drawing.draw import flow_colors
from ..drawing.palette import surface_colors
from ..interruption import Interruption, die_with_parent

SERVE = "serve"
HOST, WEB_PORT, GRPC_PORT = "127.0.0.1", 9090, 9876
START_S = 20.0
JPEG_QUALITY = 85
MISSING = "--rerun needs the Python package rerun-sdk (0.7 GB): pip install 'dalf[rerun]', or ./run, which installs it"


def add_rerun_option(parser: Any) -> None:
    """--rerun FILE.rrd|serve"""
    parser.add_argument("--rerun", metavar="FILE.rrd|serve", type=rerun_target,
                        help="write what was seen for the Rerun viewer, or serve it to the browser")


def rerun_target(text: str) -> str:
    """What --rerun takes."""
    import argparse

    if text != SERVE and not re.search(r".\.rrd$", text):
        raise argparse.ArgumentTypeError(f"a file that ends in .rrd, or {SERVE}, not {text!r}")
    return text


def rerun_log(target: str | None, name: str) -> AbstractContextManager[RerunLog | None]:
    """The log that --rerun asks for; None where it was not given. Raises what RerunLog raises."""
    return nullcontext() if target is None else RerunLog(target, name)


class RerunLog:
    """Entities: `image` (with `image/matches`), `surface` (x right, y down, z forward), `status`, and the plots `residual` (mm), `zncc`,
    `matches`, `visible`; on the time lines `frame` and `time` (seconds from the first frame). Use it in a `with` block.

    target: a file, or "serve". RuntimeError: rerun-sdk is not installed, or its server does not start. OSError: the file cannot be written.
    """

    def __init__(self, target: str, name: str) -> None:
        try:
            import rerun
        except ModuleNotFoundError as error:
            raise RuntimeError(MISSING) from error
        self._rerun = rerun
        self._server: subprocess.Popen[bytes] | None = None
        self._log = rerun.RecordingStream(f"dalf {name}")
        self.served = ""            # where, in a browser
        if target == SERVE:
            self._server = _start_server()
            self._log.connect_grpc(f"rerun+http://{HOST}:{GRPC_PORT}/proxy")
            self.served = f"http://{HOST}:{WEB_PORT}/?url=rerun%2Bhttp%3A%2F%2F{HOST}%3A{GRPC_PORT}%2Fproxy"
        else:
            with open(target, "wb"):        # Rerun itself would only warn
                pass
            self._log.save(target)
        self._log.log("surface", rerun.ViewCoordinates.RDF, static=True)

    def __enter__(self) -> RerunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._log.flush()
        self._log.disconnect()
        if self._server is not None:
            self._server.terminate()
            self._server.wait()

    def wait(self) -> None:
        """Where it is served: until Ctrl-C."""
        if self.served:
            print(f"served at {self.served} until Ctrl-C", flush=True)
            with Interruption() as interruption:
                while not interruption.asked:
                    time.sleep(0.2)

    def frame(self, number: int, time_s: float) -> None:
        """All that is logged from now on belongs to this frame."""
        self._log.set_time("frame", sequence=number)
        self._log.set_time("time", duration=time_s)

    def image(self, bgr: np.ndarray) -> None:
        """HxWx3 uint8 BGR."""
        self._log.log("image", self._rerun.Image(bgr, color_model="BGR").compress(jpeg_quality=JPEG_QUALITY))

    def matches(self, start: np.ndarray, end: np.ndarray) -> None:
        """Verified matches: from where they were in the reference (M, 2) to where they are (M, 2), pixels; the hue is their motion."""
        colors = flow_colors(start, end)[:, ::-1]
        self._log.log("image/matches", self._rerun.LineStrips2D(np.stack([start, end], axis=1), colors=colors))
        self._log.log("image/matches/now", self._rerun.Points2D(end, colors=colors, radii=2))
        self.scalar("matches", len(end))

    def surface(self, vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray | None, visible: np.ndarray) -> None:
        """The mesh: vertices (V, 3), triangles (F, 3), colors (V, 3) uint8 RGB; not visible (V,): pink."""
        rgb = surface_colors(colors, visible, len(vertices))
        self._log.log("surface", self._rerun.Mesh3D(vertex_positions=vertices, triangle_indices=triangles, vertex_colors=rgb))
        self.scalar("visible", float(np.mean(visible)))

    def scalar(self, name: str, value: float) -> None:
        """One value of a plot."""
        self._log.log(name, self._rerun.Scalars(float(value)))

    def status(self, text: str) -> None:
        """In words."""
        self._log.log("status", self._rerun.TextLog(text))


def _start_server() -> subprocess.Popen[bytes]:
    """Rerun's own server, as a process that listens to this machine alone: what its library starts listens to the whole network."""
    import rerun_cli

    for port in (WEB_PORT, GRPC_PORT):
        if _listens(port):
            raise RuntimeError(f"--rerun {SERVE}: port {port} is in use, perhaps by another run; end that one, or write a FILE.rrd")
    program = Path(rerun_cli.__file__).with_name("rerun")      # not `python -m rerun`: that is a second process, which would outlive it
    server = subprocess.Popen([program, "--serve-web", "--bind", HOST, "--port", str(GRPC_PORT), "--web-viewer-port", str(WEB_PORT)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                              preexec_fn=die_with_parent)
    deadline = time.monotonic() + START_S
    while not (_listens(WEB_PORT) and _listens(GRPC_PORT)):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            server.wait()
            raise RuntimeError(f"--rerun {SERVE}: Rerun's server did not start; {program} --serve-web tells why")
        time.sleep(0.05)
    return server


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
