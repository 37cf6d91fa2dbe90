"""`./run live 0`: follow what a webcam sees, in 2D, on a page in the browser. No ROS. With --depth: a surface, in 3D.

The page shows the camera's image with its matches to the reference, the reference image as a sheet that moves and bends with what is seen,
and how it goes; its buttons take a new reference. With --depth it is the surface that the camera sees, in metres.
"""
from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..interruption import Interruption
from ..options import MAX_DEPTH, MIN_DEPTH, add_options
from ..recordings.live_video import LiveVideo, is_live
from ..viewing.page_server import HOST, PORT, PageServer
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor, program

if TYPE_CHECKING:
    from ..tracking.background_tracker import BackgroundTracker, ImageResult

NEW_REFERENCE = "set reference", "reset"        # captions; both take the next usable image


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("live"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("source", nargs="?", default="0", metavar="SOURCE",
                   help="a camera: its number, /dev/video2; a stream: rtsp://…, http://…; or a film, at its own speed, again and again")
    p.add_argument("--max-frames", "--frames", type=int, metavar="N", help="stop after so many frames")
    p.add_argument("--width", type=int, default=640, help="wider images are reduced to it, pixels")
    p.add_argument("--depth", metavar="SOURCE", help="depth on the same pixels: a V4L2 camera (Z16, Y16), as /dev/video2; or, beside a "
                   "film, a film of 16-bit grey pictures")
    p.add_argument("--intrinsics", metavar="FX,FY,CX,CY|FILE",
                   help="with --depth: of the colour pictures, pixels, or a file that tells them")
    p.add_argument("--depth-scale", type=float, default=0.001, metavar="SCALE", help="metres that one unit of depth's numbers is")
    add_options(p, MIN_DEPTH, MAX_DEPTH)
    add_page_options(p)
    add_extractor_options(p)
    return p


def add_page_options(p: argparse.ArgumentParser) -> None:
    """--host, --port: where the page is served."""
    p.add_argument("--host", default=HOST, help="address to serve the page at; 0.0.0.0: to the whole network, which nothing protects")
    p.add_argument("--port", type=_port, default=PORT, help="of the page")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a number from 1 to 65535, not {text!r}")
    return int(text)


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done, also when ended by Ctrl-C; 2 an error, told in one line."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    for name in ("max_frames", "width"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if not options.depth_scale > 0:
        raise ValueError(f"--depth-scale {options.depth_scale:g}: must be greater than 0")
    if options.min_depth >= options.max_depth:
        raise ValueError(f"--min-depth {options.min_depth:g} must be below --max-depth {options.max_depth:g}")
    if options.depth is None and options.intrinsics is not None:
        raise ValueError("--intrinsics belongs to --depth: without depth nothing is in metres")
    if options.depth is not None and options.intrinsics is None:
        raise ValueError("--depth needs the camera's intrinsics: give --intrinsics fx,fy,cx,cy (pixels of the colour pictures) or a file")
    return _in_2d(options) if options.depth is None else _in_3d(options)


def _in_2d(options: argparse.Namespace) -> int:
    from .looped_film import LoopedFilm

    with LiveVideo(options.source) if is_live(options.source) else LoopedFilm(Path(options.source)) as source:
        source.frame(0)     # before the network is loaded, which takes seconds: is there a picture at all?
        _serve(source, options, lambda page, tracker, asked: Live(page, tracker, asked, options.width))
    return 0


def _in_3d(options: argparse.Namespace) -> int:
    from ..image_registration.video_reader import VideoReader
    from ..recordings.camera_files import read_intrinsics
    from ..recordings.depth_video import PairedVideo, check_kinds
    from .live_surface import LiveSurface

    check_kinds(options.source, options.depth)
    color = LiveVideo(options.source) if is_live(options.source) else VideoReader(options.source)
    with color, PairedVideo(color, options.depth) as source:
        lens = read_intrinsics(options.intrinsics, source.size)
        _serve(source, options, lambda page, tracker, asked: LiveSurface(page, tracker, asked, lens, options))
    return 0


def _serve(source: Any, options: argparse.Namespace, made: Callable[..., Any]) -> None:
    """The page, and on it what `made` makes of page, tracker and the event that asks for a new reference. RuntimeError: it broke off."""
    from ..tracking.background_tracker import BackgroundTracker, background_executor
    from ..tracking.feature_tracker import FeatureTracker

    asked = threading.Event()

    def new_reference() -> str:
        asked.set()
        return "the next image becomes the reference, once DALF has seen it"

    with PageServer(f"dalf: {options.source}", dict.fromkeys(NEW_REFERENCE, new_reference), options.host, options.port) as page:
        page.show_status("waiting", "loading the network")
        print(f"open {page.url} in a browser; Ctrl-C ends", flush=True)
        executor = background_executor()
        try:
            with Interruption() as interruption:
                tracker = BackgroundTracker(FeatureTracker(make_extractor(options), max_keyframes=0), executor)
                live = made(page, tracker, asked)
                live.warm_up()
                live.follow(source, options.max_frames, interruption)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
    if (problem := getattr(source, "problem", "")) and not interruption.asked:
        raise RuntimeError(problem)


class Live:
    """From images to the page. width: wider ones are reduced to it, pixels."""

    def __init__(self, page: PageServer, tracker: BackgroundTracker, asked: threading.Event, width: int) -> None:
        from ..viewing.flat_mesh import FlatMesh
        from ..viewing.frame_rate import FrameRate

        self._page, self._tracker, self._asked = page, tracker, asked
        self._mesh: FlatMesh | None = None
        self._rate = FrameRate()
        self._width = width

    def warm_up(self) -> None:
        """Compile what is compiled on first use."""
        self._tracker.warm_up()

    def follow(self, source: Any, max_frames: int | None, interruption: Interruption) -> None:
        """Until the source ends, somebody presses Ctrl-C, or so many frames have come."""
        from ..viewing.live_picture import reduced

        for image in islice(source, max_frames):
            if interruption.asked:
                break
            if self._asked.is_set():
                self._asked.clear()
                self._tracker.reset()
                self._mesh = None
            self.process(reduced(image, self._width), time.monotonic_ns())

    def process(self, image: np.ndarray, stamp_ns: int) -> None:
        """One image through the tracker and onto the page."""
        newest = None
        for result in self._tracker.process(image, stamp_ns):
            matches = result.frame.matches if result.frame else None
            if matches is not None and matches.stamp_ns == matches.reference_stamp_ns:
                self._take_reference(result)
            elif result.stamp_ns == stamp_ns:
                newest = result
            elif result.frame is None:
                self._page.show_note(result.problem)
        if self._mesh is None:
            self._show(image, None)
            self._page.show_status("waiting", "waiting for DALF's first look: hold still what is to be followed")
        else:
            self._show_result(image, newest)

    def _take_reference(self, result: ImageResult) -> None:
        from ..viewing.flat_mesh import FlatMesh

        self._mesh = FlatMesh.of(result.image)
        self._page.show_topology(self._mesh.triangles, self._mesh.colors)
        matches = result.frame.matches if result.frame else None
        self._page.show_note(f"the reference has {len(matches.matches) if matches else 0} keypoints")

    def _show_result(self, image: np.ndarray, result: ImageResult | None) -> None:
        from ..image_registration.image_warp import MIN_MATCHES, ImageWarpError, fit_image_warp
        from ..matching.verification import MIN_VERIFIED

        self._rate.tick()
        matches = result.frame.matches if result and result.frame else None
        self._show(image, matches)
        count = 0 if matches is None else int(matches.matches.inlier.sum())
        warp = None
        if matches is not None and count >= max(MIN_MATCHES, MIN_VERIFIED):
            use = matches.matches.inlier
            try:
                warp = fit_image_warp(matches.reference_xy[use], matches.query_xy[use], matches.reference_image_size, matches.image_size)
            except ImageWarpError:
                pass
        if warp is None or self._mesh is None:
            self._page.show_status("lost", f"lost, {self._rate.hz:.0f} Hz, {count} matches")
            return
        left = np.linalg.norm(warp.image_positions(warp.template_xy[warp.inlier]) - warp.image_xy[warp.inlier], axis=1)
        self._page.show_surface(*self._mesh.moved(warp))
        self._page.show_status("tracked", f"tracked, {self._rate.hz:.0f} Hz, {np.sqrt((left**2).mean()):.1f} px, {count} matches, "
                                          f"{warp.support.mean():.0%} of the reference seen")

    def _show(self, image: np.ndarray, matches: Any) -> None:
        """The image with its matches, where somebody looks."""
        from ..viewing.live_picture import live_picture

        if self._page.viewers:
            self._page.show_image(live_picture(image, matches))


if __name__ == "__main__":
    sys.exit(main())
