"""Joining by stamp, where recordings repeat, lose, delay and damage messages."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from dalf_ros.bags.bag_reader import read_frames
from dalf_ros.bags.bag_source import BagSource
from dalf_ros.bags.bag_topics import CameraTopics, choose_topics
from dalf_ros.bags.frame_pairer import WINDOW_FRAMES, FramePairer
from dalf_ros.bags.raw_message import RawMessage

SECOND = 10**9
PERIOD_S, FIRST_S = 0.1, 100.0


@dataclass
class Recorded:
    """One message: its topic, when it was recorded and stamped (seconds), and which frame it is of."""

    topic: str
    time_s: float
    stamp_s: float
    number: int


def joined(recorded: list[Recorded], **options: bool) -> tuple[list[tuple[int, int | None]], FramePairer]:
    """(number of the colour image, of its depth image) of every group, in their order."""
    pairer, out = FramePairer(CameraTopics("color", "depth", None, None), 20_000_000, **options), []

    def take(group) -> None:
        depth = group.messages["depth"]
        out.append((group.messages["color"].number, None if depth is None else depth.number))

    for item in sorted(recorded, key=lambda one: one.time_s):
        seconds, nanoseconds = divmod(round(item.stamp_s * SECOND), SECOND)
        message = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds)), number=item.number)
        for group in pairer.add(RawMessage(item.topic, "", round(item.time_s * SECOND), b"0123456789"), message):
            take(group)
    for group in pairer.flush():
        take(group)
    return out, pairer


def stream(topic: str, numbers: range, delay_s: float = 0.0, step_back_s: float = 0.0, back_from: int = 0) -> list[Recorded]:
    """One message a period, recorded `delay_s` after its stamp; stamps step back from frame `back_from` on."""
    return [Recorded(topic, n * PERIOD_S + delay_s, FIRST_S + n * PERIOD_S - step_back_s * (n >= back_from), n) for n in numbers]


@pytest.mark.parametrize("delay_s", [-1.5, -0.05, 0.0, 0.05, 0.4, 1.5, 8.0])
def test_however_late_depth_is_recorded_it_is_joined_by_its_stamp(delay_s: float) -> None:
    out, _ = joined(stream("color", range(100)) + stream("depth", range(100), delay_s))
    assert out == [(n, n) for n in range(100)]


@pytest.mark.parametrize("delay_s", [-0.05, 0.01, 0.05])
def test_a_clock_that_steps_back_does_not_interleave_frames(delay_s: float) -> None:
    """Two seconds back, half way: the frames before come whole before those after."""
    out, _ = joined(stream("color", range(40), 0, 2, 20) + stream("depth", range(40), delay_s, 2, 20))
    assert out == [(n, n) for n in range(40)]


@pytest.mark.parametrize("later_s", [0.0005, 0.25])
def test_repeats_are_left_out_at_once_or_some_frames_later(later_s: float) -> None:
    """As a relay beside the driver gives: each message a second time."""
    once = stream("color", range(20)) + stream("depth", range(20))
    again = [Recorded(one.topic, one.time_s + later_s, one.stamp_s, one.number) for one in once]
    out, pairer = joined(once + again)
    assert out == [(n, n) for n in range(20)] and pairer.repeated.count == 40


def test_depth_that_ends_early_leaves_the_rest_without() -> None:
    out, _ = joined(stream("color", range(3 * WINDOW_FRAMES)) + stream("depth", range(50)))
    assert out == [(n, n if n < 50 else None) for n in range(3 * WINDOW_FRAMES)]


def test_only_messages_without_a_stamp_get_their_recording_time() -> None:
    """A driver whose first stamp is unset: it is joined by the time of recording, and the clock is not taken to step back."""
    recorded = stream("color", range(20)) + stream("depth", range(20))
    for one in recorded:
        one.time_s += FIRST_S
        one.stamp_s *= one.number > 0
    out, pairer = joined(recorded)
    assert out == [(n, n) for n in range(20)] and pairer.unset == 2


def test_damaged_messages_end_nothing(scene: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      caplog: pytest.LogCaptureFixture) -> None:
    """The bytes of one colour and of one depth message are cut: two frames suffer, the others come, one line tells."""
    path = scene.write_bag2(tmp_path / "bag", scene.messages(6, (scene.color, scene.depth)))
    with BagSource(path) as source:
        topics, whole, count = choose_topics(source.topics), source.messages, [0]

        def cut(wanted=None):
            for raw in whole(wanted):
                count[0] += 1
                yield RawMessage(raw.topic, raw.type, raw.time_ns, raw.data[:30] if count[0] in (3, 8) else raw.data)

        monkeypatch.setattr(source, "messages", cut)
        frames = list(read_frames(source, topics))
    assert [frame.stamp_ns for frame in frames] == [scene.stamp(n) for n in (0, 2, 3, 4, 5)]
    assert [frame.depth_m is not None for frame in frames] == [True, True, False, True, True]
    assert "2 messages are damaged and were left out" in caplog.text
