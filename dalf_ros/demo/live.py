"""A recording played through live nodes: the nodes and play as processes of their own, and a listener here."""
from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..conversions import topics
from ..launch_support.child_process import Process
from ..nodes.parameters import TABLES
from ..nodes.ros_home import ensure_ros_home
from .cpu_time import CpuTime
from .listener import CLOCK, Arrival, Listener
from .played_recording import PlayedRecording
from .player_clock import PlayerClock

NODES = ("feature_node", "registration_node")
MESH, REFERENCE, STATUS, POINTS = (f"/{name}" for name in (topics.MESH, topics.REFERENCE, topics.STATUS, topics.NAMED_POINTS))
SURFACE_TOPICS = {name: topics.TYPES[name.lstrip("/")] for name in (MESH, REFERENCE, STATUS, POINTS)}    # what tells of the surface
READY_S, PATIENCE_S = 240.0, 60.0
IDLE_S, IDLE_SHARE = 2.0, 0.1       # so long, the nodes together use less of a core than this: they have nothing left to do


class LiveError(RuntimeError):
    """The live part did not work; the message says what was seen."""


@dataclass(frozen=True)
class LiveSetup:
    """What is played and who follows it. rate: speed, 1 = as recorded. separate: both nodes apart; else `tracker`, which hosts them.

    loops: how often it is played. parameters: of the nodes, by name. Raises ValueError for a parameter that no node has.
    """

    recording: PlayedRecording
    rate: float = 1.0
    separate: bool = True
    loops: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.loops < 1:
            raise ValueError(f"rate {self.rate:g} must be greater than 0, loops {self.loops} at least 1")
        known = {parameter.name for table in TABLES.values() for parameter in table} | {"use_sim_time"}
        unknown = sorted(set(self.parameters) - known)
        if unknown:
            raise ValueError(f"no node has a parameter named {', '.join(unknown)}")

    def commands(self) -> dict[str, list[str]]:
        """The nodes' programs and their arguments."""
        topic = self.recording.topics
        parameters = {"image_transport": topic["image_transport"], "depth_transport": topic["depth_transport"],
                      "use_mask": str(bool(topic["mask"])).lower()} | dict(self.parameters)
        words = ["--ros-args"]
        for name, value in parameters.items():
            words += ["-p", f"{name}:={value}"]
        for role in ("depth", "camera_info", "mask"):
            words += ["-r", f"{role}:={topic[role]}"] if topic[role] else []
        words += ["-r", f"image:={topic['color']}"]
        return {name: words for name in (NODES if self.separate else ("tracker",))}


@dataclass(frozen=True)
class LiveLoop:
    """One round of playing. arrivals: by topic, bytes of SURFACE_TOPICS kept. clock: where the player was.

    measured_from_ns: the recording's time when the first surface had come; what was sent before is warm-up. cpu: processor time over
    real time by process, from then to the end of playing.
    """

    arrivals: dict[str, list[Arrival]]
    clock: PlayerClock
    measured_from_ns: int
    cpu: dict[str, float]


def run_live(setup: LiveSetup, logs: Path) -> list[LiveLoop]:
    """Start the nodes, play the recording to them, collect what comes. logs: folder for the processes' output. Raises LiveError.

    When the nodes have loaded, it is played until a first surface comes, to warm them up. Before each round they are told to forget what
    they have seen (~/reset).
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(61, 99))   # heard by nobody else on this machine
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    ensure_ros_home()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[Process] = []
    listener: Listener | None = None
    codes: dict[str, int] = {}
    try:
        listener = Listener(SURFACE_TOPICS, SURFACE_TOPICS)
        for name, words in setup.commands().items():
            nodes.append(Process(name, words, logs / f"{name}.log"))
        _wait(listener, READY_S, lambda: _are_ready(listener, setup.recording.topics), nodes, "the nodes to load")
        _warm_up(setup, listener, nodes, logs / "warm_up.log")
        loops = [_play(setup, listener, nodes, logs / f"play_{number}.log") for number in range(1, setup.loops + 1)]
    finally:
        codes = {process.name: process.stop() for process in nodes}
        if listener is not None:
            listener.close()
        rclpy.try_shutdown()
    bad = [f"{name} ended with {code}" for name, code in codes.items() if code != 0]
    if bad:
        raise LiveError(f"{', '.join(bad)}; output in {logs}")
    return loops


def _are_ready(listener: Listener, topic: Mapping[str, str]) -> bool:
    """Both nodes have loaded, which is when they publish, and listen to the camera."""
    heard = all(listener.node.count_subscribers(_wire(topic, role)) > listener.hears(_wire(topic, role)) for role in ("color", "depth"))
    return heard and all(listener.node.count_publishers(f"/{name}") > 0 for name in (topics.MATCHES, topics.STATUS))


def _wire(topic: Mapping[str, str], role: str) -> str:
    """The topic that a role's messages travel on."""
    transport = topic["image_transport" if role == "color" else "depth_transport"]
    return topic[role] if transport == "raw" else f"{topic[role]}/{transport}"


