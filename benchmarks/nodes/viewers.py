#!/usr/bin/env python3
"""The page of `./run view` and `./run live` beside the Rerun viewer: how much each draws of one recording, and what it costs.

    ./run exec python benchmarks/nodes/viewers.py RUN [--hz 30] [--seconds 15]

RUN is an output folder of `./run register`: its frames, image and surface, are shown at `--hz` again and again, by the code of `live`
and of `register --rerun serve`, to a Chromium without a window that Playwright drives. `drawn`: animation frames a second in which the
page's own code ran. `program`: CPU of this process and of Rerun's server, in shares of one core; `browser`: of Chromium, which here has no
GPU: drawing in software is in it.
"""
from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from dalf_core.reports.run_report import MeshSequence
from dalf_core.viewing.live_picture import JPEG_QUALITY
from dalf_core.viewing.page_server import PageServer
from dalf_core.viewing.rerun_log import SERVE, RerunLog
from dalf_ros.bags.bag_source import BagSource
from dalf_ros.bags.bag_writer import bag_topic
from dalf_ros.conversions import topics
from dalf_ros.conversions.messages import stamp_ns
from dalf_ros.offline.mesh_reader import read_surfaces
from dalf_ros.offline.run_output import RunFiles
from dalf_ros.offline.run_reader import read_metrics

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
COUNT = """(() => { window.drawn = 0; const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = call => ask(time => { window.drawn++; call(time); }); })()"""
SETTLE_S = 8.0          # until a viewer has loaded and shows what comes
PORT = 8299
Show = Callable[[int], None]


class Frames:
    """What a run has of each frame: images (BGR), and the first reference's surfaces."""

    def __init__(self, run: Path) -> None:
        files = RunFiles(run)
        stamps = [frame["stamp_ns"] for frame in read_metrics(run)["frames"]]
        self.mesh: MeshSequence = read_surfaces(files.bag, stamps).sequences[0]
        wanted = {stamps[number]: place for place, number in enumerate(self.mesh.frames)}
        pictures: dict[int, np.ndarray] = {}
        topic = bag_topic(topics.DEBUG_COMPRESSED)
        with BagSource(files.bag) as source:
            for _, message in source.readable([topic]):
                if (place := wanted.get(stamp_ns(message.header))) is not None:
                    pictures[place] = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        self.images = [pictures[place] for place in range(len(wanted))]


@contextmanager
def page_viewer(frames: Frames) -> Iterator[tuple[str, Show, list[psutil.Process]]]:
    """The page that `view` and `live` serve."""
    with PageServer("viewers", {}, port=PORT) as page:
        page.show_topology(frames.mesh.triangles, frames.mesh.colors)

        def show(number: int) -> None:
            page.show_image(cv2.imencode(".jpg", frames.images[number], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
            page.show_surface(frames.mesh.vertices[number], frames.mesh.visible[number])
            page.show_status("tracked", f"frame {number}")

        yield page.url, show, [psutil.Process()]


@contextmanager
def rerun_viewer(frames: Frames) -> Iterator[tuple[str, Show, list[psutil.Process]]]:
    """Rerun's web viewer, as `register --rerun serve` feeds it."""
    began = time.monotonic()
    with RerunLog(SERVE, "viewers") as log:
        shown = iter(range(10**9))

        def show(number: int) -> None:
            log.frame(next(shown), time.monotonic() - began)
            log.image(frames.images[number])
            log.surface(frames.mesh.vertices[number], frames.mesh.triangles, frames.mesh.colors, frames.mesh.visible[number])
            log.status(f"frame {number}")

        servers = [process for process in psutil.Process().children() if process.name().startswith("rerun")]
        yield log.served, show, [psutil.Process(), *servers]


def cpu_s(processes: list[psutil.Process]) -> float:
    """Of those that still run."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            pass
    return total


def measure(driver: Any, viewer: Callable[[Frames], Any], frames: Frames, hz: float, seconds: float) -> tuple[float, float, float, float]:
    """Frames shown a second, drawn a second; shares of a core: program, browser."""
    with viewer(frames) as (url, show, programs):
        known = set(psutil.Process().children(recursive=True))
        browser = driver.chromium.launch(executable_path=next(filter(None, map(shutil.which, BROWSERS))), args=FLAGS)
        try:
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            tab.add_init_script(COUNT)
            tab.goto(url)
            numbers = cycle(range(len(frames.images)))
            play(numbers, show, hz, SETTLE_S)
            of_browser = [process for process in psutil.Process().children(recursive=True) if process not in known]
            before, drawn = (cpu_s(programs), cpu_s(of_browser)), tab.evaluate("window.drawn")
            began = time.monotonic()
            count = play(numbers, show, hz, seconds)
            lasted = time.monotonic() - began
            after = cpu_s(programs), cpu_s(of_browser)
            drawn = tab.evaluate("window.drawn") - drawn
        finally:
            browser.close()
    return count / lasted, drawn / lasted, (after[0] - before[0]) / lasted, (after[1] - before[1]) / lasted


def play(numbers: Iterator[int], show: Show, hz: float, seconds: float) -> int:
    """Show frames at that rate, or as fast as it goes. Returns how many."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        show(next(numbers))
        count += 1
        time.sleep(max(0.0, began + count / hz - time.monotonic()))
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="output folder of ./run register")
    parser.add_argument("--hz", type=float, default=30.0, help="frames shown a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each is measured (default %(default)s)")
    options = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        print("error: no browser to drive: pip install playwright", file=sys.stderr)
        return 2
    if not any(map(shutil.which, BROWSERS)):
        print("error: no Chromium: apt-get install chromium-headless-shell", file=sys.stderr)
        return 2
    frames = Frames(options.run)
    height, width = frames.images[0].shape[:2]
    print(f"{len(frames.images)} frames, {width}x{height}, {len(frames.mesh.reference)} vertices, at {options.hz:g} Hz\n")
    print("| viewer | shown, Hz | drawn, Hz | program | browser |\n|---|---|---|---|---|")
    with sync_playwright() as driver:
        for name, viewer in (("the page", page_viewer), ("Rerun", rerun_viewer)):
            shown, drawn, program, browser = measure(driver, viewer, frames, options.hz, options.seconds)
            print(f"| {name} | {shown:.1f} | {drawn:.1f} | {program:.0%} | {browser:.0%} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
