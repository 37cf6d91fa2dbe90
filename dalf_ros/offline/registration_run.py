"""One run over a recording: the same trackers as the nodes, every frame in turn, results to a bag, metrics and pictures."""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import cv2

from dalf_core import DALF
from dalf_core.files.whole_file import write_whole
from dalf_core.interruption import Interruption
from dalf_core.lens import Lens
from dalf_core.progress_bar import progress_bar
from dalf_core.recordings.rgbd_frame import RgbdFrame
from dalf_core.surface import save_ply
from dalf_core.viewing.rerun_log import RerunLog, rerun_log

from ..bags.bag_source import BagError
from ..bags.bag_writer import BagWriter
from .recording import Recording, open_recording
from .report_writer import write_report
from .rerun_shots import log_shot
from .run_origin import origin, told_options
from .run_output import OutputFolder, summarise, why_nothing_followed
from .run_pictures import RunPictures, Shot
from .session import UNREADABLE, Session


def run(options: argparse.Namespace, dalf: DALF | None = None) -> int:
    """Do what the command line asks. Returns the exit status; raises BagError, RuntimeError or ValueError with one line for the user.

    dalf: the extractor that the options ask for, where there is one already: to make one takes seconds.
    """
    with open_recording(options) as recording, ExitStack() as at_the_end:
        camera = _camera(recording, options)
        output = OutputFolder(options.output, options.overwrite, keep=options.recording)
        at_the_end.callback(output.remove_if_empty)
        _announce(recording)
        dalf = dalf or DALF(options.weights or None, device=options.device, top_k=options.top_k, precision=options.precision)
        session = Session(options, dalf, camera, recording)
        total = recording.count
        if options.max_frames is not None:
            total = min(total, options.max_frames) if total is not None else options.max_frames
        with rerun_log(options.rerun, options.recording.name) as log:
            with Interruption() as interruption:
                _loop(session, session.look_ahead(recording.frames()), total, output, interruption, options, log)
            if log is not None and not interruption.asked:
                log.wait()
        if recording.warning:
            print(f"warning: {recording.warning}", file=sys.stderr)
    return _report(session, output, interruption, options.no_report)


def _camera(recording: Recording, options: argparse.Namespace) -> Lens | tuple | None:
    """The colour camera; as four numbers while the image size is not known; None when there is no depth."""
    if not recording.has_depth:
        return None
    return options.intrinsics if isinstance(options.intrinsics, tuple) else recording.camera()


def _announce(recording: Recording) -> None:
    """Say what will be read, and what that means."""
    if recording.warning:
        print(f"warning: {recording.warning}", file=sys.stderr)
    print(recording.description)
    if not recording.has_depth:
        print("This recording has no depth: images are matched, but there is no surface to follow.")


def _loop(session: Session, frames: Iterator[RgbdFrame], total: int | None, output: OutputFolder, interruption: Interruption,
          options: argparse.Namespace, log: RerunLog | None) -> None:
    """Every frame in turn. However it ends, the bag, the pictures and the metrics of what was done are finished."""
    started = time.perf_counter()
    output.clear()
    film = None if options.no_video else output.video
    whole = False
    try:
        with BagWriter(output.bag) as bag, RunPictures(output.sheet, film, total, session.has_depth) as pictures, \
                progress_bar(total=total, unit="frame") as bar:
            for frame in frames:
                shot = session.process(frame, bag)
                if session.selection is not None:
                    print(f"\nselected: look at {output.selection}", file=sys.stderr)
                    write_whole(output.selection, cv2.imencode(".png", session.selection)[1].tobytes())
                    session.selection = None
                if shot is not None:
                    pictures.add(shot)
                    if log is not None:
                        log_shot(log, shot, session.frames[-1]["stamp"] - session.frames[0]["stamp"], session.frames[-1]["status"])
                    _write_surfaces(session, shot, pictures.chosen, output)
                session.seconds = time.perf_counter() - started
                bar.set_postfix_str(session.frames[-1]["status"], refresh=False)
                bar.update()
                if interruption.asked or len(session.frames) == options.max_frames:
                    break
        whole = not interruption.asked
    finally:
        read = any(frame["status"] != UNREADABLE for frame in session.frames)
        if read:
            about = {"recording": str(options.recording), "weights": str(session.dalf.weights), "device": str(session.dalf.device),
                     "interrupted": not whole}
            output.write_metrics({"frames": session.frames, "summary": summarise(session.frames, session.seconds) | about,
                                  "options": told_options(options) | origin(session.dalf)})
        else:
            output.discard()
    if not read:
        why = f": {session.frames[0]['reason']}" if session.frames else ""
        raise BagError(f"{options.recording} has no colour images that could be read{why}")


def _write_surfaces(session: Session, shot: Shot, chosen: set[int], output: OutputFolder) -> None:
    """PLY of the reference when it is new, and of the followed surface in the frames that the contact sheet shows."""
    if shot.surface is None or shot.surface.registration is None:
        return
    surface = session.surfaces.surface
    if shot.surface.is_reference or not output.reference.exists():      # a template's is never a frame's
        save_ply(output.reference, surface.vertices, surface.triangles, surface.colors, surface.normals)
    if shot.number in chosen:
        result = shot.surface.registration
        save_ply(output.surfaces / f"frame_{shot.number:06d}.ply", result.vertices, surface.triangles, surface.colors, result.normals)


def _report(session: Session, output: OutputFolder, interruption: Interruption, no_page: bool) -> int:
    """Tell what came out, and make a page of it unless `no_page`. Returns the exit status. Raises BagError: the page has no room."""
    summary = summarise(session.frames, session.seconds)
    counts = ", ".join(f"{status} {count}" for status, count in summary["status"].items())
    print(f"{summary['frames']} frames in {session.seconds:.1f} s ({summary['frames_per_second']:.2f} a second): {counts}")
    print(f"median matches {summary['median_matches']:.0f}, inliers {summary['median_inliers']:.0f}")
    if session.has_depth:
        residual = summary["median_residual_m"]
        fit = "" if residual is None else f", median depth residual {1e3 * residual:.2f} mm"
        print(f"tracked {summary['tracked_fraction']:.0%}{fit}")
    print("written:\n" + output.list())
    if not no_page:
        print(f"  {write_report(output.path)}: open it in a browser")
    if interruption.asked:
        print("interrupted: what was done until then is kept and readable", file=sys.stderr)
        return interruption.exit_code
    if problem := why_nothing_followed(session.frames, session.has_depth, session.options.template):
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0
