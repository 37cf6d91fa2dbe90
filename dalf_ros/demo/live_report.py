"""What playing through live nodes showed: how often, how old and how good the surfaces are that arrive, and what that costs."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dalf_core.types import TRACKED

from ..conversions.message_factory import bag_typestore
from ..conversions.messages import STATUS_NAMES
from ..simulation.truth import GroundTruth
from .evaluation import percentile, results_of, rms, surfaces
from .listener import Arrival
from .live import MESH, POINTS, REFERENCE, STATUS, SURFACE_TOPICS, LiveLoop
from .played_recording import PlayedRecording

RECOVERED_MM = 5.0      # a surface is good again when it is tracked and what is seen of it is nearer to the truth than this, RMSE


@dataclass(frozen=True)
class LiveFrame:
    """One surface that came. image: its number in the recording. age_s: from when its image was due to its arrival.

    arrived_ns: where the recording was then. residual_m: of the depth; NaN without one. Against the truth, metres, over the M vertices on
    the cloth: stamp_m at the time of its stamp, arrival_m at that of its arrival; seen: which the camera sees in its image. None without.
    """

    image: int
    age_s: float
    arrived_ns: int
    status: str = ""
    residual_m: float = float("nan")
    stamp_m: np.ndarray | None = None
    arrival_m: np.ndarray | None = None
    seen: np.ndarray | None = None


@dataclass(frozen=True)
class TruthErrors:
    """RMSE in mm over the tracked surfaces' vertices: all, and those seen; against the truth at the stamp's time, and at the arrival's."""

    all_at_stamp_mm: float
    seen_at_stamp_mm: float
    all_at_arrival_mm: float
    seen_at_arrival_mm: float


