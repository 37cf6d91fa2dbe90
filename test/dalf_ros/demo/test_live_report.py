"""The live measurements on made-up arrivals of a cloth that glides sideways: every number is known exactly."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open3d")

from dalf_core.camera import PinholeCamera  # noqa: E402
from dalf_ros.bags.bag_writer import BagWriter  # noqa: E402
from dalf_ros.conversions import messages, topics  # noqa: E402
from dalf_ros.conversions.message_factory import bag_message, bag_typestore  # noqa: E402
from dalf_ros.demo.listener import CLOCK, Arrival, stamp_of  # noqa: E402
from dalf_ros.demo.live import MESH, REFERENCE, STATUS, SURFACE_TOPICS, LiveLoop  # noqa: E402
from dalf_ros.demo.live_report import LiveReport, frames_of, measure  # noqa: E402
from dalf_ros.demo.played_recording import PlayedRecording  # noqa: E402
from dalf_ros.demo.player_clock import PlayerClock  # noqa: E402
from dalf_ros.simulation.truth import GroundTruth  # noqa: E402

START_NS = 1_767_225_600_000_000_000
PERIOD_NS = 20_000_000                  # 50 images a second
FRAMES = 20
STEP_M = 0.010                          # the cloth glides so far along x between two images
RECORDED_LATER_NS = 3_000_000           # than stamped
MONOTONIC_S = 5000.0                    # when the player began
FRAME_ID = "camera"


def grid() -> tuple[np.ndarray, np.ndarray]:
    """A flat cloth of 6 x 6 vertices and its triangles."""
    x, y = np.meshgrid(np.linspace(-0.1, 0.1, 6), np.linspace(-0.1, 0.1, 6))
    corner = (np.arange(5)[:, None] * 6 + np.arange(5)).ravel()
    triangles = np.concatenate([corner[:, None] + [0, 6, 1], corner[:, None] + [1, 6, 7]])
    return np.stack([x, y, np.full_like(x, 0.7)], axis=-1).reshape(-1, 3).astype(np.float32), triangles.astype(np.int32)


@pytest.fixture
def truth() -> GroundTruth:
    """The left half of the cloth is seen."""
    vertices, triangles = grid()
    moved = vertices + np.arange(FRAMES, dtype=np.float32)[:, None, None] * np.float32([STEP_M, 0, 0])
    visible = np.tile(vertices[:, 0] < 0, (FRAMES, 1))
    stamps = START_NS + PERIOD_NS * np.arange(FRAMES)
    return GroundTruth(moved, triangles, vertices[:, :2], visible, stamps, PinholeCamera(1, 1, 0, 0, 1, 1))


@pytest.fixture
def recording(truth: GroundTruth) -> PlayedRecording:
    return PlayedRecording(Path("bag"), {}, truth.stamps_ns, truth.stamps_ns + RECORDED_LATER_NS)


def cdr(topic: str, fields: dict) -> bytes:
    kind = SURFACE_TOPICS[topic]
    return bytes(bag_typestore().serialize_cdr(bag_message(kind, fields), kind))


def head(frame: int) -> dict:
    return messages.header(START_NS + PERIOD_NS * frame, FRAME_ID)


def surface(truth: GroundTruth, frame: int, age_s: float, rate: float, status: str = "tracked", seen_off_m: float = 0.002,
            hidden_off_m: float = 0.004) -> dict[str, Arrival]:
    """Mesh and status of a frame, off along z by known amounts, arriving so long after its image was due."""
    off = np.where(truth.visible[frame], seen_off_m, hidden_off_m)[:, None] * np.float32([0, 0, 1])
    fields = {"header": head(frame), "reference_header": head(0), "status": {"tracked": 1, "degraded": 2, "lost": 3}[status], "reason": "",
              "matches": 1, "inliers": 1, "residual_m": 0.0007, "visible_fraction": 1.0, "vertices": 36, "nodes": 1, "milliseconds": 1.0,
              "dropped": 0}
    time_s = MONOTONIC_S + frame * PERIOD_NS * 1e-9 / rate + age_s
    mesh = cdr(MESH, messages.surface_mesh(head(frame), head(0), 4, truth.vertices[frame] + off))
    return {MESH: Arrival(time_s, stamp_of(mesh), mesh), STATUS: Arrival(time_s + 0.001, stamp_of(mesh), cdr(STATUS, fields))}


def played(truth: GroundTruth, came: Sequence[dict[str, Arrival]], rate: float = 1.0, first_s: float | None = None) -> LiveLoop:
    """One round. first_s: when measuring begins, seconds from the beginning of playing; with the first surface where not given."""
    reference = cdr(REFERENCE, messages.surface_mesh(head(0), head(0), 4, truth.vertices[0], triangles=truth.triangles))
    late = [0.004 if number % 7 else 0 for number in range(40)]
    clock = [Arrival(MONOTONIC_S + 0.01 * k / rate + s, START_NS + RECORDED_LATER_NS + 10_000_000 * k) for k, s in enumerate(late)]
    arrivals = {topic: sorted(one[topic] for one in came) for topic in (MESH, STATUS)}
    arrivals |= {REFERENCE: [Arrival(MONOTONIC_S, stamp_of(reference), reference)], CLOCK: clock}
    found = PlayerClock(clock, rate)
    return LiveLoop(arrivals, found, found.at(arrivals[MESH][0].time_s if first_s is None else MONOTONIC_S + first_s),
                    {"tracker": 1.5, "play": 0.25})


def test_the_players_clock_is_the_line_of_the_promptest_message() -> None:
    told = [Arrival(100.0 + 2 * k + late, 1_000_000_000 * (7 + k)) for k, late in enumerate((0.5, 0.3, 0.0, 0.9))]
    clock = PlayerClock(told, 0.5)
    assert clock.at(104.0) == 9_000_000_000 and clock.at(105.0) == 9_500_000_000
    with pytest.raises(ValueError, match="/clock"):
        PlayerClock([], 1.0)


def test_ages_errors_and_shares_are_exact(truth: GroundTruth, recording: PlayedRecording) -> None:
    ages = [0.02, 0.03, 0.04, 0.05]
    came = [surface(truth, 2, 0.015, 1.0)]        # measuring begins with its arrival, after image 2: it is not counted itself
    came += [surface(truth, frame, age, 1.0) for frame, age in zip((4, 7, 10, 13), ages)]
    came += [surface(truth, 16, 0.02, 1.0, status="lost", seen_off_m=0.5)]
    report = measure([played(truth, came)], recording, 1.0, truth)
    assert (report.images, report.surfaces, report.tracked) == (17, 5, 4)
    assert report.surfaces_per_s == pytest.approx(5 / (17 * 0.02))
    assert report.age_median_ms == pytest.approx(30, abs=1e-3) and report.age_p95_ms == pytest.approx(48, abs=1e-3)
    assert report.tracked_of_surfaces == pytest.approx(4 / 5) and report.tracked_of_images == pytest.approx(4 / 17)
    assert report.residual_median_mm == pytest.approx(0.7) and report.cpu == {"tracker": 1.5, "play": 0.25}
    errors = report.errors
    assert errors.seen_at_stamp_mm == pytest.approx(2, abs=1e-3)
    assert errors.all_at_stamp_mm == pytest.approx(np.sqrt((2**2 + 4**2) / 2), abs=1e-3)
    passed_mm = np.array(ages) / 0.02 * 10      # how far the cloth has glided on meanwhile
    assert errors.seen_at_arrival_mm == pytest.approx(np.sqrt(np.mean(passed_mm**2) + 2**2), abs=2e-3)
    assert errors.all_at_arrival_mm == pytest.approx(np.sqrt(np.mean(passed_mm**2) + (2**2 + 4**2) / 2), abs=2e-3)
    assert report.recovered_s == () and report.offline_mm is None


def test_at_half_speed_ages_are_of_this_machine_and_rounds_are_pooled(truth: GroundTruth, recording: PlayedRecording) -> None:
    loops = [played(truth, [surface(truth, 0, 0.001, 0.5), surface(truth, 5, age, 0.5)], rate=0.5) for age in (0.04, 0.08)]
    report = measure(loops, recording, 0.5, truth)
    assert (report.loops, report.images, report.surfaces) == (2, 38, 2)
    assert report.surfaces_per_s == pytest.approx(2 / (38 * 0.04)) and report.age_median_ms == pytest.approx(60, abs=1e-3)
    passed_mm = np.array([10, 20])              # one and two images on
    assert report.errors.seen_at_arrival_mm == pytest.approx(np.sqrt(np.mean(passed_mm**2) + 2**2), abs=2e-3)


def test_after_the_end_the_truth_stands_still(truth: GroundTruth, recording: PlayedRecording) -> None:
    loop = played(truth, [surface(truth, 0, 0.01, 1.0), surface(truth, 18, 0.5, 1.0)])
    report = measure([loop], recording, 1.0, truth)
    assert report.age_median_ms == pytest.approx(500, abs=1e-3)
    assert report.errors.seen_at_arrival_mm == pytest.approx(np.sqrt(10**2 + 2**2), abs=2e-3)


def test_covered_images_do_not_count_and_recovery_ends_with_a_good_surface(truth: GroundTruth, recording: PlayedRecording) -> None:
    came = [surface(truth, 0, 0.01, 1.0), surface(truth, 3, 0.02, 1.0), surface(truth, 6, 0.02, 1.0, status="lost"),
            surface(truth, 8, 0.03, 1.0, seen_off_m=0.02, hidden_off_m=0.02), surface(truth, 10, 0.03, 1.0, status="degraded"),
            surface(truth, 11, 0.05, 1.0)]
    loop = played(truth, came)
    report = measure([loop], recording, 1.0, truth, covers=[range(4, 8), range(12, 14)])
    assert report.images == 19 and report.images_in_view == 13 and report.surfaces == 5 and report.surfaces_in_view == 4
    assert report.tracked == 3                  # frames 3, 8 and 11
    assert report.recovered_s == (pytest.approx(3 * 0.02 + 0.05, abs=1e-5), None)
    assert "0.11 s, never" in report.table()


def test_live_beside_offline(truth: GroundTruth, recording: PlayedRecording, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "results") as bag:
        reference = messages.surface_mesh(head(0), head(0), 9, truth.vertices[0], triangles=truth.triangles)
        bag.write_results([(topics.REFERENCE, reference)], START_NS)
        for frame in range(1, FRAMES):
            off = np.float32([0, 0, 0.001 if frame > 1 else 0.5])       # frame 1 is sent before measuring begins
            fields = messages.surface_mesh(head(frame), head(0), 9, truth.vertices[frame] + off)
            bag.write_results([(topics.MESH, fields)], START_NS + PERIOD_NS * frame)
    frames = [{"stamp_ns": START_NS + PERIOD_NS * frame, "status": "tracked"} for frame in range(FRAMES)]
    (tmp_path / "metrics.json").write_text(json.dumps({"frames": frames}))
    loop = played(truth, [surface(truth, 1, 0.001, 1.0), surface(truth, 5, 0.02, 1.0)])
    report = measure([loop], recording, 1.0, truth, offline=tmp_path)
    assert report.offline_mm == (pytest.approx(1, abs=1e-3), pytest.approx(1, abs=1e-3))
    assert report.over_offline == (pytest.approx(np.sqrt(10), abs=0.01), pytest.approx(2, abs=0.01))


def test_without_truth_tracking_and_residual_remain(truth: GroundTruth, recording: PlayedRecording) -> None:
    report = measure([played(truth, [surface(truth, 0, 0.01, 1.0), surface(truth, 5, 0.02, 1.0)])], recording, 1.0)
    assert report.errors is None and report.residual_median_mm == pytest.approx(0.7) and report.tracked == 1
    assert "RMSE" not in report.table() and "residual 0.70 mm" in report.line()


def test_what_is_printed(truth: GroundTruth, recording: PlayedRecording) -> None:
    report = measure([played(truth, [surface(truth, 0, 0.01, 1.0), surface(truth, 5, 0.02, 1.0)])], recording, 1.0, truth)
    table, line = report.table(), report.line()
    assert "| age on arrival, median / 95th percentile | 20 / 20 ms |" in table and "| processor: tracker | 150% of a core |" in table
    assert "| RMSE all / seen, at the time of the stamp | 3.16 / 2.00 mm |" in table and "| 100.0% of 1 / 5.3% of 19 |" in table
    assert "2.6 surfaces a second, 20 ms old on arrival" in line and "3.16 / 2.00 mm when the image was taken" in line
    empty = LiveReport(1.0, 1, 5, 5, 0, 0, 0, 0.0, float("nan"), float("nan"), float("nan"), {"play": float("nan")})
    assert json.loads(json.dumps(empty.as_dict(), allow_nan=False))["cpu"] == {"play": None}


def test_what_cannot_be_measured_is_refused(truth: GroundTruth, recording: PlayedRecording) -> None:
    with pytest.raises(ValueError, match="nothing is left to measure"):
        measure([played(truth, [surface(truth, 18, 0.3, 1.0)])], recording, 1.0, truth)
    shifted = PlayedRecording(Path("bag"), {}, recording.stamps_ns + 1, recording.due_ns)
    with pytest.raises(ValueError, match="stamps that no image"):
        frames_of(played(truth, [surface(truth, 1, 0.3, 1.0)]), shifted, 1.0, None)
