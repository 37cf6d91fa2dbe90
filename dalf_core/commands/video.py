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
from ..recordings.picture_sequence import FPS, PictureSequence, find_pictures
from .command_line import HelpWithDefaults, add_extractor_options, exit_status, make_extractor
from .files import check_output
from .frame_table import SUFFIXES, FrameRow, summarise, write_table

if TYPE_CHECKING:
    from ..image_registration.video_reader import VideoReader
    from ..tracking.template_tracking import TemplateFrame, TemplateTracker


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="./run video", description=__doc__, formatter_class=HelpWithDefaults)
    p.add_argument("clip", type=Path, metavar="CLIP",
                   help="any film that FFmpeg reads; or pictures: a folder, a pattern (rgb_%%03d.png) or a glob ('*.png')")
    p.add_argument("--fps", type=float, default=FPS, help="pictures a second, where CLIP is pictures")
    p.add_argument("--output", type=Path, required=True, help="the film to make, .mp4; replaced if it is there")
    p.add_argument("--table", type=Path, help="counts of every frame, as .csv or .json")
    p.add_argument("--reference", type=int, default=0, metavar="N", help="number of the frame to register to")
    p.add_argument("--max-frames", type=int, metavar="N", help="stop after so many frames")
    p.add_argument("--panel-width", type=int, default=640, help="pixels; wider clips are reduced to it in the film")
    add_extractor_options(p)
    add_features_every(p)
    add_options(p, SECOND_LOOK)
    return p


def main(args: list[str] | None = None) -> int:
    """Exit status: 0 done; 2 an error, told in one line; 130 interrupted, with what was done kept."""
    options = parser().parse_args(args)
    return exit_status(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises ValueError, OSError, RuntimeError with what is wrong."""
    from ..image_registration.video_reader import VideoReader
    from ..tracking.template_tracking import TemplateTracker

    check_options(options)
    pictures = find_pictures(options.clip)
    with VideoReader(options.clip) if pictures is None else PictureSequence(pictures, options.fps) as clip:
        template = clip.frame(options.reference)
        tracker = TemplateTracker(make_extractor(options), template, look_every=options.features_every,
                                 second_look=options.second_look)
        job = Job(options, clip, tracker, template)
        with Interruption() as interruption:
            rows = job.work(interruption)
        total = job.total
    if interruption.asked:
        print(f"interrupted after {len(rows)} of {total} frames; what was done is kept", file=sys.stderr)
    if rows:
        if options.table:
            write_table(options.table, rows, options.clip.name, options.reference)
        print(summarise(rows))
    return interruption.exit_code


def check_options(options: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything slow happens. Raises ValueError or OSError."""
    for name in ("max_frames", "panel_width"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if not (np.isfinite(options.fps) and options.fps > 0):
        raise ValueError(f"--fps {options.fps:g}: must be greater than 0")
    check_output(options.output, (".mp4",), [options.clip])
    if options.table:
        check_output(options.table, SUFFIXES, [options.clip, options.output])


@dataclass(frozen=True)
class Job:
    """One clip's way through the tracker into the film."""

    options: argparse.Namespace
    clip: VideoReader | PictureSequence
    tracker: TemplateTracker
    template: np.ndarray

    @property
    def total(self) -> int:
        """Frames to do."""
        return min(self.clip.frames, self.options.max_frames or self.clip.frames)

    def work(self, interruption: Interruption) -> list[FrameRow]:
        """Register frame by frame until the clip ends or somebody asks to stop. The film is closed however this ends."""
        from ..image_registration.video import VideoWriter

        rows = []
        with VideoWriter(self.options.output, self.clip.fps) as film, progress_bar(total=self.total, unit="frame") as bar:
            for number, image, frame in self._frames():
                rows.append(FrameRow.of(number, float(self.clip.times[number]), frame))
                film.write(self._picture(number, image, frame), float(self.clip.times[number]))
                bar.set_postfix_str(f"{frame.method}, {frame.used} used", refresh=False)
                bar.update()
                if interruption.asked:
                    break
        return rows

    def _frames(self) -> Iterator[tuple[int, np.ndarray, TemplateFrame]]:
        from ..tracking.template_tracking import REFERENCE

        for number, image in enumerate(islice(self.clip, self.total)):
            frame = self.tracker.process(image)
            yield number, image, replace(frame, method=REFERENCE) if number == self.options.reference else frame

    def _picture(self, number: int, image: np.ndarray, frame: TemplateFrame) -> np.ndarray:
        """The film's picture of one frame."""
        from ..drawing.draw import beside, write_text
        from ..drawing.draw_warp import draw_deformation_grid, draw_registered

        if frame.warp is None:
            panels = [image, np.zeros_like(self.template), self.template]
        else:
            panels = [draw_deformation_grid(image, frame.warp), draw_registered(image, frame.warp), self.template]
        scale = min(1.0, self.options.panel_width / image.shape[1])
        if scale < 1:
            panels = [cv2.resize(panel, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for panel in panels]
        how = f"lost: {frame.reason}" if frame.warp is None else \
            f"{frame.method}   {frame.verified} verified, {frame.carried} carried, {frame.used} used   {frame.supported:.0%} seen   " \
            f"ZNCC {frame.zncc:.2f}"
        return write_text(beside(*panels), f"frame {number}   {how}")


if __name__ == "__main__":
    sys.exit(main())
