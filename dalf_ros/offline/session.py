"""The session over a recording: the same trackers as the nodes, one frame in turn."""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from math import inf
from typing import Any

import numpy as np

from dalf_core import DALF
from dalf_core.camera import PinholeCamera
from dalf_core.depth_units import unit_hint
from dalf_core.drawing.draw import draw_mask
from dalf_core.lens import Lens
from dalf_core.matching.prediction import Prediction
from dalf_core.options import NO_RULE
from dalf_core.recordings.rgbd_frame import RgbdFrame
from dalf_core.templates.selection import SelectionError
from dalf_core.templates.template import Template
from dalf_core.templates.template_file import load_template
from dalf_core.tracking import FeatureFrame, FeatureTracker, FrameMatches, SequentialTracker, SurfaceFrame, SurfaceTracker
from dalf_core.tracking.object_mask import followed_mask, selected_mask
from dalf_core.tracking.wanted_points import PointPlacer
from dalf_core.types import LOST, Registration

from ..bags.bag_source import BagError
from ..bags.bag_writer import BagWriter
from ..conversions import topics
from ..conversions.based_results import optical
from ..conversions.cloud_depth import cloud_depth
from ..conversions.depth_camera import DepthCamera
from ..conversions.image_size import SizeGuard, commonest_size
from ..conversions.messages import NANOSECONDS
from ..conversions.pinhole_view import PinholeView, lens_prediction, pinhole_view, view_lens
from ..conversions.results import SurfaceResults, feature_results
from ..conversions.stamps import has_restarted
from .recording import Recording
from .run_pictures import Shot

FEATURE_WANTED = (topics.FEATURES, topics.MATCHES, topics.DEBUG_COMPRESSED)
SURFACE_WANTED = topics.SURFACE_TOPICS
EARLIEST_NS = 1             # stamp of a template whose recording counts from 0
LOOK_AHEAD = 5              # frames that tell the recording's resolution
UNREADABLE, NO_MASK, UNUSABLE = "unreadable", "no_mask", "unusable"    # of frames that nothing was extracted from, or not registered


