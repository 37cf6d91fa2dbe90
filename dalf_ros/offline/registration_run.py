"""One run over a recording: the same trackers as the nodes, every frame in turn, results to a bag, metrics and pictures."""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from dalf_core import DALF
from dalf_core.camera import PinholeCamera
from dalf_core.interruption import Interruption
from dalf_core.lens import Lens
from dalf_core.surface import save_ply
from dalf_core.tracking import FeatureFrame, FeatureTracker, FrameMatches, SurfaceFrame, SurfaceTracker

from ..bags.bag_reader import RgbdFrame, count_frames, read_camera, read_frames
from ..bags.bag_source import BagError, BagSource
from ..bags.bag_topics import CameraTopics, choose_topics
from ..bags.bag_writer import BagWriter
from ..conversions import topics
from ..conversions.messages import NANOSECONDS
from ..conversions.pinhole_view import PinholeView, pinhole_view
from ..conversions.results import SurfaceResults, feature_results
from ..conversions.stamps import has_restarted
from .run_output import OutputFolder, summarise
from .run_pictures import RunPictures, Shot

FEATURE_WANTED = (topics.FEATURES, topics.MATCHES, topics.DEBUG_COMPRESSED)
SURFACE_WANTED = topics.SURFACE_TOPICS


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks. Returns the exit status; raises BagError, RuntimeError or ValueError with one line for the user."""
    with BagSource(options.bag) as source:
        chosen = choose_topics(source.topics, color=options.color_topic, depth=options.depth_topic,
                               camera_info=options.camera_info_topic, mask=options.mask_topic, bag=str(options.bag),
                               with_depth=not options.no_depth)
        camera = _camera(source, chosen, options)
        output = OutputFolder(options.output, options.overwrite)
        _announce(source, chosen)
        dalf = DALF(options.weights, device=options.device, top_k=options.top_k)
        session = Session(options, dalf, camera, has_depth=chosen.depth is not None)
        total = count_frames(source, chosen)
        if options.max_frames is not None:
            total = min(total, options.max_frames) if total is not None else options.max_frames
        with Interruption() as interruption:
            _loop(session, read_frames(source, chosen, options.tolerance), total, output, interruption, options)
        if source.damaged:
            print(f"warning: {source.damaged}", file=sys.stderr)
    return _report(session, output, interruption, chosen)


def _camera(source: BagSource, chosen: CameraTopics, options: argparse.Namespace) -> Lens | tuple | None:
    """The colour camera; as four numbers while the image size is not known; None when there is no depth."""
    if chosen.depth is None:
        return None
    if options.intrinsics is not None:
        return options.intrinsics
    lens = read_camera(source, chosen)
    if not lens.is_pinhole:
        print(f"{chosen.camera_info}: {lens.model} distortion, which is undone before registration")
    return lens


def _announce(source: BagSource, chosen: CameraTopics) -> None:
    """Say what will be read, and what that means."""
    if source.damaged:
        print(f"warning: {source.damaged}", file=sys.stderr)
    print(f"colour: {chosen.color}, depth: {chosen.depth}, camera_info: {chosen.camera_info}, mask: {chosen.mask}")
    if chosen.depth is None:
        print("This recording has no depth: images are matched, but there is no surface to follow.")


class Session:
    """The trackers and what has been measured so far."""

    def __init__(self, options: argparse.Namespace, dalf: DALF, camera: Any, has_depth: bool) -> None:
        self.options, self.dalf, self.camera, self.has_depth = options, dalf, camera, has_depth
        self.features = FeatureTracker(dalf, image_scale=options.image_scale, max_keyframes=options.max_keyframes)
        self.surfaces = SurfaceTracker(max_vertices=options.max_vertices, node_spacing=options.node_spacing, pieces=options.pieces,
                                       grow_to=options.grow_to)
        self.results = SurfaceResults(self.surfaces)
        self.frames: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._last_stamp_ns: int | None = None

    def process(self, frame: RgbdFrame, bag: BagWriter) -> Shot:
        """One frame through the trackers; results to the bag; an entry for metrics.json."""
        if has_restarted(frame.stamp_ns, self._last_stamp_ns):
            self.features.reset()
            self.surfaces.reset()
        self._last_stamp_ns = frame.stamp_ns
        if isinstance(self.camera, tuple):
            self.camera = Lens(PinholeCamera(*self.camera, width=frame.image.shape[1], height=frame.image.shape[0]))
        features, problem = self._extract(frame)
        view = self._pinhole_view(frame, features)
        surface = None if view is None else self.surfaces.process(view.matches, view.depth_m, view.camera, view.image, view.mask)
        entry = _entry(frame, features, surface, self.has_depth, problem or frame.problem)
        started = time.perf_counter()
        self._write(frame, features, view, surface, entry, bag)
        entry["milliseconds"]["write"] = 1e3 * (time.perf_counter() - started)
        self.frames.append(entry)
        seconds = entry["stamp"] - self.frames[0]["stamp"]
        text = f"{len(self.frames) - 1}: {seconds:.2f} s  {entry['status']}  {entry['inliers']}/{entry['matches']}"
        camera = self.camera.camera.scaled(frame.image.shape[1], frame.image.shape[0]) if self.has_depth else None
        pinhole_image = self.camera.rectify_image(frame.image) if self.has_depth else frame.image
        return Shot(len(self.frames) - 1, frame.stamp_ns, frame.image, features, surface, self.surfaces.triangles, self.surfaces.colors,
                    self.surfaces.reference_vertices, camera, pinhole_image, text)

    def _extract(self, frame: RgbdFrame) -> tuple[FeatureFrame | None, str]:
        """Features and matches, or None and why an image has none (all black, for one)."""
        try:
            return self.features.process(frame.image, frame.stamp_ns, frame.mask), ""
        except ValueError as error:
            return None, str(error)

    def _pinhole_view(self, frame: RgbdFrame, features: FeatureFrame | None) -> PinholeView | None:
        """The frame with its lens distortion undone; None where there is nothing to register."""
        if features is None or features.matches is None or frame.depth_m is None or self.camera is None:
            return None
        return pinhole_view(self.camera, features.matches, frame.depth_m, frame.image, frame.mask)

    def _write(self, frame: RgbdFrame, features: FeatureFrame | None, view: PinholeView | None, surface: SurfaceFrame | None,
               entry: dict, bag: BagWriter) -> None:
        if features is not None:
            found = feature_results(features, frame.image, frame.stamp_ns, frame.frame_id, FEATURE_WANTED, self.options.descriptors)
            bag.write_results(found, frame.stamp_ns)
        if surface is None or view is None:
            return
        bag.write_results(self.results.surface(surface, frame.frame_id, SURFACE_WANTED), frame.stamp_ns)
        lines = self.results.landmarks(surface, view.matches, view.depth_m, view.camera, frame.frame_id, SURFACE_WANTED)
        bag.write_results(lines, frame.stamp_ns)
        bag.write_results([self.results.status(surface, frame.frame_id, sum(entry["milliseconds"].values()), 0)], frame.stamp_ns)


def _entry(frame: RgbdFrame, features: FeatureFrame | None, surface: SurfaceFrame | None, has_depth: bool, problem: str) -> dict[str, Any]:
    """One frame of metrics.json. status: the surface's; "matched" in a recording without depth; "no_depth", "no_image", "waiting"."""
    matches = features.matches if features is not None else None
    if surface is not None:
        status, reason = surface.status, surface.reason
    elif features is None:
        status, reason = "no_image", problem
    elif matches is None:
        status, reason = "waiting", f"only {len(features.features)} keypoints: too few for a reference"
    else:
        status, reason = ("no_depth", problem) if has_depth else ("matched", "")
    verified = 0 if matches is None else int(matches.matches.inlier.sum())
    return {
        "stamp": frame.stamp_ns / NANOSECONDS,
        "stamp_ns": frame.stamp_ns,
        "status": status,
        "reason": reason,
        "matches": 0 if matches is None else len(matches.matches),
        "verified": verified,
        "inliers": verified if surface is None else surface.inliers,
        "residual_m": None if surface is None or surface.registration is None else float(surface.registration.residual_m),
        "is_reference": surface.is_reference if surface is not None else _is_reference(matches),
        "milliseconds": dict(features.milliseconds if features else {}) | _surface_stages(surface),
    }


