"""SurfaceClient: running nodes as a Python object."""
from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dalf_core.types import TRACKED

from ..conversions import topics
from ..conversions.message_factory import ros_class
from ..conversions.messages import STATUS_NAMES, stamp_ns
from ..nodes.inputs import LATCHED_QOS, RESULT_QOS
from ..nodes.ros_home import ensure_ros_home
from .followed_surface import FRAME_TOPICS, FollowedSurface, followed_surface

KEPT_STAMPS = 16            # frames of which some messages still wait for the others
KEPT_REFERENCES = 4
KEPT_SURFACES = 100         # that surfaces() holds for whoever takes them slowly

log = logging.getLogger(__name__)


class SurfaceClientError(RuntimeError):
    """What was asked for did not come, or was refused; the text says why and what to do."""


class SurfaceClient:
    """What registration_node follows, frame by frame, and the services of both nodes. Use it in a `with` block, or close() it.

    namespace: of the nodes; empty, the one that ros_args give, else the root. feature_node, registration_node: their names, for services,
    with a namespace of their own where they begin with /.
    node: an rclpy node of yours that is spun in another thread than the one that waits here; None makes one, with a thread that spins it.
    ros_args: of the node that is made, such as ["--ros-args", "-r", "__ns:=/left"]; None, the program's own.
    All methods may be called from any thread but the one that spins. They raise SurfaceClientError; timeouts are in seconds.
    """

    def __init__(self, namespace: str = "", *, node: Any = None, feature_node: str = "feature_node",
                 registration_node: str = "registration_node", ros_args: Sequence[str] | None = None) -> None:
        self._prefix = f"{namespace.rstrip('/')}/" if namespace else ""
        self._names = {"feature": feature_node, "registration": registration_node}
        self._own = _OwnNode(ros_args) if node is None else None
        self._node = node if self._own is None else self._own.node
        self._came = threading.Condition()      # guards all below
        self._parts: dict[int, dict[str, Any]] = {}         # by stamp, by topic
        self._references: dict[int, Any] = {}               # by topology_id
        self._newest: FollowedSurface | None = None
        self._state = ""            # of the newest status, in words
        self._listeners: list[queue.Queue[FollowedSurface]] = []
        self._clients: dict[str, Any] = {}
        self._subscriptions = [self._subscribe(topic) for topic in (topics.REFERENCE, *FRAME_TOPICS)]
        if self._own is not None:
            self._own.start()

    def __enter__(self) -> SurfaceClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the topics; the node that was made here ends."""
        if self._own is not None:
            self._own.close()
        else:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            for client in self._clients.values():
                self._node.destroy_client(client)
        self._subscriptions, self._clients = [], {}

    # ---------------------------------------------------------------- the surface

    @property
    def newest(self) -> FollowedSurface | None:
        """The surface of the last frame; None before the first."""
        with self._came:
            return self._newest

    @property
    def state(self) -> str:
        """The newest status in words, such as "lost: 3 matches"; empty before the first."""
        with self._came:
            return self._state

    def wait_for_surface(self, timeout_s: float = 10.0) -> FollowedSurface:
        """The surface of the next frame that comes, whatever its status."""
        return self._wait(lambda _: True, timeout_s)

    def wait_for_tracked(self, timeout_s: float = 10.0) -> FollowedSurface:
        """The next surface that is tracked: not degraded, not lost."""
        return self._wait(lambda surface: surface.status == TRACKED, timeout_s)

    def surfaces(self, silence_s: float = 10.0) -> Iterator[FollowedSurface]:
        """Every surface from now on, in order, until none came for silence_s; error where none came at all.

        Of those that are not taken, the newest 100 are kept; that some were dropped is logged.
        """
        waiting: queue.Queue[FollowedSurface] = queue.Queue(KEPT_SURFACES)
        with self._came:
            self._listeners.append(waiting)
        any_came = False
        try:
            while True:
                try:
                    surface = waiting.get(timeout=silence_s)
                except queue.Empty:
                    break
                any_came = True
                yield surface
        finally:
            with self._came:
                self._listeners.remove(waiting)
        if not any_came:
            raise SurfaceClientError(self._why_nothing(f"no surface within {silence_s:g} s"))

    def _wait(self, is_wanted: Any, timeout_s: float) -> FollowedSurface:
        deadline = time.monotonic() + timeout_s
        with self._came:
            seen = self._newest
            while self._newest is seen or not is_wanted(self._newest):
                seen = self._newest
                if not self._came.wait(deadline - time.monotonic()):
                    break
            else:
                assert self._newest is not None
                return self._newest
        raise SurfaceClientError(self._why_nothing(f"no such surface within {timeout_s:g} s"))

    def _why_nothing(self, what: str) -> str:
        status = self._node.resolve_topic_name(self._prefix + topics.STATUS)
        if not self._node.count_publishers(status):
            return (f"{what}: nobody publishes {status}. Start the nodes, or give their namespace: SurfaceClient(\"/NAME\"); nodes and "
                    "client must have one ROS_DOMAIN_ID")
        if not self.state:
            return f"{what}: {status} has a publisher, but nothing came. Do images and depth come? The log of registration_node says"
        return f"{what}: {self.state}"

    # ---------------------------------------------------------------- services

    def set_reference(self, timeout_s: float = 10.0) -> str:
        """The next usable image becomes the reference, and its depth the surface. Returns what the node says."""
        return self._trigger("set_reference", timeout_s)

    def reset(self, timeout_s: float = 10.0) -> str:
        """Forget the reference and begin anew with the next usable image."""
        return self._trigger("reset", timeout_s)

    def track_point(self, name: str, *, pixel: Sequence[float] | None = None, position: Sequence[float] | None = None,
                    timeout_s: float = 10.0) -> None:
        """Follow a point of the surface by this name; from the next frame on it is in FollowedSurface.points.

        pixel: x, y of the colour image; position: x, y, z metres in the camera's optical frame (whatever base_frame is), on the surface;
        both of the frame followed last.
        ValueError unless one of the two is given.
        """
        if (pixel is None) == (position is None):
            raise ValueError("a point is named at a pixel or at a position: give one of them")
        if pixel is not None:
            x, y = (float(value) for value in pixel)
            self._track("ADD", timeout_s, name=name, use_pixel=True, x=x, y=y)
        elif position is not None:
            point = ros_class("geometry_msgs/msg/Point")(**dict(zip("xyz", (float(value) for value in position), strict=True)))
            self._track("ADD", timeout_s, name=name, position=point)

    def select_object(self, *, pixel: Sequence[float] | None = None, rule: str = "", timeout_s: float = 30.0) -> str:
        """What is connected around a pixel (x, y of the colour image), or what a rule finds, becomes the reference: "nearest",
        "largest_above_plane". Returns what was selected, in words. ValueError unless one of the two is given.
        """
        from dalf.srv import SelectObject

        if (pixel is None) == (not rule):
            raise ValueError("an object is selected by a pixel or by a rule: give one of them")
        x, y = (0.0, 0.0) if pixel is None else (float(value) for value in pixel)
        return self._call(SelectObject, "registration", "select_object", SelectObject.Request(rule=rule, x=x, y=y), timeout_s).message

    def forget_point(self, name: str, timeout_s: float = 10.0) -> None:
        """Take a name away."""
        self._track("REMOVE", timeout_s, name=name)

    def point_names(self, timeout_s: float = 10.0) -> list[str]:
        """The names that are followed, in the order of their naming."""
        return list(self._track("LIST", timeout_s).names)

    def save_surface(self, path: str | os.PathLike = "", overwrite: bool = False, timeout_s: float = 30.0) -> Path:
        """Write the present surface as PLY or OBJ inside the node's save_folder. Returns where, on the node's machine."""
        from dalf.srv import SaveSurface

        return self._save(SaveSurface, "save_surface", timeout_s, path=os.fspath(path), overwrite=overwrite)

    def save_template(self, path: str | os.PathLike = "", name: str = "", overwrite: bool = False, timeout_s: float = 30.0) -> Path:
        """Save the reference with its named points as a template inside the node's save_folder. Returns where, on the node's machine."""
        from dalf.srv import SaveTemplate

        return self._save(SaveTemplate, "save_template", timeout_s, path=os.fspath(path), name=name, overwrite=overwrite)

    def load_template(self, path: str | os.PathLike = "", timeout_s: float = 30.0) -> str:
        """Follow a template, a file on the node's machine, from the next image on; empty: none any more. Returns its name."""
        from dalf.srv import LoadTemplate

        return self._call(LoadTemplate, "feature", "load_template", LoadTemplate.Request(path=os.fspath(path)), timeout_s).name

    def _trigger(self, service: str, timeout_s: float) -> str:
        from std_srvs.srv import Trigger

        return self._call(Trigger, "feature", service, Trigger.Request(), timeout_s).message

    def _track(self, action: str, timeout_s: float, **fields: Any) -> Any:
        from dalf.srv import TrackPoint

        request = TrackPoint.Request(action=getattr(TrackPoint.Request, action), **fields)
        return self._call(TrackPoint, "registration", "track_point", request, timeout_s)

    def _save(self, kind: Any, service: str, timeout_s: float, **fields: Any) -> Path:
        return Path(self._call(kind, "registration", service, kind.Request(**fields), timeout_s).path)

    def _call(self, kind: Any, node: str, service: str, request: Any, timeout_s: float) -> Any:
        """The answer of a node's service; SurfaceClientError where there is none or it says no."""
        below = "" if self._names[node].startswith("/") else self._prefix
        name = f"{below}{self._names[node]}/{service}"
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, name)
        client = self._clients[name]
        deadline = time.monotonic() + timeout_s
        if not client.wait_for_service(timeout_s):
            raise SurfaceClientError(f"{client.srv_name} is not there after {timeout_s:g} s: is {self._names[node]} running, in this "
                                     "namespace and ROS_DOMAIN_ID?")
        answered, future = threading.Event(), client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(max(0.0, deadline - time.monotonic())):
            client.remove_pending_request(future)
            raise SurfaceClientError(f"{client.srv_name} has not answered in {timeout_s:g} s: its node is busy"
                                     + ("" if self._own else ", or nobody spins the node that was given to this client"))
        answer = future.result()
        if not answer.success:
            raise SurfaceClientError(f"{client.srv_name}: {answer.message}")
        return answer

    # ---------------------------------------------------------------- what comes, on the thread that spins

    def _subscribe(self, topic: str) -> Any:
        qos = LATCHED_QOS if topic in topics.LATCHED else RESULT_QOS
        receive = self._on_reference if topic == topics.REFERENCE else lambda message: self._on_part(topic, message)
        return self._node.create_subscription(ros_class(topics.TYPES[topic]), self._prefix + topic, receive, qos)

    def _on_reference(self, message: Any) -> None:
        with self._came:
            self._references[message.topology_id] = message
            for old in list(self._references)[:-KEPT_REFERENCES]:
                del self._references[old]
            self._put_together()

    def _on_part(self, topic: str, message: Any) -> None:
        with self._came:
            if topic == topics.STATUS:
                self._state = STATUS_NAMES[message.status] + (f": {message.reason}" if message.reason else "")
            self._parts.setdefault(stamp_ns(message.header), {})[topic] = message
            for old in list(self._parts)[:-KEPT_STAMPS]:
                del self._parts[old]
            self._put_together()

    def _put_together(self) -> None:
        """Whatever stamps are complete, in the order in which their messages began to come."""
        for stamp, parts in list(self._parts.items()):
            if any(topic not in parts for topic in FRAME_TOPICS) or parts[topics.MESH].topology_id not in self._references:
                continue
            del self._parts[stamp]
            try:
                surface = followed_surface(self._references[parts[topics.MESH].topology_id], parts)
            except ValueError as error:
                log.warning("a frame is left out: %s", error)
                continue
            self._newest = surface
            for waiting in self._listeners:
                self._hand_on(waiting, surface)
            self._came.notify_all()

    @staticmethod
    def _hand_on(waiting: queue.Queue[FollowedSurface], surface: FollowedSurface) -> None:
        if waiting.full():
            log.warning("surfaces come faster than they are taken: the oldest of %d that wait is dropped", KEPT_SURFACES)
            waiting.get_nowait()
        waiting.put_nowait(surface)


class _OwnNode:
    """A node in a context of its own, and the thread that spins it. The signals stay the program's."""

    def __init__(self, ros_args: Sequence[str] | None) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        ensure_ros_home()
        self._context = rclpy.Context()
        rclpy.init(args=None if ros_args is None else list(ros_args), context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("surface_client", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="surface_client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()