def _warm_up(setup: LiveSetup, listener: Listener, nodes: Sequence[Process], log: Path) -> None:
    """Play it over and over until a surface comes; then wait until what is under way is out."""
    player = Process("play", [*_play_words(setup), "--loop"], log)
    try:
        _wait(listener, READY_S, lambda: bool(listener.arrivals[MESH]), (*nodes, player), "a first surface")
    finally:
        player.stop()
    _settle(listener, nodes)


def _play_words(setup: LiveSetup) -> list[str]:
    """The player's arguments. Few messages on /clock: they cost both sides, and one a camera message is told anyway.

    It waits for both nodes: DDS may take seconds to make a new process known to each of them.
    """
    recording = setup.recording
    return [str(recording.bag), "--clock", "--clock-rate", "10", "--rate", str(setup.rate), "--wait", "30",
            "--wait-for", *(f"/{name}" for name in NODES), "--topics", *recording.played]


def _play(setup: LiveSetup, listener: Listener, nodes: Sequence[Process], log: Path) -> LiveLoop:
    """One round, from the player's start until nothing comes any more."""
    recording = setup.recording
    _reset(listener)
    listener.take()
    player = Process("play", _play_words(setup), log)
    processes = {process.name: process.pid for process in (*nodes, player)} | {"listener": os.getpid()}
    seconds = float(recording.due_ns[-1] - recording.due_ns[0]) * 1e-9 / setup.rate
    try:
        _wait(listener, PATIENCE_S + seconds, lambda: bool(listener.arrivals[MESH]) or player.has_ended(), nodes, "a surface")
        begin = CpuTime(processes)
        end_ns = int(recording.due_ns[-1])
        _wait(listener, PATIENCE_S + seconds, lambda: _reached(listener, end_ns) or player.has_ended(), nodes, "the recording's end")
        cpu = CpuTime(processes).shares_since(begin)
        _wait(listener, PATIENCE_S, player.has_ended, nodes, "the player to end")
        if player.stop() != 0:
            raise LiveError(f"play failed:\n{player.tail()}")
        _settle(listener, nodes)
    finally:
        player.stop()
    arrivals = listener.take()
    if not arrivals[MESH]:
        raise LiveError("no surface came:\n" + "\n".join(process.tail() for process in nodes))
    clock = PlayerClock(arrivals[CLOCK], setup.rate)
    return LiveLoop(arrivals, clock, clock.at(arrivals[MESH][0].time_s), cpu)


def _reached(listener: Listener, time_ns: int) -> bool:
    clock = listener.arrivals[CLOCK]
    return bool(clock) and clock[-1].stamp_ns >= time_ns


def _reset(listener: Listener) -> None:
    """Both nodes begin anew with the next image."""
    from std_srvs.srv import Trigger

    for name in NODES:
        client = listener.node.create_client(Trigger, f"/{name}/reset")
        answer = None
        if listener.spin(PATIENCE_S, client.service_is_ready):
            answer = client.call_async(Trigger.Request())
        if answer is None or not listener.spin(PATIENCE_S, answer.done):
            raise LiveError(f"{name} does not answer on /{name}/reset")
        listener.node.destroy_client(client)


def _settle(listener: Listener, nodes: Sequence[Process]) -> None:
    """Wait until the nodes are idle and nothing comes: what they still held of the recording is out, or given up."""
    deadline, ids = time.monotonic() + PATIENCE_S, {process.name: process.pid for process in nodes}
    while time.monotonic() < deadline:
        before, last_s = CpuTime(ids), listener.last_s
        listener.spin(IDLE_S, lambda: False)
        if sum(CpuTime(ids).shares_since(before).values()) < IDLE_SHARE and listener.last_s == last_s:
            return
    raise LiveError(f"the nodes are still at work {PATIENCE_S:.0f} s after the last image")


def _wait(listener: Listener, seconds: float, until: Callable[[], bool], watch: Collection[Process], what: str) -> None:
    """Receive until a condition holds. Raises LiveError when a watched process ends, and when time is up."""
    def reached() -> bool:
        for process in watch:
            if process.has_ended():
                raise LiveError(f"{process.name} ended by itself:\n{process.tail()}")
        return until()

    if not listener.spin(seconds, reached):
        raise LiveError(f"waited {seconds:.0f} s for {what} in vain:\n" + "\n".join(process.tail() for process in watch))
