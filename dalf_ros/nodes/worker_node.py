"""What both nodes are: a lifecycle node with a mailbox, one worker thread that owns the model, diagnostics and a silence warning."""
from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ..conversions.message_factory import ros_class, ros_message
from ..conversions.messages import NANOSECONDS, header, stamp_ns
from ..conversions.stamps import LATE, REPEATED, RESTARTED, StampGuard, set_missing_stamp
from ..errors import SetupError
from . import missing_module
from .complaints import EVERY_S, Complaints
from .inputs import Inputs
from .mailbox import Mailbox
from .node_statistics import OK, WARN, WINDOW_S, Statistics, diagnostic_array
from .outputs import Outputs
from .parameters import TABLES, declare
from .synchronizer import MEGABYTE, Synchronizer, size_of
from .watchdog import PAUSED, SILENT, Watchdog


class WorkerNode(LifecycleNode):
    """A lifecycle node around one worker thread.

    A node fills in: load() and unload() the model, listen() to its topics, process() one group of messages on the worker thread,
    forget() its state. Callbacks give messages to arrived(), which puts the newest complete group into the mailbox; everything that
    touches the model runs on the worker thread.

    primary: the role that groups are made around; required, optional: the roles that join it by stamp within buffer_s seconds.
    camera_role: whose topic, as it is remapped, names the camera in the diagnostics (`hardware_id`).
    cli_args: of this node alone, they come before those of the process.
    """

    camera_role = "image"

    def __init__(self, name: str, topics: tuple[str, ...], primary: str, optional: tuple[str, ...] = (),
                 required: tuple[str, ...] = (), cli_args: list[str] | None = None) -> None:
        super().__init__(name, cli_args=cli_args)
        self.values = declare(self, TABLES[name], self.problem_with)
        self._topics = topics
        required = (*required, "mask") if self.values["use_mask"] else required
        self.synchronizer = Synchronizer(
            primary, required, optional, tolerance_ns=int(self.values["stamp_tolerance"] * NANOSECONDS),
            length_ns=int(self.values["buffer_seconds"] * NANOSECONDS), max_bytes=self.values["buffer_megabytes"] * MEGABYTE,
            given_up=self._given_up)
        self._requests = 0              # for a new reference, so far
        self._in_work = 0               # so many had been made when the group in work came
        self._guard = StampGuard()
        self._missing: dict[str, int] = {}          # primaries that were given up, by the role that had nothing for them
        self._left_out = (-math.inf, "")            # when that was last, and why
        self._without_stamps: set[str] = set()      # topics
        self._jobs: list[Callable[[], None]] = []
        self._worker: threading.Thread | None = None
        self._own_timers: list[Any] = []
        self._ahead: Future[None] | None = None     # of load_ahead(), until on_configure() takes it
        self._one_load = threading.Lock()
        self.on_finalized: Callable[[], None] = lambda: None    # called when the node was shut down as a lifecycle node
        self._complaints = Complaints()
        self._watchdog = Watchdog(self.values["silence_warning"], time.monotonic())
        self.mailbox: Mailbox[Any] = Mailbox()
        self.statistics = Statistics()
        self.inputs = Inputs(self)
        self.outputs: Outputs | None = None
        self.create_service(_trigger_class(), "~/reset", self._on_new_reference)
        self.create_service(_trigger_class(), "~/set_reference", lambda request, response: self._on_new_reference(request, response, True))

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

    def process(self, item: dict[str, Any]) -> None:
        """Do one group's work, {role: message}, and publish its results; on the worker thread. ValueError: it is refused, with its text."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop the reference and whatever else was learnt from earlier frames; on the worker thread."""
        raise NotImplementedError

    def discard(self) -> None:
        """A new reference was asked for: give out nothing more of the old one. On the executor's thread, before forget()."""

    def drop_template(self) -> None:
        """The next image is to be the reference, whatever template was followed; on the worker thread."""

    def problem_with(self, changes: dict[str, Any]) -> str | None:      # noqa: ARG002 (for nodes that have such rules)
        """What is wrong with a change of parameters beyond their own ranges; None: nothing. On the executor's thread."""
        return None

    def health(self) -> tuple[int, str, dict[str, str]]:
        """Diagnostics: level, text, more values."""
        return OK, "running", {}

    # lifecycle
    @property
    def is_configured(self) -> bool:
        return self.outputs is not None

    @property
    def is_active(self) -> bool:
        return self._worker is not None

    @property
    def is_loading(self) -> bool:
        return self._ahead is not None and not self._ahead.done()

    def load_ahead(self) -> Future[None]:
        """Begin load() on a thread of its own, unless that was done; the future is done with it. What goes wrong on_configure() tells."""
        with self._one_load:
            if self._ahead is None:
                self._ahead = Future()
                threading.Thread(target=self._load_into, args=(self._ahead,), name=f"{self.get_name()} loader", daemon=True).start()
            return self._ahead

    def _load_into(self, ahead: Future[None]) -> None:
        try:
            self.load()
        except Exception as error:
            ahead.set_exception(error)
        else:
            ahead.set_result(None)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        ahead, self._ahead = self._ahead, None
        try:
            if ahead is None:
                self.load()
            else:
                ahead.result()
            self.outputs = Outputs(self, self._topics)
        except Exception as error:
            return self._failed("configured", error)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._activate()
        except Exception as error:
            self.stop()
            return self._failed("activated", error)
        return super().on_activate(state)

    def _failed(self, step: str, error: Exception) -> TransitionCallbackReturn:
        """Tell why a transition failed: rclpy swallows what its callbacks raise."""
        if isinstance(error, ModuleNotFoundError):
            text = missing_module.text(error, self.get_name())
        else:
            text = str(error) if isinstance(error, (RuntimeError, ValueError, OSError)) else "".join(traceback.format_exception(error))
        self.get_logger().error(f"cannot be {step}: {text}")
        return TransitionCallbackReturn.FAILURE

    def _activate(self) -> None:
        self.mailbox = Mailbox()
        self.statistics = Statistics()
        self._diagnostics = self.create_publisher(ros_class("diagnostic_msgs/msg/DiagnosticArray"), "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)   # /clock may not run, and then these are needed most
        self._own_timers = [self.create_timer(1.0, self._diagnose, clock=steady), self.create_timer(1.0, self._watch, clock=steady)]
        self._watchdog = Watchdog(self.values["silence_warning"], time.monotonic())
        self._worker = threading.Thread(target=self._work, args=(self.mailbox,), name=f"{self.get_name()} worker", daemon=True)
        self._worker.start()
        self.listen()

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._unconfigure()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self._unconfigure()
        self.get_logger().warning("shut down for good: the process ends")
        self.on_finalized()
        return super().on_shutdown(state)

    def stop(self) -> None:
        """Stop listening and working; the frame in work is finished first. What waits is forgotten."""
        self.inputs.close()
        self.mailbox.close()
        self.synchronizer.clear()
        if self._worker is not None:
            self._worker.join(timeout=30.0)
            self._worker = None
        for timer in self._own_timers:
            self.destroy_timer(timer)
        if self._own_timers:
            self.destroy_publisher(self._diagnostics)
        self._own_timers = []

    def _unconfigure(self) -> None:
        if self.outputs is not None:
            self.outputs.close()
            self.outputs = None
        self.unload()

    # work
    def arrived(self, role: str, message: Any) -> None:
        """Keep a message until its group is complete, and leave the newest group for the worker. On the executor's thread."""
        if set_missing_stamp(message, self.get_clock().now().nanoseconds or time.time_ns()):
            self._tell_missing_stamps(self.inputs.topic(role))
        group = self.synchronizer.put(role, stamp_ns(message.header), message, size_of(message))
        if group is not None:
            self.mailbox.put((self._requests, group))

    def _tell_missing_stamps(self, topic: str) -> None:
        if topic not in self._without_stamps:
            self._without_stamps.add(topic)
            self.get_logger().warning(f"messages on {topic} have no stamps (zero): the time of their arrival is taken instead, which pairs "
                                      "them less exactly; let the driver set them")

    def _given_up(self, role: str, why: str) -> None:
        """A primary is left out, because a role that it needs had nothing for it."""
        self._missing[role] = self._missing.get(role, 0) + 1
        reason = f"no_{role}: {self.synchronizer.primary} left out, {why} (stamp_tolerance {self.values['stamp_tolerance']:g} s)"
        self._left_out = time.monotonic(), reason
        self.refuse(reason)

    def is_in_order(self, stamp: int) -> bool:
        """Whether the primary of this stamp is to be worked on: not one that repeats or comes late. After a jump back all starts anew."""
        order = self._guard.check(stamp)
        if order in (REPEATED, LATE):
            self.refuse(f"{self.synchronizer.primary} with a {order} stamp skipped")
            return False
        if order == RESTARTED:
            self.get_logger().info("stamps jumped back: tracking starts anew")
            self.forget()
        return True

    def refuse(self, reason: str, once: bool = False) -> None:
        """Count a message that cannot be used, and say why. Safe from any thread.

        The same reason is told again at most every few seconds; once: as an error, and only after a frame that was good.
        """
        self.statistics.refuse(reason)
        if not self._complaints.is_news(reason, once):
            return
        if once:
            self.get_logger().error(reason)
        else:
            self.get_logger().warning(reason)

    def done(self, stamp_ns: int, started: float) -> None:
        """Note that the frame of this stamp is out. started: time.perf_counter() when its work began."""
        self._complaints.good()
        latency = (self.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS
        self.statistics.done(latency, 1e3 * (time.perf_counter() - started))

    def do(self, job: Callable[[], None]) -> None:
        """Have the worker thread do something before the next group; what it raises is told as that of process(). From any thread."""
        self._jobs.append(job)
        self.mailbox.wake()

    def _work(self, mailbox: Mailbox[Any]) -> None:
        while not mailbox.closed:
            item = mailbox.take(timeout=0.2)
            while self._jobs:
                self._safely(self._jobs.pop(0), mailbox)
            if item is not None:
                requests, group = item
                self._safely(lambda group=group, requests=requests: self._process(group, requests), mailbox)

    def _process(self, group: dict[str, Any], requests: int) -> None:
        """One group, unless a new reference has been asked for since it came: that is to be an image from after the request."""
        self._in_work = requests
        if self.is_current():
            self.process(group)

    def is_current(self) -> bool:
        """Whether no new reference has been asked for since the group in work came."""
        return self._in_work == self._requests

    def _safely(self, job: Callable[[], None], mailbox: Mailbox[Any]) -> None:
        """Run a job; whatever goes wrong is told, and the worker lives on."""
        try:
            job()
        except ValueError as error:
            self.refuse(str(error), once=isinstance(error, SetupError))
        except Exception as error:
            if mailbox.closed or not self.context.ok():
                return
            self.statistics.refuse(f"{type(error).__name__}: {error}")
            self.get_logger().error(traceback.format_exc(), throttle_duration_sec=EVERY_S)

    # services and reports
    def _on_new_reference(self, _: Any, response: Any, of_an_image: bool = False) -> Any:
        """Both services: nothing that came before the request is used for the new reference. of_an_image: nor is a template."""
        if problem := self.why_not_active():
            response.success, response.message = False, f"{problem}: there is no reference"
            return response
        self.begin_anew(self.drop_template if of_an_image else lambda: None)
        response.success, response.message = True, "the next usable frame that arrives becomes the reference"
        return response

    def why_not_active(self) -> str:
        """In words, empty where it is."""
        if self.is_active:
            return ""
        state = "is configured, but not active" if self.is_configured else "is still loading or not configured"
        return f"{self.get_fully_qualified_name()} {state}"

    def begin_anew(self, before: Callable[[], None]) -> None:
        """Use nothing any more that has come so far; `before` is done first, on the worker thread. On the executor's thread."""
        def job() -> None:
            self._guard = StampGuard()
            before()
            self.forget()

        self._requests += 1
        self.mailbox.clear()
        self.synchronizer.clear()
        self.discard()
        self.do(job)

    def _diagnose(self) -> None:
        level, text, more = self.health()
        values = self.statistics.summary() | {"received": str(self.mailbox.received), "dropped": str(self.mailbox.dropped),
                                              "skipped": str(self.synchronizer.skipped)}
        values |= {f"no_{role}": str(count) for role, count in self._missing.items()} | more
        if level <= WARN and time.monotonic() - self._left_out[0] < WINDOW_S:
            level, text = WARN, self._left_out[1]
        if self._watchdog.state:
            level, text = WARN, "no data" + (": the clock stands still" if self._watchdog.state == PAUSED else "")
        fields = diagnostic_array(header(self.get_clock().now().nanoseconds, ""), self.get_fully_qualified_name(), level, text, values,
                                  self.resolve_topic_name(self.camera_role))
        self._diagnostics.publish(ros_message("diagnostic_msgs/msg/DiagnosticArray", fields))

    def _watch(self) -> None:
        """Warn once for each silence, with what can be known about its cause. Listen to what was published before the node started."""
        self.inputs.look_for_latched()
        now, simulated = time.monotonic(), self.get_parameter("use_sim_time").value
        clock_ns = self.get_clock().now().nanoseconds if simulated else None
        news = self._watchdog.look(now, self.mailbox.received, clock_ns)
        if news == PAUSED:
            self.get_logger().info(f"no data for {self._watchdog.silent_s(now):.0f} s: /clock stands still, playback is paused or over")
        elif news == SILENT:
            no_clock = "use_sim_time is true, but no time has come on /clock" if clock_ns == 0 else ""
            why = [self.inputs.explain(self.values["silence_warning"]), self.synchronizer.mismatch(), no_clock]
            self.get_logger().warning(f"no data for {self._watchdog.silent_s(now):.0f} s, " + ". ".join(filter(None, why)))


def _trigger_class() -> Any:
    from std_srvs.srv import Trigger

    return Trigger