def _is_reference(matches: FrameMatches | None) -> bool:
    return matches is not None and matches.stamp_ns == matches.reference_stamp_ns


def _surface_stages(surface: SurfaceFrame | None) -> dict[str, float]:
    """"register" holds the solver's own stages: only the outer ones are kept, so that they add up."""
    if surface is None:
        return {}
    return {stage: value for stage, value in surface.milliseconds.items() if stage in ("reference", "register")}


def _loop(session: Session, frames: Iterator[RgbdFrame], total: int | None, output: OutputFolder, interruption: Interruption,
          options: argparse.Namespace) -> None:
    """Every frame in turn. However it ends, the bag, the pictures and the metrics of what was done are finished."""
    started = time.perf_counter()
    output.clear()
    film = None if options.no_video else output.video
    whole = False
    try:
        with BagWriter(output.bag) as bag, RunPictures(output.sheet, film, total) as pictures, tqdm(total=total, unit="frame") as bar:
            for frame in frames:
                shot = session.process(frame, bag)
                pictures.add(shot)
                _write_surfaces(session, shot, pictures.chosen, output)
                session.seconds = time.perf_counter() - started
                bar.set_postfix_str(session.frames[-1]["status"], refresh=False)
                bar.update()
                if interruption.asked or len(session.frames) == options.max_frames:
                    break
        whole = not interruption.asked
    finally:
        if session.frames:
            about = {"bag": str(options.bag), "weights": str(session.dalf.weights), "device": str(session.dalf.device),
                     "interrupted": not whole}
            output.write_metrics({"frames": session.frames, "summary": summarise(session.frames, session.seconds) | about})
        else:
            output.discard()
    if not session.frames:
        raise BagError(f"{options.bag} has no colour images that could be read")