@dataclass(frozen=True)
class LiveReport:
    """The numbers of the table. images: sent while it was measured; surfaces: of these images; tracked: of these surfaces.

    images_in_view, in which tracking is counted, leaves out those that show only a cover. cpu: processor time over real time; 1 = a core.
    recovered_s: for each round and cover the time from its end to the arrival of a good surface; None: none came.
    offline_mm: RMSE all and seen of the offline run over the same images.
    """

    rate: float
    loops: int
    images: int
    images_in_view: int
    surfaces: int
    surfaces_in_view: int
    tracked: int
    surfaces_per_s: float
    age_median_ms: float
    age_p95_ms: float
    residual_median_mm: float
    cpu: dict[str, float]
    errors: TruthErrors | None = None
    recovered_s: tuple[float | None, ...] = ()
    offline_mm: tuple[float, float] | None = None

    @property
    def tracked_of_images(self) -> float:
        return self.tracked / self.images_in_view if self.images_in_view else float("nan")

    @property
    def tracked_of_surfaces(self) -> float:
        return self.tracked / self.surfaces_in_view if self.surfaces_in_view else float("nan")

    @property
    def over_offline(self) -> tuple[float, float] | None:
        """Live over offline error: all vertices, and those seen, at the stamp's time."""
        if self.errors is None or self.offline_mm is None:
            return None
        return self.errors.all_at_stamp_mm / self.offline_mm[0], self.errors.seen_at_stamp_mm / self.offline_mm[1]

    def line(self) -> str:
        """One line of the most important numbers."""
        error = self.errors
        errors = f"median depth residual {self.residual_median_mm:.2f} mm" if error is None else (
            f"RMSE over all vertices / those seen {error.all_at_stamp_mm:.2f} / {error.seen_at_stamp_mm:.2f} mm when the image was taken, "
            f"{error.all_at_arrival_mm:.2f} / {error.seen_at_arrival_mm:.2f} on arrival")
        return (f"{self.surfaces_per_s:.1f} surfaces a second, {self.age_median_ms:.0f} ms old on arrival (95th percentile "
                f"{self.age_p95_ms:.0f}), {self.tracked_of_images:.1%} of the images tracked; {errors}")

    def table(self) -> str:
        """All of it in Markdown."""
        rows = [("surfaces a second", f"{self.surfaces_per_s:.1f}"),
                ("age on arrival, median / 95th percentile", f"{self.age_median_ms:.0f} / {self.age_p95_ms:.0f} ms"),
                ("tracked, of surfaces / of images", f"{self.tracked_of_surfaces:.1%} of {self.surfaces_in_view} / "
                                                     f"{self.tracked_of_images:.1%} of {self.images_in_view}"),
                *self._error_rows(),
                ("depth residual, median", f"{self.residual_median_mm:.2f} mm"),
                *((f"processor: {name}", f"{share:.0%} of a core") for name, share in self.cpu.items())]
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])

    def _error_rows(self) -> list[tuple[str, str]]:
        if self.errors is None:
            return []
        error = self.errors
        rows = [("RMSE all / seen, at the time of the stamp", f"{error.all_at_stamp_mm:.2f} / {error.seen_at_stamp_mm:.2f} mm"),
                ("RMSE all / seen, at the time of arrival", f"{error.all_at_arrival_mm:.2f} / {error.seen_at_arrival_mm:.2f} mm")]
        if self.offline_mm is not None and self.over_offline is not None:
            rows += [("offline, every frame: RMSE all / seen", "{:.2f} / {:.2f} mm".format(*self.offline_mm)),
                     ("live over offline: RMSE all / seen, at the time of the stamp", "{:.2f} / {:.2f}".format(*self.over_offline))]
        if self.recovered_s:
            rows += [("recovered after each cover", ", ".join("never" if s is None else f"{s:.2f} s" for s in self.recovered_s))]
        return rows

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is not a number is None."""
        return _finite(asdict(self) | {"tracked_of_images": self.tracked_of_images, "tracked_of_surfaces": self.tracked_of_surfaces,
                                       "over_offline": self.over_offline})


def measure(loops: Sequence[LiveLoop], recording: PlayedRecording, rate: float, truth: GroundTruth | None = None,
            covers: Sequence[range] = (), offline: Path | None = None) -> LiveReport:
    """All rounds pooled. covers: images in which nothing is to be seen. offline: what `register` wrote of the recording.

    A round is measured from when its first surface has come: images that were sent before, and what came of them, do not count.
    Raises ValueError when no image was sent after that.
    """
    sent = [np.flatnonzero(recording.due_ns > loop.measured_from_ns) for loop in loops]
    came = [[frame for frame in frames_of(loop, recording, rate, truth) if frame.image in set(numbers.tolist())]
            for loop, numbers in zip(loops, sent)]
    images = sum(len(numbers) for numbers in sent)
    if images == 0:
        raise ValueError("the first surface came when the recording had ended: nothing is left to measure. Play it more slowly (--rate)")
    hidden = {number for cover in covers for number in cover}
    frames = [frame for loop in came for frame in loop]
    in_view = [frame for frame in frames if frame.image not in hidden]
    tracked = [frame for frame in in_view if frame.status == TRACKED]
    age_ms = 1e3 * np.array([frame.age_s for frame in frames])
    residual_mm = 1e3 * np.array([frame.residual_m for frame in tracked])
    shown = [{int(number) for number in numbers} - hidden for numbers in sent]
    return LiveReport(
        rate, len(loops), images, sum(map(len, shown)), len(frames), len(in_view), len(tracked),
        len(frames) / (images * recording.period_s / rate), percentile(age_ms, 50), percentile(age_ms, 95), percentile(residual_mm, 50),
        {name: float(np.mean([loop.cpu.get(name, np.nan) for loop in loops])) for name in loops[0].cpu},
        None if truth is None else _truth_errors(tracked),
        () if truth is None else tuple(recovery(loop, cover, recording, rate) for loop in came for cover in covers),
        None if truth is None or offline is None else offline_rmse(offline, truth, recording, set().union(*shown)))


def frames_of(loop: LiveLoop, recording: PlayedRecording, rate: float, truth: GroundTruth | None) -> list[LiveFrame]:
    """The surfaces of one round, in the order of their coming. Raises ValueError when one has a stamp that no image has."""
    number = {stamp: index for index, stamp in reversed(list(enumerate(recording.stamps_ns.tolist())))}
    arrived = {arrival.stamp_ns: loop.clock.at(arrival.time_s) for arrival in reversed(loop.arrivals[MESH])}
    strange = arrived.keys() - number.keys()
    if strange:
        raise ValueError(f"{len(strange)} surfaces carry stamps that no image of the recording has")
    status = {arrival.stamp_ns: _decoded(STATUS, arrival) for arrival in loop.arrivals[STATUS]}
    errors = {} if truth is None else _errors_of(loop, recording, truth, number, arrived)
    frames = []
    for stamp, arrived_ns in arrived.items():
        said = status.get(stamp)
        age_s = (arrived_ns - int(recording.due_ns[number[stamp]])) * 1e-9 / rate
        told = {} if said is None else {"status": STATUS_NAMES[int(said.status)], "residual_m": float(said.residual_m)}
        frames.append(LiveFrame(number[stamp], age_s, arrived_ns, **told, **errors.get(stamp, {})))
    return sorted(frames, key=lambda frame: frame.arrived_ns)


def messages_of(loop: LiveLoop) -> Iterator[Any]:
    """The SurfaceMesh messages, references first."""
    return (_decoded(topic, arrival) for topic in (REFERENCE, MESH) for arrival in loop.arrivals[topic])


def points_of(loop: LiveLoop) -> Iterator[Any]:
    """The SurfacePoints messages, in the order of their coming."""
    return (_decoded(POINTS, arrival) for arrival in loop.arrivals[POINTS])


def status_of(loop: LiveLoop) -> dict[int, str]:
    """The name of every frame's status by its stamp."""
    return {arrival.stamp_ns: STATUS_NAMES[int(_decoded(STATUS, arrival).status)] for arrival in loop.arrivals[STATUS]}


