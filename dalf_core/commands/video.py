"""`./run video CLIP --output film.mp4`: register every frame of a clip, in 2D, to one of them, and show it.

The film shows, side by side: the frame with the template's grid as it lies in it | the frame as the template sees it, dark where
no match supports that | the template. Ctrl-C leaves a film and a table of what was done.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..interruption import Interruption
from ..options import SECOND_LOOK, add_features_every, add_options
from ..progress_bar import progress_bar
from ..recordings.live_video import LiveVideo, is_live
from ..recordings.picture_sequence import FPS, PictureSequence, find_pictures
from ..viewing.rerun_log import RerunLog, add_rerun_option, rerun_log
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor, program
from .files import check_output
from .frame_table import SUFFIXES, FrameRow, summarise, write_table

if TYPE_CHECKING:
    from ..image_registration.video import VideoWriter
    from ..image_registration.video_reader import VideoReader
    from ..tracking.template_tracking import TemplateFrame, TemplateTracker


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog=program("video"), description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("clip", metavar="CLIP",
                   help="any film that FFmpeg reads; pictures: a folder, a pattern (rgb_%%03d.png) or a glob ('*.png'); a camera: 0, "
                        "/dev/video0; a stream: rtsp://…, http://… (of these two, pictures that come while one is worked on are left out)")
    p.add_argument("--fps", type=float, default=FPS, help="pictures a second, where CLIP is pictures")
    p.add_argument("--output", type=Path, default=Path("out/registered.mp4"), help="the film to make, .mp4; replaced if it is there")
    p.add_argument("--table", type=Path, help="counts of every frame, as .csv or .json")
    p.add_argument("--reference", type=int, default=0, metavar="N", help="number of the frame to register to")
    p.add_argument("--max-frames", "--frames", type=int, metavar="N", help="stop after so many frames")
    p.add_argument("--panel-width", type=int, default=640, help="pixels; wider clips are reduced to it in the film")
    add_extractor_options(p)
    add_features_every(p)
    add_options(p, SECOND_LOOK)
    add_rerun_option(p)
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 2 an error, told in one line; 130 interrupted, with what was done kept."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    from ..tracking.template_tracking import TemplateTracker

    check_options(options)
    with open_clip(options.clip, options.fps) as clip:
        template = clip.frame(options.reference)
        tracker = TemplateTracker(make_extractor(options), template, look_every=options.features_every,
                                 second_look=options.second_look)
        job = Job(options, clip, tracker, template)
        with rerun_log(options.rerun, clip_name(options.clip)) as log:
            with Interruption() as interruption:
                rows = job.work(interruption, log)
            broken = clip.problem if isinstance(clip, LiveVideo) else ""
            _report(options, rows, job.total, interruption, broken)
            if log is not None and not interruption.asked:
                log.wait()
    return interruption.exit_code or (2 if broken else 0)


def _report(options: argparse.Namespace, rows: list[FrameRow], total: int | None, interruption: Interruption, broken: str) -> None:
    """Write the table, and tell what came out. broken: why a stream ended early."""
    if interruption.asked:
        of = "" if total is None else f" of {total}"
        print(f"interrupted after {len(rows)}{of} frames; what was done is kept", file=sys.stderr)
    elif broken:
        print(f"error: {broken}; what was done is kept", file=sys.stderr)
    if rows:
        if options.table:
            write_table(options.table, rows, clip_name(options.clip), options.reference)
        print(summarise(rows))
        print(f"written: {options.output}")


def check_options(options: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything slow happens. Raises ValueError or OSError."""
    for name in ("max_frames", "panel_width"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if not (np.isfinite(options.fps) and options.fps > 0):
        raise ValueError(f"--fps {options.fps:g}: must be greater than 0")
    inputs = [] if is_live(options.clip) else [Path(options.clip)]
    check_output(options.output, (".mp4",), inputs)
    if options.table:
        check_output(options.table, SUFFIXES, [*inputs, options.output])


def open_clip(name: str, fps: float) -> VideoReader | PictureSequence | LiveVideo:
    """What a name stands for: a camera or stream, pictures, or a film. Raises what these raise."""
    from ..image_registration.video_reader import VideoReader

    if is_live(name):
        return LiveVideo(name)
    pictures = find_pictures(Path(name))
    return VideoReader(name) if pictures is None else PictureSequence(pictures, fps)


def clip_name(name: str) -> str:
    """A film's name without its folder; a camera or stream as it is."""
    return name if is_live(name) else Path(name).name


@dataclass(frozen=True)
class Job:
    """One clip's way through the tracker into the film."""

    options: argparse.Namespace
    clip: VideoReader | PictureSequence | LiveVideo
    tracker: TemplateTracker
    template: np.ndarray

    @property
    def total(self) -> int | None:
        """Frames to do; None: until the stream ends."""
        known = [count for count in (self.clip.frames, self.options.max_frames) if count is not None]
        return min(known, default=None)

    def work(self, interruption: Interruption, log: RerunLog | None = None) -> list[FrameRow]:
        """Register frame by frame until the clip ends or somebody asks to stop. The film is closed however this ends.

        Its pictures are made in a thread beside.
        """
        from ..drawing.in_turn import InTurn
        from ..image_registration.video import VideoWriter
        from ..viewing.flat_mesh import FlatMesh
        from .rerun_frames import log_frame

        rows = []
        mesh = FlatMesh.of(self.template)
        film = VideoWriter(self.options.output, self.clip.fps)
        with InTurn(film.close) as beside, progress_bar(total=self.total, unit="frame") as bar:
            for number, image, frame in self._frames():
                rows.append(FrameRow.of(number, float(self.clip.times[number]), frame))
                beside.call(self._to_film, film, number, float(self.clip.times[number]), image, frame)
                if log is not None:
                    log_frame(log, mesh, number, float(self.clip.times[number]), image, frame)
                bar.set_postfix_str(f"{frame.method}, {frame.used} used", refresh=False)
                bar.update()
                if interruption.asked:
                    break
        return rows

    def _to_film(self, film: VideoWriter, number: int, time_s: float, image: np.ndarray, frame: TemplateFrame) -> None:
        film.write(self._picture(number, image, frame), time_s)

    def _frames(self) -> Iterator[tuple[int, np.ndarray, TemplateFrame]]:
        from ..tracking.template_tracking import REFERENCE

        for number, image in enumerate(islice(self.clip, self.total)):
            frame = self.tracker.process(image)
            yield number, image, replace(frame, method=REFERENCE) if number == self.options.reference else frame

    def _picture(self, number: int, image: np.ndarray, frame: TemplateFrame) -> np.ndarray:
        """The film's picture of one frame."""
        from ..drawing.draw_warp import draw_deformation_grid, draw_registered
        from ..drawing.palette import DARK, GRID
        from ..drawing.panels import compose

        if frame.warp is None:
            panels = [image, np.zeros_like(self.template), self.template]
        else:
            panels = [draw_deformation_grid(image, frame.warp), draw_registered(image, frame.warp), self.template]
        scale = min(1.0, self.options.panel_width / image.shape[1])
        if scale < 1:
            panels = [cv2.resize(panel, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for panel in panels]
        how = f"lost: {frame.reason}" if frame.warp is None else \
            f"{frame.method}: {frame.verified} verified, {frame.carried} carried, {frame.used} used; {frame.supported:.0%} of the " \
            f"template seen, ZNCC {frame.zncc:.2f}"
        titles = (f"frame {number}", "the frame as the template sees it", f"template: frame {self.options.reference}")
        return compose(panels, titles, how, [(GRID, "the template's grid"), (DARK, "dark: no match supports the map")])


if __name__ == "__main__":
    sys.exit(main())
