"""What both nodes are: a lifecycle node with a mailbox, one worker thread that owns the model, diagnostics and a silence warning."""
from __future__ import annotations

import math
import re
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ..conversions.errors import SetupError
from ..conversions.message_factory import ros_class, ros_message
from ..conversions.messages import NANOSECONDS, header
from .inputs import Inputs
from .mailbox import Mailbox
from .node_statistics import OK, WARN, Statistics, diagnostic_array
from .outputs import Outputs
from .parameters import TABLES, declare
from .watchdog import PAUSED, SILENT, Watchdog

COMPLAIN_EVERY_S = 5.0
MAX_REASONS = 100          # remembered, so that each is told at most so often


class WorkerNode(LifecycleNode):
    """A lifecycle node around one worker thread.

    A node fills in: load() and unload() the model, listen() to its topics, process() one item on the worker thread, forget() its state.
    Callbacks put the newest item into self.mailbox; everything that touches the model runs on the worker thread.
    """

    def __init__(self, name: str, topics: tuple[str, ...]) -> None:
        super().__init__(name)
        self.values = declare(self, TABLES[name], self.problem_with)
        self._topics = topics
        self._jobs: list[Callable[[], None]] = []
        self._worker: threading.Thread | None = None
        self._own_timers: list[Any] = []
        self._own_services: list[Any] = []
        self._complained: dict[str, float] = {}     # reason: when it was told
        self._standing: set[str] = set()            # reasons that were told and still hold
        self._watchdog = Watchdog(self.values["silence_warning"], time.monotonic())
        self.mailbox: Mailbox[Any] = Mailbox()
        self.statistics = Statistics()
        self.inputs = Inputs(self)
        self.outputs: Outputs | None = None

    # what a node fills in
    def load(self) -> None:
        """Make the model. May raise RuntimeError or ValueError: the node then stays unconfigured."""
        raise NotImplementedError

    def unload(self) -> None:
        """Give the model's memory back."""
        raise NotImplementedError

    def listen(self) -> None:
        """Add the subscriptions to self.inputs."""
        raise NotImplementedError

    def process(self, item: Any) -> None:
        """Do one item's work and publish its results; on the worker thread. ValueError: the item is refused, with its text."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop the reference and whatever else was learnt from earlier frames; on the worker thread."""
        raise NotImplementedError

    def discard(self) -> None:
        """A new reference was asked for: give out nothing more of the old one. On the executor's thread, before forget()."""

    def problem_with(self, changes: dict[str, Any]) -> str | None:
        """What is wrong with a change of parameters beyond their own ranges; None: nothing. On the executor's thread."""
        return None

    def health(self) -> tuple[int, str, dict[str, str]]:
        """Diagnostics: level, text, more values."""
        return OK, "running", {}

    def why_silent(self) -> str:
        """More words for the warning that nothing comes."""
        return ""

    # lifecycle
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.load()
            self.outputs = Outputs(self, self._topics)
        except (RuntimeError, ValueError, OSError) as error:
            self.get_logger().error(f"cannot be configured: {error}")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.mailbox = Mailbox()
        self.statistics = Statistics()
        self._diagnostics = self.create_publisher(ros_class("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)   # /clock may not run, and then these are needed most
        self._own_timers = [self.create_timer(1.0, self._diagnose, clock=steady), self.create_timer(1.0, self._watch, clock=steady)]
        self._own_services = [
            self.create_service(_trigger_class(), "~/reset", self._on_reset),
            self.create_service(_trigger_class(), "~/set_reference", self._on_set_reference),
        ]
        self._watchdog = Watchdog(self.values["silence_warning"], time.monotonic())
        self._worker = threading.Thread(target=self._work, args=(self.mailbox,), name=f"{self.get_name()} worker", daemon=True)
        self._worker.start()
        self.listen()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._unconfigure()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self._unconfigure()
        return TransitionCallbackReturn.SUCCESS

    def stop(self) -> None:
        """Stop listening and working; the frame in work is finished first."""
        self.inputs.close()
        self.mailbox.close()
        if self._worker is not None:
            self._worker.join(timeout=30.0)
            self._worker = None
        for timer in self._own_timers:
            self.destroy_timer(timer)
        for service in self._own_services:
            self.destroy_service(service)
        if self._own_timers:
            self.destroy_publisher(self._diagnostics)
        self._own_timers, self._own_services = [], []

    def _unconfigure(self) -> None:
        if self.outputs is not None:
            self.outputs.close()
            self.outputs = None
        self.unload()

    # work
    def enqueue(self, item: Any) -> None:
        """Leave the newest item for the worker."""
        self.mailbox.put(item)

    def on_worker(self, job: Callable[[], None]) -> None:
        """Run a job on the worker thread, before its next item."""
        self._jobs.append(job)

    def refuse(self, reason: str, once: bool = False) -> None:
        """Count a message that cannot be used, and say why. On the worker thread.

        The same reason is told again at most every few seconds; once: as an error, and only after a frame that was good.
        """
        self.statistics.refuse(reason)
        kind = reason if once else re.sub(r"[\d.]+", "#", reason)[:100]
        now = time.monotonic()
        if kind in self._standing or now - self._complained.get(kind, -math.inf) < COMPLAIN_EVERY_S:
            return
        if once:
            self._standing.add(kind)
        if len(self._complained) > MAX_REASONS:
            self._complained.clear()
        self._complained[kind] = now
        if once:
            self.get_logger().error(reason)
        else:
            self.get_logger().warning(reason)

    def done(self, stamp_ns: int, started: float) -> None:
        """Note that the frame of this stamp is out. started: time.perf_counter() when its work began."""
        self._standing.clear()
        latency = (self.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS
        self.statistics.done(latency, 1e3 * (time.perf_counter() - started))

    def _work(self, mailbox: Mailbox[Any]) -> None:
        while not mailbox.closed:
            item = mailbox.take(timeout=0.2)
            while self._jobs:
                self._jobs.pop(0)()
            if item is None:
                continue
            try:
                self.process(item)
            except ValueError as error:
                self.refuse(str(error), once=isinstance(error, SetupError))
            except Exception as error:   # the node stays up, whatever one frame does
                if mailbox.closed or not self.context.ok():
                    return
                self.statistics.refuse(f"{type(error).__name__}: {error}")
                self.get_logger().error(traceback.format_exc(), throttle_duration_sec=COMPLAIN_EVERY_S)

    # services and reports
    def _on_reset(self, _: Any, response: Any) -> Any:
        def job() -> None:
            self.mailbox.clear()
            self.forget()

        self.discard()
        self.on_worker(job)
        response.success, response.message = True, "everything learnt is forgotten; the next usable frame becomes the reference"
        return response

    def _on_set_reference(self, _: Any, response: Any) -> Any:
        self.discard()
        self.on_worker(self.forget)
        response.success, response.message = True, "the next usable frame becomes the reference"
        return response

    def _diagnose(self) -> None:
        level, text, more = self.health()
        values = self.statistics.summary() | {"received": str(self.mailbox.received), "dropped": str(self.mailbox.dropped)} | more
        if self._watchdog.state:
            level, text = WARN, "no data" + (": the clock stands still" if self._watchdog.state == PAUSED else "")
        fields = diagnostic_array(header(self.get_clock().now().nanoseconds, ""), self.get_fully_qualified_name(), level, text, values)
        self._diagnostics.publish(ros_message("diagnostic_msgs/msg/DiagnosticArray", fields))

    def _watch(self) -> None:
        """Warn once for each silence, with what can be known about its cause."""
        now, simulated = time.monotonic(), self.get_parameter("use_sim_time").value
        clock_ns = self.get_clock().now().nanoseconds if simulated else None
        news = self._watchdog.look(now, self.mailbox.received, clock_ns)
        if news == PAUSED:
            self.get_logger().info(f"no data for {self._watchdog.silent_s(now):.0f} s: /clock stands still, playback is paused or over")
        elif news == SILENT:
            no_clock = "use_sim_time is true, but no time has come on /clock" if clock_ns == 0 else ""
            why = [self.inputs.explain(self.values["silence_warning"]), self.why_silent(), no_clock]
            self.get_logger().warning(f"no data for {self._watchdog.silent_s(now):.0f} s, " + ". ".join(filter(None, why)))


def _trigger_class() -> Any:
    from std_srvs.srv import Trigger

    return Trigger