class Session:
    """The trackers and what has been measured so far."""

    def __init__(self, options: argparse.Namespace, dalf: DALF, camera: Any, recording: Recording) -> None:
        """camera: a Lens, four numbers of --intrinsics, or None without depth."""
        self._sizes = SizeGuard()
        self._depth_size: tuple[int, int] | None = None
        self.options, self.dalf, self.camera = options, dalf, camera
        self.has_depth, self._has_mask, self._recording = recording.has_depth, recording.has_mask, recording
        tracker = FeatureTracker(dalf, image_scale=options.image_scale, max_keyframes=options.max_keyframes,
                                 second_look=options.second_look)
        self.features = SequentialTracker(tracker, options.features_every)
        self._prediction: Prediction | None = None
        self._last_found: Registration | None = None    # of the frame before, unless it was lost there
        self.surfaces = SurfaceTracker(max_vertices=options.max_vertices, node_spacing=options.node_spacing or None, pieces=options.pieces,
                                       grow_to=options.grow_to, near_m=options.min_depth, far_m=options.max_depth,
                                       depth_noise_m=options.depth_noise)
        self._template = self._read_template(options.template) if options.template else None
        self._placer = PointPlacer(options.track_points, lambda text: print(f"warning: {text}", file=sys.stderr))
        self.results = SurfaceResults(self.surfaces)
        self.results.covariance_rate = inf
        self.frames: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._last_stamp_ns: int | None = None
        self._unit_is_checked = False
        self._selects = options.select is not None or options.auto_select != NO_RULE
        self.selection: np.ndarray | None = None        # a picture of what was selected, to be shown once

    def _read_template(self, path: str) -> Template:
        """With the features that are wanted here. Raises TemplateError, OSError; ValueError where it lacks the depth that there is."""
        template = load_template(path)
        ready = template.with_features(self.dalf, self.options.image_scale)
        if template.features is not None and ready is not template:
            print(f"template {template.name} was made with other weights or another image_scale: its features are extracted anew")
        if ready.surface is None and self.has_depth:
            raise ValueError(f"template {ready.name} has no depth: there is no surface to follow. Make it of a frame with depth, or give "
                             "--no-depth to match images alone")
        return ready

    def _adopt(self, template: Template, first_ns: int) -> None:
        """Follow a template; without depth, in the images alone. Its stamp is just before the first image's, and so no image has it."""
        stamp_ns = max(EARLIEST_NS, first_ns - 1)
        self.features.adopt(template, stamp_ns)
        if self.has_depth:
            self.surfaces.adopt(template, stamp_ns)

    def look_ahead(self, frames: Iterator[RgbdFrame]) -> Iterator[RgbdFrame]:
        """The frames as they are. Which resolution the recording has is told by its first few: the very first may be the odd one.

        The template, where there is one, is followed from here on.
        """
        first = list(islice(frames, LOOK_AHEAD))
        if self._template is not None and first:
            self._adopt(self._template, min(frame.stamp_ns for frame in first))
        self._sizes = SizeGuard(commonest_size(_size(frame.image) for frame in first if frame.image is not None))
        self._depth_size = commonest_size(_size(frame.depth_m) for frame in first if frame.depth_m is not None)
        return chain(first, frames)

    def process(self, frame: RgbdFrame, bag: BagWriter) -> Shot | None:
        """One frame through the trackers; results to the bag; an entry for metrics.json. None: a frame that nothing was extracted from.

        Raises BagError, SetupError where the recording cannot be registered at all.
        """
        if has_restarted(frame.stamp_ns, self._last_stamp_ns):
            self._reset()
        self._last_stamp_ns = frame.stamp_ns
        if skipped := self._skipped(frame):
            self.frames.append(_entry(frame, *skipped))
            return None
        if isinstance(self.camera, tuple):
            self.camera = Lens(PinholeCamera(*self.camera, width=frame.image.shape[1], height=frame.image.shape[0]))
        if self._selects:
            try:
                frame = replace(frame, mask=self._object_mask(frame))
            except SelectionError as error:
                self.frames.append(_entry(frame, NO_MASK, str(error)))
                return None
        features, problem = self._extract(frame)
        view, unusable = self._pinhole_view(frame, features)
        surface = None if view is None else self._follow(view)
        status, reason = (UNUSABLE, unusable) if unusable else _judged(features, surface, self.has_depth, problem or frame.problem)
        entry = _entry(frame, status, reason, features, surface)
        started = time.perf_counter()
        self._write(frame, features, view, surface, entry, bag)
        entry["milliseconds"]["write"] = 1e3 * (time.perf_counter() - started)
        self.frames.append(entry)
        return self._shot(frame, features, surface)

    def _object_mask(self, frame: RgbdFrame) -> np.ndarray | None:
        """Of what is selected; later where it was followed to. None while it is lost.

        Raises SelectionError where it has to be selected in a later frame, BagError on a bad pixel.
        """
        size, lens = _size(frame.image), self.camera
        if self.surfaces.surface is not None:
            last, camera = self._last_found, self.surfaces.registration.camera
            return None if last is None else followed_mask(last.vertices, self.surfaces.triangles, camera, lens, size)
        if frame.depth_m is None:
            raise SelectionError(f"no depth to select the object in: {frame.problem}")
        depth, own = self._depth(frame)
        if own is not None:
            raise BagError("to select an object, depth must be on the pixels of the colour image, and this recording's is not aligned: "
                           "take a mask, or align it")
        pixel, limits = self.options.select, {"near_m": self.options.min_depth, "far_m": self.options.max_depth}
        try:
            mask = selected_mask(depth, frame.image, self.options.auto_select if pixel is None else pixel, lens, **limits)
        except SelectionError as error:
            if pixel is None:       # a rule waits for what it finds
                raise
            raise BagError(f"--select: {error}") from error
        self.selection = draw_mask(frame.image, mask)
        return mask

    def _skipped(self, frame: RgbdFrame) -> tuple[str, str] | None:
        """Status and reason of a frame that nothing is extracted from; None where its image is to be used."""
        if frame.image is None:
            return UNREADABLE, frame.problem
        if self._has_mask and frame.mask is None:
            return NO_MASK, frame.problem
        try:
            change = self._sizes.check(*_size(frame.image))
        except ValueError as error:
            return UNUSABLE, str(error)
        if change:
            print(change)
            self._reset()
        return None

    def _reset(self) -> None:
        self.features.reset()
        self.surfaces.reset()

    def _follow(self, view: PinholeView) -> SurfaceFrame:
        surface = self.surfaces.process(view.matches, view.depth_m, view.camera, view.image, view.mask)
        self._last_found = None if surface.status == LOST else surface.registration
        self._placer.attend(self.surfaces, surface, self.camera, view.matches.image_size)
        prediction = self.surfaces.prediction()
        self._prediction = None if prediction is None else lens_prediction(prediction, self.camera, view.matches.image_size)
        return surface

    def _shot(self, frame: RgbdFrame, features: FeatureFrame | None, surface: SurfaceFrame | None) -> Shot:
        """What the pictures show of the frame processed last."""
        entry = self.frames[-1]
        seconds = entry["stamp"] - self.frames[0]["stamp"]
        kept = "the reference" if entry["is_reference"] else f"{entry['verified']} of {entry['matches']} matches kept"
        text = f"frame {len(self.frames) - 1}, {seconds:.2f} s: {entry['status']}, {kept}"
        camera = self.camera.camera.scaled(frame.image.shape[1], frame.image.shape[0]) if self.has_depth else None
        pinhole_image = self.camera.rectify_image(frame.image) if self.has_depth else frame.image
        return Shot(len(self.frames) - 1, frame.stamp_ns, frame.image, features, surface, self.surfaces.triangles, self.surfaces.colors,
                    self.surfaces.reference_vertices, camera, pinhole_image, text, self._template)

    def _extract(self, frame: RgbdFrame) -> tuple[FeatureFrame | None, str]:
        """Features and matches, or None and why an image has none (all black, for one)."""
        try:
            return self.features.process(frame.image, frame.stamp_ns, frame.mask, self._prediction), ""
        except ValueError as error:
            return None, str(error)

    def _pinhole_view(self, frame: RgbdFrame, features: FeatureFrame | None) -> tuple[PinholeView | None, str]:
        """The frame as a pinhole camera sees it, None where there is nothing to register; and why it cannot be used, else empty.

        What is wrong before there is a surface is wrong with the recording, and raised; not where depth alone has another resolution.
        """
        if features is None or features.matches is None or frame.depth_m is None or self.camera is None:
            return None, ""
        try:
            self._check_unit(frame)
            depth, own = self._depth(frame)
            lens = view_lens(self.camera, _size(depth), own)
            return pinhole_view(lens, features.matches, depth, frame.image, frame.mask, own), ""
        except ValueError as error:
            if self.surfaces.reference_vertices is None and self._depth_size in (None, _size(frame.depth_m)):
                raise
            return None, str(error)

    def _depth(self, frame: RgbdFrame) -> tuple[np.ndarray, DepthCamera | None]:
        """The depth image, and its own camera where it is not aligned with colour. Raises SetupError."""
        if frame.depth_m.ndim == 3:
            return cloud_depth(frame.depth_m, self.camera, self._recording.cloud_transform(frame.frame_id, frame.depth_frame_id)), None
        return frame.depth_m, self._recording.depth_camera(self.camera, frame.frame_id, frame.depth_frame_id)

    def _check_unit(self, frame: RgbdFrame) -> None:
        if self._unit_is_checked:
            return
        self._unit_is_checked = True
        if hint := unit_hint(frame.depth_m, "--depth-scale"):
            raise BagError(hint)

    def _write(self, frame: RgbdFrame, features: FeatureFrame | None, view: PinholeView | None, surface: SurfaceFrame | None,
               entry: dict, bag: BagWriter) -> None:
        if features is not None:
            found = feature_results(features, frame.image, frame.stamp_ns, frame.frame_id, FEATURE_WANTED, self.options.descriptors)
            bag.write_results(found, frame.stamp_ns)
        if surface is None or view is None:
            return
        place = optical(frame.frame_id)
        bag.write_results(self.results.surface(surface, place, SURFACE_WANTED), frame.stamp_ns)
        if len(self.surfaces.points):
            bag.write_results(self.results.points(surface, place, SURFACE_WANTED), frame.stamp_ns)
        lines = self.results.landmarks(surface, view.matches, view.depth_m, view.camera, place, SURFACE_WANTED)
        bag.write_results(lines, frame.stamp_ns)
        bag.write_results([self.results.status(surface, frame.frame_id, sum(entry["milliseconds"].values()), 0)], frame.stamp_ns)
        if self.options.covariance:
            bag.write_results(self.results.covariance(surface, place, SURFACE_WANTED), frame.stamp_ns)


def _size(image: np.ndarray) -> tuple[int, int]:
    """(width, height)"""
    return image.shape[1], image.shape[0]


def _judged(features: FeatureFrame | None, surface: SurfaceFrame | None, has_depth: bool, problem: str) -> tuple[str, str]:
    """Status and reason of a frame: the surface's status; "matched" in a recording without depth; "no_depth", "no_image", "waiting"."""
    if surface is not None:
        return surface.status, surface.reason
    if features is None:
        return "no_image", problem
    if features.matches is None:
        return "waiting", f"only {len(features.features)} keypoints: too few for a reference"
    return ("no_depth", problem) if has_depth else ("matched", "")


def _entry(frame: RgbdFrame, status: str, reason: str, features: FeatureFrame | None = None,
           surface: SurfaceFrame | None = None) -> dict[str, Any]:
    """One frame of metrics.json."""
    matches = features.matches if features is not None else None
    verified = 0 if matches is None else int(matches.matches.inlier.sum())
    return {
        "stamp": frame.stamp_ns / NANOSECONDS,
        "stamp_ns": frame.stamp_ns,
        "status": status,
        "reason": reason,
        "gap_s": None if frame.gap_ns is None else frame.gap_ns / NANOSECONDS,
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