def _write_surfaces(session: Session, shot: Shot, chosen: set[int], output: OutputFolder) -> None:
    """PLY of the reference when it is new, and of the followed surface in the frames that the contact sheet shows."""
    if shot.surface is None or shot.surface.registration is None:
        return
    surface = session.surfaces.surface
    if shot.surface.is_reference:
        save_ply(output.reference, surface.vertices, surface.triangles, surface.colors, surface.normals)
    if shot.number in chosen:
        result = shot.surface.registration
        save_ply(output.surfaces / f"frame_{shot.number:06d}.ply", result.vertices, surface.triangles, surface.colors, result.normals)


def _report(session: Session, output: OutputFolder, interruption: Interruption, chosen: CameraTopics) -> int:
    """Tell what came out. Returns the exit status."""
    summary = summarise(session.frames, session.seconds)
    counts = ", ".join(f"{status} {count}" for status, count in summary["status"].items())
    print(f"{summary['frames']} frames in {session.seconds:.1f} s ({summary['frames_per_second']:.2f} a second): {counts}")
    print(f"median matches {summary['median_matches']:.0f}, inliers {summary['median_inliers']:.0f}")
    if chosen.depth is not None:
        residual = summary["median_residual_m"]
        fit = "" if residual is None else f", median depth residual {1e3 * residual:.2f} mm"
        print(f"tracked {summary['tracked_fraction']:.0%}{fit}")
    print("written:\n" + output.list())
    if interruption.asked:
        print("interrupted: what was done until then is kept and readable", file=sys.stderr)
    return interruption.exit_code