def _errors_of(loop: LiveLoop, recording: PlayedRecording, truth: GroundTruth, number: Mapping[int, int],
               arrived: Mapping[int, int]) -> dict[int, dict[str, np.ndarray]]:
    """stamp_m, arrival_m and seen of every surface, by its stamp."""
    found = {}
    for stamp, vertices, attachment in surfaces(messages_of(loop), truth):
        passed_ns = arrived[stamp] - int(recording.due_ns[number[stamp]])
        error, seen = attachment.errors(vertices, truth.frame(stamp))
        found[stamp] = {"stamp_m": error, "seen": seen, "arrival_m": attachment.distances(vertices, truth.moment(stamp + passed_ns))}
    return found


def recovery(frames: Sequence[LiveFrame], cover: range, recording: PlayedRecording, rate: float) -> float | None:
    """Seconds from when the first image after a cover was due to the arrival of the first good surface from then on; None: none came."""
    for frame in frames:
        if frame.image >= cover.stop and frame.status == TRACKED and frame.stamp_m is not None and frame.seen is not None:
            if 1e3 * rms(frame.stamp_m[frame.seen]) < RECOVERED_MM:
                return (frame.arrived_ns - int(recording.due_ns[cover.stop])) * 1e-9 / rate
    return None


def offline_rmse(registration: Path, truth: GroundTruth, recording: PlayedRecording, images: set[int]) -> tuple[float, float]:
    """RMSE in mm, all vertices and those seen, of the offline run's tracked surfaces of some images."""
    meshes, status = results_of(registration)
    wanted = {int(recording.stamps_ns[image]) for image in images}
    pairs = [attachment.errors(vertices, truth.frame(stamp)) for stamp, vertices, attachment in surfaces(meshes, truth)
             if stamp in wanted and status.get(stamp) == TRACKED]
    return 1e3 * rms(_pooled([error for error, _ in pairs])), 1e3 * rms(_pooled([error[seen] for error, seen in pairs]))


def _truth_errors(frames: Sequence[LiveFrame]) -> TruthErrors:
    known = [(frame.stamp_m, frame.arrival_m, frame.seen) for frame in frames
             if frame.stamp_m is not None and frame.arrival_m is not None and frame.seen is not None]
    pools = ([stamp for stamp, _, _ in known], [stamp[seen] for stamp, _, seen in known],
             [arrival for _, arrival, _ in known], [arrival[seen] for _, arrival, seen in known])
    return TruthErrors(*(1e3 * rms(_pooled(pool)) for pool in pools))


def _pooled(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def _decoded(topic: str, arrival: Arrival) -> Any:
    return bag_typestore().deserialize_cdr(arrival.data, SURFACE_TOPICS[topic])


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
